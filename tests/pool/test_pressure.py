"""Back-pressure in bytes: what is under way is bounded, and nothing waits for ever."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pool_tasks import end_at, end_until, nap, pid, square
from pool_tools import MakePool, outcomes
from support.waiting import wait_for
from tines import _config
from tines.errors import TaskCancelledError, WorkerLostError
from tines.pool import Pool
from tines.pool.jobs.back_pressure import AHEAD

ITEM = 100_000
LIMIT = 1_000_000


class Watch:
    """Notes how many bytes were queued after each sending: the transport's count, not the pool's."""

    def __init__(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.peak = 0
        self.sent = 0
        tasks = pool._core.tasks
        send, send_many = tasks.send, tasks.send_many

        def watched(*arguments: Any) -> int:
            ticket = send(*arguments)
            self.sent += 1
            self.peak = max(self.peak, tasks.statistics().bytes)
            return ticket

        def watched_many(messages: Any, *arguments: Any) -> int:
            count = send_many(messages, *arguments)
            self.sent += count
            self.peak = max(self.peak, tasks.statistics().bytes)
            return count

        monkeypatch.setattr(tasks, "send", watched)
        monkeypatch.setattr(tasks, "send_many", watched_many)


def length(data: bytes) -> int:
    return len(data)


def echo(data: bytes) -> bytes:
    return data


def block(release: str, data: bytes) -> int:
    """Wait for a file."""
    wait_for(lambda: Path(release).exists())
    return len(data)


def data(count: int, size: int = ITEM) -> Iterator[bytes]:
    return (bytes(size) for _ in range(count))


@pytest.mark.parametrize("way", ["apply_async", "map", "chunked map", "imap", "imap of a list"])
def test_what_is_queued_is_bounded(
    make: MakePool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    pool = make(2, buffer_bytes=LIMIT)
    watch = Watch(pool, monkeypatch)
    release = tmp_path / "release"
    task = partial(block, str(release))
    found: list[Any] = []

    def run() -> None:
        if way == "apply_async":
            results = [pool.apply_async(task, (each,)) for each in data(60)]
            found.extend(result.get() for result in results)
        elif way == "map":
            found.extend(pool.map(task, list(data(60))))
        elif way == "chunked map":
            found.extend(pool.map(task, list(data(60)), chunksize=1))
        else:
            items = data(60) if way == "imap" else list(data(60))
            found.extend(pool.imap(task, items, buffersize=50))

    caller = threading.Thread(target=run)
    caller.start()
    if way != "map":  # which sends two chunks a worker, and more only when it has seen some
        wait_for(lambda: pool._core.pressure.total >= LIMIT - 2 * ITEM)
    release.touch()
    caller.join(40)
    assert found == [ITEM] * 60
    assert watch.sent >= (10 if way == "map" else 60)
    assert watch.peak <= LIMIT + ITEM
    assert pool._core.pressure.total == 0


@pytest.mark.parametrize("way", ["apply_async", "map", "imap", "imap_unordered"])
def test_items_larger_than_the_bound_go_one_by_one(make: MakePool, way: str) -> None:
    pool = make(2, buffer_bytes=1000)
    if way == "apply_async":
        results = [pool.apply_async(length, (each,)) for each in data(10)]
        found = [result.get(timeout=20) for result in results]
    elif way == "map":
        found = pool.map(length, list(data(10)), chunksize=3)
    else:
        found = list(getattr(pool, way)(length, data(10)))
    assert found == [ITEM] * 10
    assert pool._core.pressure.total == 0


@pytest.mark.parametrize("ordered", [True, False])
def test_results_that_nobody_takes_stop_the_reading(make: MakePool, ordered: bool) -> None:
    """The first of them show how large they are; from then on so many are held that fit."""
    pool = make(2, buffer_bytes=LIMIT)
    read = 0

    def inputs() -> Iterator[int]:
        nonlocal read
        for _ in range(300):
            read += 1
            yield ITEM

    imap = pool.imap if ordered else pool.imap_unordered
    iterator = imap(bytes, inputs(), buffersize=100)
    first = [next(iterator) for _ in range(150)]
    assert [len(each) for each in first] == [ITEM] * 150
    wait_for(lambda: pool._core.state.pending == {})
    assert read - 150 <= LIMIT // ITEM + 1
    assert [len(each) for each in iterator] == [ITEM] * 150
    assert read == 300


def test_a_consumer_of_small_results_after_large_ones_reads_ahead_again(make: MakePool) -> None:
    pool = make(2, buffer_bytes=LIMIT)
    sizes = [ITEM] * 50 + [1] * 500
    assert [len(each) for each in pool.imap(bytes, iter(sizes), buffersize=50)] == sizes


def test_small_messages_are_not_counted(make: MakePool) -> None:
    pool = make(2)
    results = [pool.apply_async(square, (x,)) for x in range(200)]
    assert pool._core.pressure._weights == {}
    assert [result.get() for result in results] == [x * x for x in range(200)]


def test_the_count_survives_deaths_retries_and_cancelling(make: MakePool, tmp_path: Path) -> None:
    pool = make(2, buffer_bytes=LIMIT)
    assert pool.apply(_end_with, (str(tmp_path), 3, bytes(ITEM)), retries=2) == 3
    with pytest.raises(WorkerLostError):
        pool.apply(_end_with, (str(tmp_path), 9, bytes(ITEM)))
    found = outcomes(pool.imap(_end_on_x, [b"x" if n == 5 else bytes(ITEM) for n in range(20)], 4))
    assert len(found) == 20
    assert sum(isinstance(each, WorkerLostError) for each in found) == 1
    result = pool.apply_async(_nap_with, (30, bytes(ITEM)))
    wait_for(result.running)
    queued = [pool.apply_async(_nap_with, (30, bytes(ITEM))) for _ in range(3)]
    mapped = pool.map_async(partial(_nap_with, 30), list(data(3)), chunksize=1)
    for each in (*queued, result, mapped):
        assert each.cancel()
    wait_for(lambda: pool._core.pressure.total == 0)
    assert pool._core.pressure._weights == {}


def _end_with(directory: str, runs: int, _: bytes) -> int:
    return end_until(directory, runs)


def _end_on_x(data: bytes) -> int:
    return end_at(1, len(data))


def _nap_with(seconds: float, _: bytes) -> float:
    return nap(seconds)


def test_a_caller_that_waits_is_woken_by_the_end(make: MakePool) -> None:
    pool = make(1, buffer_bytes=ITEM)
    first = pool.apply_async(_nap_with, (60, bytes(ITEM)))
    caught: list[BaseException] = []

    def call() -> None:
        try:
            pool.apply_async(length, (bytes(ITEM),)).get()
        except BaseException as error:
            caught.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    wait_for(lambda: pool._core.pressure._turns)
    pool.terminate()
    caller.join(20)
    assert isinstance(caught[0], (ValueError, TaskCancelledError))
    assert isinstance(first.exception(), TaskCancelledError)


def test_a_caller_that_waits_outlives_the_workers(make: MakePool) -> None:
    pool = make(1, buffer_bytes=ITEM)
    worker = pool.apply(pid)
    first = pool.apply_async(_nap_with, (60, bytes(ITEM)))
    wait_for(first.running)
    killer = threading.Thread(
        target=lambda: (
            wait_for(lambda: pool._core.pressure._turns),
            os.kill(worker, signal.SIGKILL),
        )
    )
    killer.start()
    assert pool.apply(length, (bytes(ITEM),)) == ITEM
    killer.join()
    with pytest.raises(WorkerLostError):
        first.get()


def test_a_callback_never_waits(make: MakePool) -> None:
    """It runs in the thread that alone would find out that there is room."""
    pool = make(1, buffer_bytes=ITEM)
    found: list[Any] = []
    done = threading.Event()

    def callback(_: Any) -> None:
        found.extend(pool.apply_async(length, (each,)) for each in data(5))
        done.set()

    pool.apply_async(length, (bytes(ITEM),), callback=callback)
    assert done.wait(20)
    assert [result.get(timeout=20) for result in found] == [ITEM] * 5


def test_many_threads_share_the_room(make: MakePool) -> None:
    pool = make(2, buffer_bytes=3 * ITEM)
    found: list[int] = []

    def call() -> None:
        for _ in range(20):
            found.append(pool.apply(length, (bytes(ITEM),)))
            found.extend(pool.map(length, list(data(3)), chunksize=1))
            found.extend(len(each) for each in pool.imap_unordered(echo, data(3)))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(50)
    assert found == [ITEM] * 4 * 20 * 7
    assert pool._core.pressure.total == 0


def test_defaults(make: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tines.pool.jobs.back_pressure.available_memory", lambda: 64 << 30)
    pressure = make(1)._core.pressure
    assert (pressure.limit, pressure._limit_of_calls) == (AHEAD, 16 << 30)
    with pytest.raises(ValueError, match="buffer_bytes=0"):
        make(1, buffer_bytes=0)


def test_memory_of_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    files: dict[str, str] = {}

    def read(path: str) -> str:
        if path not in files:
            raise FileNotFoundError(path)
        return files[path]

    monkeypatch.setattr(_config, "_read", read)
    machine = _config.available_memory()
    assert machine > 1 << 26
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert _config.available_memory() == machine
    files["/sys/fs/cgroup/memory.max"] = "1000000\n"
    assert _config.available_memory() == 1000000
    files.clear()
    files["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = "2000000\n"
    assert _config.available_memory() == 2000000
    files["/sys/fs/cgroup/memory/memory.limit_in_bytes"] = "9223372036854771712\n"
    assert _config.available_memory() == machine
