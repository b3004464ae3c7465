"""``aio.Pool``: results, cancellation, back-pressure, failures, several loops."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tines
from support.waiting import PATIENCE, wait_for
from tines import aio
from tines.errors import (
    DecodeError,
    EncodeError,
    PoolBrokenError,
    TaskCancelledError,
    TaskTimeoutError,
    WorkerLostError,
)
from tines.progress import ProgressOptions

Make = Callable[..., aio.Pool]


def square(x: int) -> int:
    return x * x


def fail_at(bad: int, x: int) -> int:
    if x == bad:
        raise ValueError(f"no {x}")
    return x


def end_at(bad: int, x: int) -> int:
    if x == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def mark_and_nap(directory: str, name: object, seconds: float) -> None:
    """Leave a file when begun, and another when not interrupted."""
    Path(directory, f"{name}.begun").touch()
    time.sleep(seconds)
    Path(directory, f"{name}.done").touch()


def end_once(path: str) -> int:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return os.getpid()
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


class NoReturn:
    """Pickles, but does not unpickle."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


def unloadable_slowly(x: int) -> Any:
    time.sleep(0.06)
    return NoReturn() if x == 0 else x


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number
        if number % 7 == 0:
            await asyncio.sleep(0)


async def listed(results: AsyncIterator[Any]) -> list[Any]:
    return [value async for value in results]


async def outcomes(results: aio.ResultIterator) -> list[Any]:
    """Exhaust an iterator that may raise at each step; exceptions stand in for their items."""
    found: list[Any] = []
    while True:
        try:
            found.append(await results.__anext__())
        except StopAsyncIteration:
            return found
        except Exception as error:
            found.append(error)


def pending(pool: aio.Pool) -> int:
    state = pool.pool._core.state
    return len(state.pending) + len(state.delayed) + len(state.jobs)


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


@pytest.mark.parametrize("chunksize", [1, 7])
def test_iterators_with_each_kind_of_input(make: Make, chunksize: int) -> None:
    def generator() -> Iterator[int]:
        yield from range(500)

    async def main() -> None:
        expected = [x * x for x in range(500)]
        async with make() as pool:
            for source in (list(range(500)), range(500), generator(), numbers(500)):
                assert await listed(pool.imap(square, source, chunksize)) == expected
            for source in (list(range(500)), generator(), numbers(500)):
                found = await listed(pool.imap_unordered(square, source, chunksize))
                assert sorted(found) == expected
            assert await listed(pool.imap(square, [])) == []
            assert await listed(pool.imap_unordered(square, numbers(0))) == []
            assert pending(pool) == 0

    asyncio.run(main())


def test_a_thousand_awaits_make_no_thread(make: Make) -> None:
    async def main() -> None:
        async with make() as pool:
            await pool.apply(square, (1,))
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
            assert set(counts) == {before}

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


@pytest.mark.parametrize("chunksize", [1, 5])
def test_what_an_item_raises_ends_nothing_else(make: Make, chunksize: int) -> None:
    async def main() -> None:
        async with make() as pool:
            fails = functools.partial(fail_at, 3)
            found = await outcomes(pool.imap(fails, range(20), chunksize))
            assert [x for x in found if not isinstance(x, Exception)] == [
                x for x in range(20) if x != 3
            ]
            assert isinstance(found[3], ValueError)
            found = await outcomes(pool.imap_unordered(fails, numbers(20), chunksize))
            assert len(found) == 20
            assert sum(isinstance(x, ValueError) for x in found) == 1

    asyncio.run(main())


def test_an_item_that_cannot_be_sent(make: Make) -> None:
    async def main() -> None:
        async with make() as pool:
            found = await outcomes(pool.imap(type, [1, threading.Lock(), 2]))
            assert found[0] is found[2] is int
            assert isinstance(found[1], EncodeError)

    asyncio.run(main())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_input_that_raises(make: Make, asynchronous: bool) -> None:
    def broken() -> Iterator[int]:
        yield from range(5)
        raise OSError("no more")

    async def broken_too() -> AsyncIterator[int]:
        for number in broken():
            yield number

    async def main() -> None:
        async with make() as pool:
            source = broken_too() if asynchronous else broken()
            found = await outcomes(pool.imap(square, source))
            assert found[:5] == [x * x for x in range(5)]
            assert isinstance(found[5], OSError)
            assert len(found) == 6
            if asynchronous:
                with pytest.raises(OSError, match="no more"):
                    await pool.map(square, broken_too())
            assert pending(pool) == 0

    asyncio.run(main())


def test_an_input_that_cancels_itself(make: Make) -> None:
    async def cancelled() -> AsyncIterator[int]:
        yield 1
        raise asyncio.CancelledError

    async def main() -> None:
        async with make() as pool:
            results = pool.imap(square, cancelled())
            assert await results.__anext__() == 1
            with pytest.raises(asyncio.CancelledError):
                await results.__anext__()

    asyncio.run(main())


# Deaths.


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


@pytest.mark.parametrize("chunksize", [1, 4])
def test_a_worker_is_killed_in_an_iterator(make: Make, chunksize: int) -> None:
    async def main() -> None:
        async with make() as pool:
            found = await outcomes(pool.imap(functools.partial(end_at, 9), range(40), chunksize))
            assert isinstance(found[9], WorkerLostError)
            del found[9]
            assert found == [x for x in range(40) if x != 9]

    asyncio.run(main())


def test_retries(make: Make, tmp_path: Path) -> None:
    async def main() -> None:
        async with make() as pool:
            assert await pool.apply(end_once, (str(tmp_path / "a"),), retries=1)
            results = pool.imap(end_once, [str(tmp_path / "b")], retries=1)
            [pid] = await listed(results)
            assert pid

    asyncio.run(main())


