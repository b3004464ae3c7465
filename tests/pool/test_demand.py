"""Input is read on demand; chunks follow what was measured."""

from __future__ import annotations

import heapq
import random
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pool_tasks import Arrival, square
from pool_tools import MakePool, outcomes
from support.waiting import wait_for
from tines.pool.jobs.imap import SMALL
from tines.pool.jobs.sizing import FLOOR, MEASURING, TARGET, Guide
from tines.pool.jobs.window import GLANCE, HORIZON, LARGEST_WINDOW, Window
from tines.pool.options import PoolOptions
from tines.pool.scheduler.state import PoolState


class Counted:
    """An endless input that counts how much of it was read."""

    def __init__(self) -> None:
        self.read = 0

    def __iter__(self) -> Iterator[int]:
        while True:
            self.read += 1
            yield self.read


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("buffersize", [None, 1, 10])
def test_a_window_ahead_of_the_consumer_and_no_more(
    make: MakePool, ordered: bool, buffersize: int | None
) -> None:
    pool = make()
    source = Counted()
    imap = pool.imap if ordered else pool.imap_unordered
    iterator = imap(square, source, buffersize=buffersize)
    wait_for(lambda: source.read)
    time.sleep(0.1)
    for taken in range(50):
        limit = buffersize or 64
        assert source.read <= taken + limit + 1
        iterator.next(timeout=20)
        time.sleep(0.001)
    for taken in range(50, 5050):  # as fast as it can: the window may grow, up to its limit
        iterator.next(timeout=20)
        assert source.read <= taken + LARGEST_WINDOW + 2


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(("size", "ahead"), [(1, 5), (2 * SMALL, 1)])
def test_only_small_results_are_decoded_ahead_of_the_consumer_and_only_a_few(
    make: MakePool, ordered: bool, size: int, ahead: int
) -> None:
    pool = make()
    imap = pool.imap if ordered else pool.imap_unordered
    iterator = imap(Arrival, [size] * 60, buffersize=20)
    before = Arrival.made
    for taken in range(1, 61):
        wait_for(lambda: not pool._core.state.pending)
        assert len(next(iterator).body) == size
        assert taken <= Arrival.made - before < taken + ahead
    assert list(iterator) == []


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("source", [list, iter])
def test_consumers_in_several_threads_share_the_results(
    make: MakePool, ordered: bool, source: Any
) -> None:
    pool = make()
    imap = pool.imap if ordered else pool.imap_unordered
    iterator = imap(square, source(range(3000)))
    found: list[list[int]] = [[] for _ in range(4)]
    threads = [threading.Thread(target=each.extend, args=(iterator,)) for each in found]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert sorted(x for each in found for x in each) == [x * x for x in range(3000)]
    if ordered:
        assert all(each == sorted(each) for each in found)


def test_the_window_follows_the_consumer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("tines.pool.jobs.window._clock.monotonic", lambda: now)
    state = PoolState(PoolOptions(processes=2))
    pressure: Any = SimpleNamespace(total=0, has_room=lambda more: more < 1000)
    window = Window(state, pressure, 1, None)
    assert window.size == 8 and window.is_due(4) and not window.is_due(5)
    now += GLANCE / 2
    window.move(7)  # quick, and too early to tell
    assert window.size == 8
    now += GLANCE
    window.move(60)  # 60 in 1.5 ms
    assert window.size == 399
    now += GLANCE * 2
    window.move(160)  # slower than before, which only all of the horizon tells
    assert window.size == 399
    now += HORIZON
    window.move(190)
    assert window.size == 108
    now += 10
    window.move(181)
    assert window.size == 8
    now += HORIZON * 2
    window.move(1_000_000)
    assert window.size == LARGEST_WINDOW
    assert window.has_room(LARGEST_WINDOW - 1) and not window.has_room(LARGEST_WINDOW)


def test_the_window_in_bytes() -> None:
    state = PoolState(PoolOptions(processes=2))
    pressure: Any = SimpleNamespace(total=0, has_room=lambda more: more < 1000)
    window = Window(state, pressure, 1, 10)
    window.result_size = 400
    assert window.has_room(2) and not window.has_room(3)
    assert window.is_due(9)  # it was held back for bytes
    window.move(5)
    assert not window.is_due(9) and window.size == 10
    window.result_size = 2000
    assert window.has_room(0) and not window.has_room(1)
    window.open()
    window.result_size = 0
    assert window.has_room(10**9)


