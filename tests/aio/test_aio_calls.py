"""``aio.Pool``, calls: results, what they raise, deaths of workers, bytes under way."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import tines
from aio_tasks import end_at, end_once, fail_at, length_after_a_while, square
from aio_tools import Make, listed, numbers, outcomes
from tines import aio
from tines.errors import EncodeError, TaskTimeoutError, WorkerLostError
from tines.progress import ProgressOptions


def test_calls(make: Make) -> None:
    async def main() -> None:
        async with make() as pool:
            assert await pool.apply(pow, (2, 10)) == 1024
            assert await pool.apply(int, ("ff",), {"base": 16}) == 255
            assert await pool.map(square, range(1000)) == [x * x for x in range(1000)]
            assert await pool.map(square, numbers(100)) == [x * x for x in range(100)]
            assert await pool.starmap(pow, [(2, x) for x in range(10)], 3) == [
                2**x for x in range(10)
            ]
            assert await pool.map(lambda x: -x, [1, 2]) == [-1, -2]
            assert await aio.outcome(pool.pool.apply_async(square, (3,))) == 9
            settled = pool.pool.apply_async(square, (4,))
            settled.wait()
            assert await aio.outcome(settled) == 16

    asyncio.run(main())


def test_a_thousand_awaits_make_no_thread(make: Make) -> None:
    async def main() -> None:
        async with make() as pool:
            await pool.apply(square, (1,))
            # That may be done before the last thread of the pool itself is there.
            pool.pool._core.supervisor._starter.join()
            before = threading.active_count()
            calls = [asyncio.ensure_future(pool.apply(square, (x,))) for x in range(1000)]
            streams = [
                asyncio.ensure_future(listed(pool.imap(square, numbers(3)))) for _ in range(50)
            ]
            counts = []
            for each in (*calls, *streams):
                each.add_done_callback(lambda _: counts.append(threading.active_count()))
            assert await asyncio.gather(*calls) == [x * x for x in range(1000)]
            assert await asyncio.gather(*streams) == [[0, 1, 4]] * 50
            assert max(counts) <= before

    asyncio.run(main())


def test_what_a_call_raises(make: Make) -> None:
    async def main() -> None:
        async with make() as pool:
            with pytest.raises(ValueError, match="no 3") as caught:
                await pool.apply(fail_at, (3, 3))
            assert "fail_at" in str(caught.value.__cause__)
            with pytest.raises(ValueError, match="no 3"):
                await pool.starmap(fail_at, [(3, x) for x in range(9)])
            with pytest.raises(EncodeError):
                await pool.apply(square, (threading.Lock(),))
            with pytest.raises(TaskTimeoutError):
                await pool.apply(time.sleep, (30,), timeout=0.05)
            with pytest.raises(TypeError, match="no task option 'retrys'"):
                await pool.apply(square, (1,), retrys=3)
            with pytest.raises(TypeError, match="not iterable"):
                pool.imap(square, 3)  # type: ignore[arg-type]
            for bad in ({"buffersize": 0}, {"chunksize": 0}):
                with pytest.raises(ValueError, match="must be at least 1"):
                    pool.imap(square, [], **bad)

    asyncio.run(main())


def test_a_worker_is_killed_while_it_is_awaited(make: Make) -> None:
    async def main() -> None:
        async with make() as pool:
            with pytest.raises(WorkerLostError):
                await pool.apply(end_at, (1, 1))
            found = await asyncio.gather(
                *(pool.apply(end_at, (5, x)) for x in range(20)), return_exceptions=True
            )
            assert [x for x in found if not isinstance(x, WorkerLostError)] == [
                x for x in range(20) if x != 5
            ]

    asyncio.run(main())


def test_retries(make: Make, tmp_path: Path) -> None:
    async def main() -> None:
        async with make() as pool:
            assert await pool.apply(end_once, (str(tmp_path / "a"),), retries=1)
            results = pool.imap(end_once, [str(tmp_path / "b")], retries=1)
            [pid] = await listed(results)
            assert pid

    asyncio.run(main())


def test_bytes_under_way_are_bounded_and_the_loop_goes_on(make: Make) -> None:
    async def main() -> None:
        async with make(buffer_bytes=1_000_000) as pool:
            pressure = pool.pool._core.pressure
            most = turns = 0

            async def watch() -> None:
                nonlocal most, turns
                while True:
                    most, turns = max(most, pressure.total), turns + 1
                    await asyncio.sleep(0)

            watching = asyncio.ensure_future(watch())
            item = bytes(300_000)
            found = await asyncio.gather(
                *(pool.apply(length_after_a_while, (item,)) for _ in range(30))
            )
            assert found == [300_000] * 30
            for source in ([item] * 30, _each([item] * 30)):
                results = pool.imap(length_after_a_while, source)
                assert await listed(results) == [300_000] * 30
            # One more than fits, as its size is known only when it has been pickled.
            assert 0 < most < 1_400_000
            assert turns > 30
            while pressure.total:  # the last one is given back a moment after its result
                await asyncio.sleep(0.01)
            watching.cancel()

    asyncio.run(main())


async def _each(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


def test_a_wrapped_pool_is_left_alone(make: Make) -> None:
    pool = make(1)

    async def main() -> None:
        async with aio.Pool.wrap(pool.pool) as front:
            assert await front.apply(square, (2,)) == 4

    asyncio.run(main())
    assert pool.pool.apply(square, (3,)) == 9
    with pytest.raises(TypeError, match=r"pool must be a tines\.Pool, not 3"):
        aio.Pool.wrap(3)  # type: ignore[arg-type]


def test_progress(make: Make) -> None:
    frames: list[Any] = []
    closed = threading.Event()

    class Recorder:
        def draw(self, lines: Any) -> None:
            frames.append(lines[-1])

        def close(self) -> None:
            closed.set()

    async def main() -> None:
        async with make() as pool:
            shown = ProgressOptions(display=Recorder(), refresh=0.001)
            fails = functools.partial(fail_at, 3)
            await outcomes(pool.imap(fails, numbers(50), progress=shown))
            await asyncio.to_thread(closed.wait)
            assert (frames[-1].done, frames[-1].failed, frames[-1].total) == (50, 1, 50)
            closed.clear()
            assert len(await pool.map(square, range(70), progress=shown)) == 70
            await asyncio.to_thread(closed.wait)
            assert frames[-1].total == 70
            closed.clear()
            async for _ in pool.imap(square, numbers(10**9), progress=shown):
                break
            await asyncio.to_thread(closed.wait)

    asyncio.run(main())


def test_importing_it_is_not_part_of_tines() -> None:
    code = "import sys, tines; print([name for name in sys.modules if name in ('asyncio', 'tines.aio')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert found.stdout == "[]\n"
    assert tines.Pool is not aio.Pool
