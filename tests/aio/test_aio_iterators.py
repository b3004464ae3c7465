"""``aio.Pool``, iterators: each kind of input, failures of single items, how far they read ahead."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from aio_tasks import end_at, fail_at, square, unloadable_slowly
from aio_tools import Make, idle, listed, numbers, outcomes, pending
from support.waiting import PATIENCE
from tines import aio
from tines.errors import DecodeError, EncodeError, WorkerLostError


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
            source = broken_too() if asynchronous else broken()
            *values, error = await outcomes(pool.imap_unordered(square, source))
            assert sorted(values) == found[:5]
            assert isinstance(error, OSError)
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


@pytest.mark.parametrize("chunksize", [1, 4])
def test_a_worker_is_killed_in_an_iterator(make: Make, chunksize: int) -> None:
    async def main() -> None:
        async with make() as pool:
            found = await outcomes(pool.imap(functools.partial(end_at, 9), range(40), chunksize))
            assert isinstance(found[9], WorkerLostError)
            del found[9]
            assert found == [x for x in range(40) if x != 9]

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
            await idle(pool)
            assert await pool.apply(square, (3,)) == 9

    asyncio.run(main())


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


def test_an_input_that_large_results_hold_back_is_read_on_with_each_that_is_taken(
    make: Make,
) -> None:
    """Not only when half of ``buffersize`` is free: what holds it back is bytes."""
    size = 1 << 20
    read = 0

    def source() -> Iterator[int]:
        nonlocal read
        while True:
            read += 1
            yield size

    async def main() -> None:
        async with make(buffer_bytes=4 * size + size // 2) as pool:
            results = pool.imap(bytes, source(), buffersize=6)
            for taken in range(1, 12):
                assert len(await results.__anext__()) == size
                if taken >= 3:  # it is known by then how large results are
                    deadline = time.monotonic() + PATIENCE
                    while read < taken + 5:
                        assert time.monotonic() < deadline, (read, taken)
                        await asyncio.sleep(0.005)
                    assert read <= taken + 6
            await results.aclose()

    asyncio.run(main())


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


def test_a_part_of_a_chunk_that_does_not_unpickle(make: Make) -> None:
    async def main() -> None:
        async with make(1) as pool:
            results = pool.imap(unloadable_slowly, range(8), chunksize=4)
            found = await asyncio.wait_for(outcomes(results), PATIENCE)
            assert [type(each) for each in found[:4]] == [DecodeError] * 4
            assert found[4:] == [4, 5, 6, 7]

    asyncio.run(main())