@pytest.mark.slow
@pytest.mark.watchdog(120)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("ordered", [True, False])
def test_the_parent_does_not_grow_with_the_input(make: MakePool, ordered: bool) -> None:
    def megabytes(name: str) -> float:
        found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
        assert found is not None
        return int(found[1]) / 1024

    pool = make()
    imap = pool.imap if ordered else pool.imap_unordered
    assert sum(1 for _ in imap(square, iter(range(10_000)))) == 10_000
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = megabytes("VmRSS")
    count = 400_000 if pool._core.transport.name == "ring" else 100_000
    assert sum(1 for _ in imap(square, iter(range(count)))) == count
    # An item or a result that is kept takes more than 25 bytes.
    assert megabytes("VmHWM") - before < count * 25e-6


def test_tasks_begin_before_the_first_next(make: MakePool) -> None:
    pool = make()
    iterator = pool.imap(square, (x for x in range(3)))
    wait_for(lambda: sum(pool._core.tally.done) == 3 or len(iterator.store) == 3)
    assert list(iterator) == [0, 1, 4]


@pytest.mark.parametrize("chunksize", [1, 4])
@pytest.mark.parametrize("ordered", [True, False])
def test_input_that_raises(make: MakePool, chunksize: int, ordered: bool) -> None:
    def source() -> Iterator[int]:
        yield from range(6)
        raise LookupError("no more")

    pool = make()
    imap = pool.imap if ordered else pool.imap_unordered
    found = outcomes(imap(square, source(), chunksize))
    # As in the standard library, the chunk that the exception cuts short is not run.
    whole = 6 - 6 % chunksize
    values = [x for x in found if not isinstance(x, Exception)]
    assert sorted(values) == [x * x for x in range(whole)]
    (error,) = [x for x in found if isinstance(x, Exception)]
    assert isinstance(error, LookupError)
    if ordered:
        assert found.index(error) == whole
    with pytest.raises(LookupError):
        pool.map(square, source())
    assert pool.apply(square, (3,)) == 9


def test_slow_input_holds_up_neither_results_nor_other_tasks(make: MakePool) -> None:
    gate = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        yield 2
        gate.wait(20)
        yield 3

    pool = make()
    iterator = pool.imap(square, source())
    assert iterator.next(timeout=20) == 1
    assert iterator.next(timeout=20) == 4
    assert pool.map(square, range(10)) == [x * x for x in range(10)]
    threading.Timer(0.05, gate.set).start()
    assert list(iterator) == [9]


def test_iterators_can_feed_iterators(make: MakePool) -> None:
    pool = make()
    twice: Any = pool.imap(square, pool.imap_unordered(square, pool.imap(square, [1, 2, 3])))
    assert sorted(twice) == [1, 256, 6561]


@pytest.mark.parametrize("ordered", [True, False])
def test_what_is_read_when_the_iterator_is_abandoned_is_part_of_the_rest(
    make: MakePool, ordered: bool
) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        yield from range(3)
        reading.set()
        go_on.wait(20)
        yield 3
        raise AssertionError("it was read on")

    pool = make()
    iterator = (pool.imap if ordered else pool.imap_unordered)(square, source())
    values = [iterator.next(timeout=20) for _ in range(3)]
    assert sorted(values) == [0, 1, 4] and reading.wait(20)
    iterator.abandon(LookupError("abandoned"))
    go_on.set()
    wait_for(lambda: iterator not in pool._core.state.jobs)
    (error,) = outcomes(iterator)
    assert isinstance(error, LookupError)
    assert pool.apply(square, (3,)) == 9 and not iterator.store


