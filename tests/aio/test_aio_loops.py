"""``aio.Pool`` in several event loops: one after another, at once, closed too early, none."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from pathlib import Path

import pytest

from aio_tasks import mark_and_nap, square
from aio_tools import Make, listed, numbers, pending
from support.waiting import wait_for
from tines import aio


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