def give_up() -> None:
    os._exit(3)


def test_a_pool_that_gives_up(make: Make) -> None:
    async def main() -> None:
        async with make(initializer=give_up, max_restarts=2) as pool:
            with pytest.raises((PoolBrokenError, ValueError)):
                await pool.apply(square, (1,))
            with pytest.raises((PoolBrokenError, ValueError)):
                await listed(pool.imap(square, numbers(10**9)))

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


# Cancellation.


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


async def _break_off(pool: aio.Pool) -> None:
    async for _ in pool.imap_unordered(square, numbers(10**9)):
        break


async def _close(pool: aio.Pool) -> None:
    results = pool.imap(square, numbers(10**9))
    assert await results.__anext__() == 0
    await results.aclose()
    assert await listed(results) == []


async def _cancel(pool: aio.Pool) -> None:
    task = asyncio.ensure_future(listed(pool.imap(time.sleep, iter(lambda: 0.001, None))))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _never_begin(pool: aio.Pool) -> None:
    pool.imap(square, numbers(10**9))


async def _raise(pool: aio.Pool) -> None:
    with pytest.raises(ValueError, match="no 3"):
        async for _ in pool.imap(functools.partial(fail_at, 3), numbers(10**9)):
            pass


@pytest.mark.parametrize("leave", [_break_off, _close, _cancel, _never_begin, _raise])
def test_an_iterator_that_is_left_leaves_nothing(make: Make, leave: Any) -> None:
    async def main() -> None:
        async with make() as pool:
            await leave(pool)
            gc.collect()
            deadline = time.monotonic() + 20
            while pending(pool):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.005)
            assert len(asyncio.all_tasks()) == 1
            assert await pool.apply(square, (3,)) == 9

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
            deadline = time.monotonic() + 20
            while pending(pool):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.005)
            assert await pool.map(square, range(10)) == [x * x for x in range(10)]

    asyncio.run(main())


# Back-pressure.


@pytest.mark.parametrize("chunksize", [1, 3])
def test_input_is_read_a_window_ahead(make: Make, chunksize: int) -> None:
    read = 0

    async def source() -> AsyncIterator[int]:
        nonlocal read
        while True:
            read += 1
            yield read

    async def main() -> None:
        async with make() as pool:
            results = pool.imap(square, source(), chunksize, buffersize=12)
            for taken in range(1, 40):
                await results.__anext__()
                await asyncio.sleep(0.001)
                assert read <= taken + 12 + chunksize
            await results.aclose()

    asyncio.run(main())


def length_after_a_while(data: bytes) -> int:
    time.sleep(0.01)
    return len(data)


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


def test_a_long_input_does_not_hold_up_the_loop(make: Make) -> None:
    async def main() -> None:
        async with make() as pool:
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            counting = asyncio.ensure_future(count())
            results = pool.imap(square, range(5000), buffersize=5000)
            assert sum(await listed(results)) == sum(x * x for x in range(5000))
            assert turns > 5000 / 64
            counting.cancel()

    asyncio.run(main())


# Loops.


def test_one_loop_after_another(make: Make) -> None:
    pool = make()
    for number in range(5):
        assert asyncio.run(pool.apply(square, (number,))) == number * number
        assert asyncio.run(_sum(pool, 50)) == sum(x * x for x in range(50))


async def _sum(pool: aio.Pool, count: int) -> int:
    return sum([value async for value in pool.imap_unordered(square, numbers(count))])


def test_loops_in_several_threads(make: Make) -> None:
    pool = make()
    totals = []
    threads = [
        threading.Thread(target=lambda: totals.append(asyncio.run(_sum(pool, 200))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    # Beside them somebody who waits in the ordinary way, and delivers for all of them.
    for number in range(200):
        assert pool.pool.apply(square, (number,)) == number * number
    for thread in threads:
        thread.join()
    assert totals == [sum(x * x for x in range(200))] * 4


def test_a_loop_is_closed_while_work_is_running(make: Make, tmp_path: Path) -> None:
    pool = make(1)
    loop = asyncio.new_event_loop()
    running = loop.create_task(pool.apply(mark_and_nap, (str(tmp_path), "a", 0.3)))

    async def endless() -> None:
        await listed(pool.imap(square, numbers(10**9)))

    waiting = loop.create_task(endless())

    async def begun() -> None:
        while not (tmp_path / "a.begun").exists():
            await asyncio.sleep(0.005)

    loop.run_until_complete(begun())
    loop.close()
    wait_for(lambda: (tmp_path / "a.done").exists())
    assert asyncio.run(pool.apply(square, (5,))) == 25
    for task in (running, waiting):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    del running, waiting, task
    pool.close()
    pool.pool.join()


def test_a_loop_that_is_gone_is_not_kept(make: Make) -> None:
    pool = make(1)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(pool.apply(square, (1,)))
    loop.close()
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None


def test_without_a_loop(make: Make) -> None:
    pool = make(1)
    with pytest.raises(RuntimeError, match="no running event loop"):
        pool.imap(square, [1])
    assert pending(pool) == 0


# The rest.


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


def test_importing_it_is_not_part_of_tines() -> None:
    code = "import sys, tines; print([name for name in sys.modules if name in ('asyncio', 'tines.aio')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert found.stdout == "[]\n"
    assert tines.Pool is not aio.Pool


def test_a_part_of_a_chunk_that_does_not_unpickle(make: Make) -> None:
    async def main() -> None:
        async with make(1) as pool:
            results = pool.imap(unloadable_slowly, range(8), chunksize=4)
            found = await asyncio.wait_for(outcomes(results), PATIENCE)
            assert [type(each) for each in found[:4]] == [DecodeError] * 4
            assert found[4:] == [4, 5, 6, 7]

    asyncio.run(main())