def test_an_abandoned_iterator_is_not_over_before_its_error_is_there(
    make: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def source() -> Iterator[int]:
        yield 2
        go_on.wait(20)

    iterator = make().imap(square, source())
    assert iterator.next(timeout=20) == 4
    put = iterator.store.put
    over = []

    def look_and_put(first: int, entry: Any) -> None:
        over.append(iterator._over())
        put(first, entry)

    monkeypatch.setattr(iterator.store, "put", look_and_put)
    iterator.abandon(LookupError("abandoned"))
    go_on.set()
    assert over == [False] and isinstance(outcomes(iterator)[0], LookupError)


def test_an_iterator_that_is_not_exhausted_ends_with_the_pool(make: MakePool) -> None:
    pool = make()
    iterator = pool.imap(square, Counted())
    assert [next(iterator) for _ in range(5)] == [1, 4, 9, 16, 25]
    pool.terminate()


def _simulate(durations: list[float], workers: int) -> float:
    """Return how long a map takes by the guide's sizes, without any overhead."""
    guide = Guide(workers)
    free = [0.0] * workers
    start = 0
    while start < len(durations):
        stop = start + guide.size(len(durations) - start)
        seconds = sum(durations[start:stop])
        worker = free.index(min(free))
        free[worker] += seconds
        guide.measured(stop - start, seconds)
        start = stop
    return max(free)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("scale", [1e-6, 1e-4, 1e-2, 1.0])
@pytest.mark.parametrize("workers", [2, 8])
def test_workers_finish_together(seed: int, scale: float, workers: int) -> None:
    rng = random.Random(seed)
    durations = [min(rng.paretovariate(1.5), 50.0) * scale for _ in range(1000)]
    ideal = max(sum(durations) / workers, max(durations))
    assert _simulate(durations, workers) <= 1.06 * ideal + max(TARGET, max(durations))
    assert _simulate(sorted(durations, reverse=True), workers) <= 1.06 * ideal + TARGET


def test_quick_items_share_chunks_and_slow_ones_travel_alone() -> None:
    quick = Guide(2)
    sizes = []
    remaining = 100_000
    while remaining:
        size = quick.size(remaining)
        quick.measured(size, size * 1e-7)
        sizes.append(size)
        remaining -= size
    assert len(sizes) < 100
    assert max(sizes) > 5000
    assert sizes[-1] * 1e-7 < FLOOR, "the last chunk is no longer than what a message is worth"
    slow = Guide(2)
    for _ in range(100):
        assert slow.size(1000) == 1
        slow.measured(1, 0.1)


def _played(durations: list[float], workers: int) -> tuple[list[int], float]:
    """Play a map: chunks are sent as it sends them, and measured when they are back.

    Returns:
        The sizes of the chunks, and how long the workers took.
    """
    guide = Guide(workers)
    sizes: list[int] = []
    queue: list[list[float]] = []
    running: list[tuple[float, int, int, float]] = []
    now, sent, on_the_way = 0.0, 0, 0
    while sent < len(durations) or on_the_way:
        while sent < len(durations) and on_the_way < guide.ahead:
            size = guide.size(len(durations) - sent)
            sizes.append(size)
            queue.append(durations[sent : sent + size])
            sent += size
            on_the_way += 1
        while queue and len(running) < workers:
            chunk = queue.pop(0)
            seconds = sum(chunk)
            heapq.heappush(running, (now + seconds, len(sizes), len(chunk), seconds))
        now, _, items, seconds = heapq.heappop(running)
        guide.measured(items, seconds + MEASURING / 2)
        on_the_way -= 1
    return sizes, now


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("items", [10, 100, 1_000, 10_000])
def test_a_small_map_of_quick_items_is_few_chunks(items: int, workers: int) -> None:
    """Each costs more than what is in it: a probe for each worker, then as many as there are usually."""
    sizes, _ = _played([5e-8] * items, workers)
    assert sum(sizes) == items
    assert len(sizes) <= 5 * workers + 3  # the last few shrink


@pytest.mark.parametrize("workers", [2, 8])
@pytest.mark.parametrize("items", [10, 100, 1_000])
def test_slow_items_behind_quick_ones_are_shared(items: int, workers: int) -> None:
    """The first ones tell nothing of the rest: nobody gets more than is usual."""
    usual = -(-items // (4 * workers))
    for quick in (workers, items // 2, items - workers):
        durations = [1e-7] * quick + [1.0] * (items - quick)
        sizes, seconds = _played(durations, workers)
        assert max(sizes) <= usual
        assert seconds <= -(-(items - quick) // workers) + usual


@pytest.mark.parametrize("workers", [2, 8])
@pytest.mark.parametrize("item", [3e-5, 1e-3, 1.0])
def test_slow_items_of_a_small_map_keep_workers_busy_to_the_end(item: float, workers: int) -> None:
    _, seconds = _played([item] * 100, workers)
    assert seconds <= -(-100 // workers) * item + max(FLOOR, item)


@pytest.mark.parametrize("items", [100, 1_000, 10_000])
def test_that_workers_were_stopped_while_they_measured_is_soon_forgotten(items: int) -> None:
    """On a machine with much else to do both of the first items seem to take milliseconds."""
    sizes, _ = _played([8e-3] * 2 + [5e-8] * items, 2)
    assert len(sizes) <= 30
