"""What a pool says of itself and its workers, and that its size can change."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from pool_tasks import burn, end_until, fail, hold, nap, pid, square
from pool_tools import MakePool
from support.waiting import wait_for


def test_statistics(make: MakePool, tmp_path: Any) -> None:
    pool = make(2)
    assert pool.map(square, range(10), chunksize=1) == [x * x for x in range(10)]
    with pytest.raises(KeyError):
        pool.apply(fail)
    results = [pool.apply_async(nap, (60,)) for _ in range(3)]
    wait_for(lambda: pool.statistics().running == 2)
    picture = pool.statistics()
    assert (picture.processes, picture.queued, picture.running) == (2, 1, 2)
    assert (picture.done, picture.raised, picture.lost, picture.restarts) == (11, 1, 0, 0)
    assert {worker.task for worker in picture.workers} == {"pool_tasks.nap(60)"}
    assert all(0 <= worker.seconds < 60 for worker in picture.workers)
    assert all(worker.memory > 1 << 20 for worker in picture.workers)
    assert sum(worker.done for worker in picture.workers) == 11
    results[0].cancel()
    assert pool.statistics().lost == 1


def test_resize(make: MakePool) -> None:
    pool = make(1)
    for size in (3, 1, 2):
        pool.resize(size)
        wait_for(lambda size=size: len(pool.statistics().workers) == size)
        assert pool.map(square, range(20), chunksize=1) == [x * x for x in range(20)]
    with pytest.raises(ValueError, match="processes=0 is too small"):
        pool.resize(0)
    with pytest.raises(ValueError, match="too many"):
        pool.resize(100_000)


def test_a_picture_does_not_change(make: MakePool) -> None:
    picture = make(1).statistics()
    with pytest.raises(dataclasses.FrozenInstanceError):
        picture.done = 7  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        picture.workers[0].done = 7  # type: ignore[misc]


def test_how_workers_spend_their_time(make: MakePool, method: str) -> None:
    pool = make(1, method=method)
    worker = pool.apply(pid)
    began = time.monotonic()
    (before,) = pool.statistics().workers
    pool.apply(nap, (0.3,))
    pool.apply(burn, (0.3,))
    pool.map(nap, [0.01] * 20)
    wait_for(lambda: pool._core.tasks.lease(0) is None)
    (after,) = pool.statistics().workers
    span = time.monotonic() - began
    assert (before.pid, after.pid) == (worker, worker)
    busy = after.busy_seconds - before.busy_seconds
    cpu = after.cpu_seconds - before.cpu_seconds
    waiting = after.waiting_seconds - before.waiting_seconds
    assert 0.8 - 0.05 <= busy <= span + 0.05
    assert 0.3 - 0.05 <= cpu <= busy + 0.05
    # What it used to start and between tasks, which a slow machine makes long, is no part of busy.
    assert busy - after.cpu_seconds - 0.05 <= waiting <= busy - cpu + 0.05
    idle = after.idle_seconds - before.idle_seconds
    assert busy + idle <= span + 0.05
    time.sleep(0.2)
    (rested,) = pool.statistics().workers
    assert rested.busy_seconds == pytest.approx(after.busy_seconds, abs=0.05)
    assert rested.idle_seconds >= after.idle_seconds + 0.2 - 0.05


def test_a_running_task_and_since_when(make: MakePool, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    pool = make(1)
    pool.apply(pid)
    before = time.time()
    result = pool.apply_async(hold, (str(gate),))
    wait_for(lambda: pool.statistics().workers[0].items)
    (worker,) = pool.statistics().workers
    assert worker.since is not None
    assert before - 0.1 <= worker.since <= time.time() + 0.1
    assert worker.task is not None and worker.task.startswith("pool_tasks.hold(")
    assert worker.items == 1
    wait_for(lambda: pool.statistics().workers[0].busy_seconds > 0.05)
    gate.touch()
    result.get()
    wait_for(lambda: not pool.statistics().running)
    (worker,) = pool.statistics().workers
    assert (worker.task, worker.since, worker.seconds, worker.items) == (None, None, 0.0, 0)


def test_a_pool_that_was_never_used_is_idle(make: MakePool) -> None:
    pool = make(2)
    time.sleep(0.1)
    picture = pool.statistics()
    assert [worker.busy_seconds for worker in picture.workers] == [0.0, 0.0]
    assert all(worker.idle_seconds > 0 for worker in picture.workers)


def test_restarts_and_a_new_worker_s_time(make: MakePool, tmp_path: Path) -> None:
    pool = make(1)
    pool.apply(nap, (1.0,))
    assert pool.apply(end_until, (str(tmp_path), 3), retries=3) == 3
    (worker,) = pool.statistics().workers
    assert worker.restarts == pool.statistics().restarts == 2
    assert pool.statistics().retried == 2
    # The first one held its slot for a second.
    own = pool._core.tasks.held(0) - 1.0
    assert worker.busy_seconds <= own, "the time of the workers before it is not its own"
    os.kill(pool.apply(pid), signal.SIGKILL)
    wait_for(lambda: pool.statistics().restarts == 3)


def test_failures_by_kind(make: MakePool) -> None:
    pool = make(1)
    for _ in range(2):
        with pytest.raises(KeyError):
            pool.apply(fail)
    pool.apply_async(nap, (30,)).cancel()
    wait_for(lambda: pool.statistics().lost == 1)
    picture = pool.statistics()
    assert (picture.raised, picture.lost, picture.failed) == (2, 1, 3)


def test_queued_bytes(make: MakePool) -> None:
    pool = make(1)
    first = pool.apply_async(nap, (30,))
    wait_for(lambda: pool.statistics().running)
    for _ in range(3):
        pool.apply_async(len, (bytes(10_000),))
    picture = pool.statistics()
    assert picture.queued == 3
    assert 30_000 < picture.queued_bytes < 31_000
    first.cancel()


def test_an_ended_pool_still_has_its_totals(make: MakePool) -> None:
    pool = make(2)
    pool.map(square, range(10), chunksize=1)
    pool.close()
    pool.join()
    picture: Any = pool.statistics()
    assert (picture.done, picture.queued, picture.running, picture.workers) == (10, 0, 0, ())


def test_what_a_notebook_shows(make: MakePool, tmp_path: Path) -> None:
    pool = make(2)
    gate = str(tmp_path / "<b>gate")
    held = pool.apply_async(hold, (gate,))
    with pytest.raises(LookupError):
        pool.apply(fail, (1,))
    wait_for(lambda: pool.statistics().running == 1)
    shown = pool._repr_html_()
    assert shown is not None and shown.startswith("<div><b>Pool, ")
    assert "2 workers, 0 queued (0 B), 1 running, " in shown and "1 failed" in shown
    assert "&lt;b&gt;gate" in shown and "<b>gate" not in shown
    Path(gate).touch()
    held.get()
    statistics = pool.statistics()
    assert statistics._repr_html_().startswith("<div><b>Pool</b>: 2 workers")
    many = dataclasses.replace(statistics, workers=statistics.workers * 100)
    assert many._repr_html_().count("<tr>") == 1 + 32
