"""``aio.Pool``, endings: of the pool, of a task that awaits, by Ctrl-C. Nothing is left waiting."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aio_tasks import give_up, mark_and_nap, square
from aio_tools import Make, idle, listed, numbers, pending
from support.waiting import wait_for
from tines import aio
from tines.errors import PoolBrokenError, TaskCancelledError


def test_a_pool_that_gives_up(make: Make) -> None:
    async def main() -> None:
        pool = make(initializer=give_up, max_restarts=2)  # may have given up before it is entered
        with pytest.raises((PoolBrokenError, ValueError)):
            await pool.apply(square, (1,))
        with pytest.raises((PoolBrokenError, ValueError)):
            await listed(pool.imap(square, numbers(10**9)))
        await pool.terminate()

    asyncio.run(main())


def test_terminate_resolves_everything(make: Make) -> None:
    async def main() -> None:
        pool = make()
        calls = [asyncio.ensure_future(pool.apply(time.sleep, (60,))) for _ in range(10)]
        stream = asyncio.ensure_future(listed(pool.imap(time.sleep, iter([60] * 1000))))
        endless = asyncio.ensure_future(listed(pool.imap(time.sleep, numbers(10**9))))
        await asyncio.sleep(0.05)
        await pool.terminate()
        found = await asyncio.gather(*calls, stream, endless, return_exceptions=True)
        assert all(isinstance(each, TaskCancelledError) for each in found), found
        with pytest.raises(ValueError, match="not running"):
            await pool.apply(square, (1,))
        with pytest.raises(ValueError, match="not running"):
            pool.imap(square, [1])

    asyncio.run(main())


def test_close_and_join_finish_what_was_accepted(make: Make) -> None:
    async def main() -> None:
        pool = make()
        call = asyncio.ensure_future(pool.map(square, range(100)))
        results = pool.imap(square, numbers(300))
        await asyncio.sleep(0)
        pool.close()
        await pool.join()
        assert await call == [x * x for x in range(100)]
        assert await listed(results) == [x * x for x in range(300)]

    asyncio.run(main())


def test_a_cancelled_await_cancels_the_call(make: Make, tmp_path: Path) -> None:
    async def main() -> None:
        async with make(1) as pool:
            first = asyncio.ensure_future(pool.apply(mark_and_nap, (str(tmp_path), "a", 60)))
            queued = asyncio.ensure_future(pool.apply(mark_and_nap, (str(tmp_path), "b", 60)))
            while not (tmp_path / "a.begun").exists():
                await asyncio.sleep(0.005)
            queued.cancel()
            first.cancel()
            found = await asyncio.gather(first, queued, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in found)
            # The worker is free again, and the queued call never begins.
            assert await pool.apply(square, (3,)) == 9
            assert {path.name for path in tmp_path.iterdir()} == {"a.begun"}

    asyncio.run(main())


def test_timeouts_of_asyncio_cancel_the_work(make: Make) -> None:
    async def main() -> None:
        async with make(1) as pool:
            for call in (
                pool.apply(time.sleep, (60,)),
                pool.map(time.sleep, [60] * 5),
                pool.imap(time.sleep, [60] * 5).__anext__(),
            ):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(call, 0.05)
            if sys.version_info >= (3, 11):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await pool.apply(time.sleep, (60,))
            assert await pool.apply(square, (3,)) == 9
            assert pending(pool) == 0

    asyncio.run(main())


@pytest.mark.watchdog(120)
@pytest.mark.parametrize("seed", range(4))
def test_cancelling_at_random_moments(make: Make, seed: int) -> None:
    rng = random.Random(seed)

    async def one(pool: aio.Pool, number: int) -> Any:
        kind = number % 4
        if kind == 0:
            return await pool.apply(square, (number,))
        if kind == 1:
            return await pool.map(square, range(number % 50))
        if kind == 2:
            return await listed(pool.imap(square, numbers(number % 50)))
        return await listed(pool.imap_unordered(square, range(number % 50), 3))

    def right(number: int, value: Any) -> bool:
        if number % 4 == 0:
            return bool(value == number * number)
        return sorted(value) == [x * x for x in range(number % 50)]

    async def main() -> None:
        async with make() as pool:
            for _ in range(8):
                tasks = [asyncio.ensure_future(one(pool, number)) for number in range(60)]
                while not all(task.done() for task in tasks):
                    await asyncio.sleep(rng.random() * 0.003)
                    rng.choice(tasks).cancel()
                for number, task in enumerate(tasks):
                    assert task.cancelled() or right(number, task.result())
            # Everybody who was not cancelled got the right thing, and nothing is left over.
            await idle(pool)
            assert await pool.map(square, range(10)) == [x * x for x in range(10)]

    asyncio.run(main())


PROGRAM = """
import asyncio, os, sys, time
from tines import aio
import tines

def begin(path):
    open(path, "w").close()
    time.sleep(60)

async def numbers():
    for number in range(100):
        yield sys.argv[1]

async def main():
    async with aio.Pool(2, context=tines.get_context("fork")) as pool:
        if sys.argv[2] == "apply":
            await pool.apply(begin, (sys.argv[1],))
        else:
            async for _ in pool.imap(begin, numbers()):
                pass

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process there")
@pytest.mark.parametrize("how", ["apply", "imap"])
def test_ctrl_c(tmp_path: Path, how: str) -> None:
    mark = tmp_path / "begun"
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(mark), how],
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(mark.exists)
    program.send_signal(signal.SIGINT)
    _, written = program.communicate(timeout=30)
    assert program.returncode in (1, -signal.SIGINT, 130)
    assert written.rstrip().endswith("KeyboardInterrupt"), written
    assert "never awaited" not in written
    assert "was destroyed" not in written
