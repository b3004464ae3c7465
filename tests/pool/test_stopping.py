"""Timeouts and cancelling: an exception in the task, SIGTERM, SIGKILL of the process group."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import tines
from pool_tasks import (
    HeldWhenUnpickled,
    child_and_nap,
    fail_until,
    hold,
    leave_mark,
    mark_and_nap,
    nap,
    pid,
    square,
    stubborn,
)
from pool_tools import MakePool, outcomes
from support.waiting import PATIENCE, wait_for
from tines import aio
from tines.engines.local import LocalWorker
from tines.errors import TaskCancelledError, TaskTimeoutError, TinesError
from tines.transport.contract import Transport


def test_a_timeout_interrupts_the_task_and_keeps_the_worker(make: MakePool) -> None:
    pool = make(1, grace=PATIENCE)
    worker = pool.apply(pid)
    began = time.monotonic()
    with pytest.raises(TaskTimeoutError, match=r"timeout=0\.1 s") as caught:
        pool.apply(nap, (50,), timeout=0.1)
    assert time.monotonic() - began < 45
    assert isinstance(caught.value, TimeoutError)
    assert pool.apply(pid) == worker


def test_a_task_that_ignores_the_exception_loses_its_worker(make: MakePool) -> None:
    pool = make(1)
    worker = pool.apply(pid)
    with pytest.raises(TaskTimeoutError) as caught:
        pool.apply(stubborn, (60,), timeout=0.1, grace=0.1)
    assert caught.value.timeout == 0.1
    assert pool.apply(pid) != worker


def test_what_the_task_started_is_killed_with_the_worker(make: MakePool, tmp_path: Path) -> None:
    pool = make(1)
    path = tmp_path / "pid"
    result = pool.apply_async(child_and_nap, (str(path),), grace=0.1)
    wait_for(path.exists)
    assert result.cancel()
    child = int(path.read_text())
    wait_for(lambda: not _alive(child))


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return False
    return state != "Z"


def test_the_timeout_counts_from_the_start_in_the_worker(make: MakePool) -> None:
    pool = make(1)
    results = [pool.apply_async(nap, (0.3,), timeout=3.0) for _ in range(12)]
    assert [result.get(timeout=50) for result in results] == [0.3] * 12


def test_timeouts_of_single_items(make: MakePool) -> None:
    pool = make()
    found = outcomes(pool.imap(nap, [0.0, 30, 0.0, 0.01], timeout=2.0))
    assert [found[0], *found[2:]] == [0.0, 0.0, 0.01]
    assert isinstance(found[1], TaskTimeoutError)
    with pytest.raises(TaskTimeoutError):
        pool.map(nap, [0.0, 30, 0.0], timeout=0.3)


def test_a_timeout_that_is_not_reached_changes_nothing(make: MakePool) -> None:
    pool = make()
    assert pool.map(square, range(50), timeout=30) == [x * x for x in range(50)]
    assert pool._core.state.next_deadline() is None


def test_retry_on_a_timeout(make: MakePool) -> None:
    pool = make()
    with pytest.raises(TaskTimeoutError):
        # Each worker has time to say so: one that has to be stopped ends the matter.
        pool.apply(nap, (30,), timeout=0.05, grace=PATIENCE, retries=2, retry_on=TaskTimeoutError)
    assert pool._core.state.retried == 2


def test_cancel_what_is_queued(make: MakePool, tmp_path: Path) -> None:
    pool = make(1)
    gate, marks = tmp_path / "gate", tmp_path / "marks"
    marks.mkdir()
    blocker = pool.apply_async(hold, (str(gate), 7))
    queued = [pool.apply_async(leave_mark, (str(marks), x)) for x in range(10)]
    assert all(result.cancel() for result in queued[::2])
    assert all(result.cancelled() and result.done() for result in queued[::2])
    for result in queued[::2]:
        with pytest.raises(TaskCancelledError) as caught:
            result.get()
        assert not caught.value.started
    gate.touch()
    assert [result.get() for result in queued[1::2]] == [1] * 5
    assert blocker.get() == 7
    assert len(list(marks.iterdir())) == 5
    assert not blocker.cancel()
    assert not blocker.cancelled()


def test_cancel_what_is_running(make: MakePool) -> None:
    pool = make(1, grace=20.0)
    worker = pool.apply(pid)
    result = pool.apply_async(nap, (30,))
    wait_for(result.running)
    assert result.cancel()
    with pytest.raises(TaskCancelledError) as caught:
        result.get()
    assert caught.value.started
    assert pool.apply(pid) == worker


@pytest.mark.parametrize("how", ["call", "map", "timeout"])
def test_stopping_what_is_not_unpickled_yet(
    make: MakePool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    """It is taken, so the worker is told; the task ends before it begins, and its worker stays."""
    pool = make(1, grace=3 * PATIENCE)
    worker = pool.apply(pid)
    wait_for(lambda: pool._core.tasks.lease(0) is None)
    told = threading.Event()
    interrupt = LocalWorker.interrupt

    def tell(running: LocalWorker, order: bytes) -> bool:
        possible = interrupt(running, order)
        told.set()
        return possible

    monkeypatch.setattr(LocalWorker, "interrupt", tell)
    gate, marks = tmp_path / "gate", tmp_path / "marks"
    marks.mkdir()
    held = HeldWhenUnpickled(str(gate))
    result: Any
    if how == "map":
        result = pool.map_async(partial(leave_mark, str(marks)), [held])
    elif how == "call":
        result = pool.apply_async(leave_mark, (str(marks), held))
    else:
        result = pool.apply_async(leave_mark, (str(marks), held), timeout=0.05)
    if how != "timeout":
        wait_for(lambda: pool._core.tasks.lease(0) is not None)
        assert result.cancel()
    assert told.wait(PATIENCE)
    gate.touch()
    with pytest.raises(TaskTimeoutError if how == "timeout" else TaskCancelledError):
        result.get(PATIENCE)
    assert pool.apply(pid) == worker
    assert not list(marks.iterdir())


def test_cancel_what_does_not_listen(make: MakePool) -> None:
    pool = make(1, grace=0.1)
    result = pool.apply_async(stubborn, (60,))
    wait_for(result.running)
    assert result.cancel()
    assert pool.apply(square, (3,)) == 9


def test_cancel_wakes_those_who_wait(make: MakePool) -> None:
    pool = make(1)
    blocker = pool.apply_async(nap, (60,))
    result = pool.apply_async(square, (1,))
    caught: list[Any] = []

    def get() -> None:
        try:
            result.get()
        except TinesError as error:
            caught.append(error)

    threads = [threading.Thread(target=get) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)  # most likely they wait by now; those that do not must not do so any more
    assert result.cancel()
    for thread in threads:
        thread.join(PATIENCE)
    assert not blocker.ready()
    assert [type(error) for error in caught] == [TaskCancelledError] * 3


def test_cancel_a_map(make: MakePool) -> None:
    pool = make()
    result = pool.map_async(nap, [60] * 20)
    wait_for(result.running)
    assert result.cancel()
    with pytest.raises(TaskCancelledError):
        result.get(timeout=20)
    assert pool.map_async(square, range(4)).get(PATIENCE) == [0, 1, 4, 9]


@pytest.mark.parametrize("how", ["map", "executor", "aio"])
def test_what_runs_is_stopped_when_the_rest_is_taken_back(
    make: MakePool, monkeypatch: pytest.MonkeyPatch, transport: Transport, how: str
) -> None:
    """Its worker would take up the next."""
    executor = tines.ProcessPoolExecutor(1, transport=transport)
    assert executor.submit(square, 2).result() == 4
    pool = executor._pool if how == "executor" else make(1)
    assert pool is not None
    machine = pool._core.machine
    left: list[int] = []
    order = machine.effects.order

    def watched(instruction: Any) -> None:
        left.append(len(machine.state.pending))
        order(instruction)

    def run() -> None:
        wait_for(lambda: pool.statistics().running == 1 and len(machine.state.pending) > 1)
        monkeypatch.setattr(machine.effects, "order", watched)

    async def cancelled() -> None:
        front = aio.Pool.wrap(pool)
        calls = asyncio.gather(*(front.apply(nap, (60,)) for _ in range(20)))
        await asyncio.to_thread(run)
        calls.cancel()
        await asyncio.gather(calls, return_exceptions=True)

    if how == "map":
        result = pool.map_async(nap, [60] * 20, chunksize=1)
        run()
        result.cancel()
    elif how == "executor":
        futures = [executor.submit(nap, 60) for _ in range(20)]
        run()
        executor._withdraw(futures)
    else:
        asyncio.run(cancelled())
    wait_for(lambda: bool(left))
    assert left[0] == 0
    monkeypatch.undo()
    executor.shutdown()


def test_a_cancelled_map_tries_nothing_again(make: MakePool, tmp_path: Path) -> None:
    pool = make(1)
    result = pool.map_async(
        partial(fail_until, str(tmp_path)),
        [9] * 3,
        chunksize=1,
        retries=1,
        backoff=60.0,
        retry_on=(ConnectionError,),
    )
    wait_for(lambda: pool._core.machine.state.count_delayed == 3)
    result.cancel()
    assert pool._core.machine.state.count_delayed == 0
    with pytest.raises(TaskCancelledError):
        result.get(PATIENCE)


def test_cancelling_a_map_looks_at_nothing_of_the_others(
    make: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make(1)
    hold_up = pool.apply_async(nap, (100,))
    maps = [pool.map_async(square, range(3)) for _ in range(500)]
    state = pool._core.state
    looked: list[int] = []
    find = state.find
    monkeypatch.setattr(state, "find", lambda tag: (looked.append(tag), find(tag))[1])
    monkeypatch.setattr(
        state, "open_tasks", lambda: pytest.fail("it went through all that is open")
    )
    for cancelled in (maps[3], maps[250]):
        assert cancelled.cancel()
    assert len(looked) < 20
    hold_up.cancel()
    assert maps[2].get(PATIENCE) == maps[499].get(PATIENCE) == [0, 1, 4]


def test_chunks_that_were_sent_again_are_cancelled_with_their_map(
    make: MakePool, tmp_path: Path
) -> None:
    pool = make(1)
    worker = pool.apply(pid)
    job = pool.map_async(partial(mark_and_nap, str(tmp_path)), [1000.0] * 2, chunksize=1, retries=1)
    others = [pool.apply_async(square, (n,)) for n in range(50)]
    wait_for((tmp_path / "begun.0").exists)
    os.kill(worker, signal.SIGKILL)
    wait_for((tmp_path / "begun.1").exists)
    assert job.retried == 1
    assert job.cancel()
    assert [other.get(PATIENCE) for other in others] == [n * n for n in range(50)]


def test_a_map_that_is_cancelled_while_a_chunk_is_in_hand_to_be_sent_again_runs_no_more(
    make: MakePool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pool = make(1)
    worker = pool.apply(pid)
    job = pool.map_async(partial(mark_and_nap, str(tmp_path)), [1000.0], chunksize=1, retries=1)
    wait_for((tmp_path / "begun.0").exists)
    dispatcher = pool._core.dispatcher
    send_again = dispatcher.send_again

    def cancelled_meanwhile(task: Any) -> None:
        job.cancel()
        send_again(task)

    monkeypatch.setattr(dispatcher, "send_again", cancelled_meanwhile)
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(TaskCancelledError):
        job.get(PATIENCE)
    assert pool.apply_async(square, (3,)).get(PATIENCE) == 9


def test_cancelling_at_random_moments(make: MakePool) -> None:
    pool = make()
    for round_ in range(20):
        results = [pool.apply_async(nap, (0.0005,)) for _ in range(20)]
        cancelled = [result.cancel() for result in results[round_ % 3 :: 2]]
        for result, was in zip(results[round_ % 3 :: 2], cancelled):
            if was:
                with pytest.raises(TaskCancelledError):
                    result.get(timeout=20)
            else:
                assert result.get(timeout=20) == 0.0005
        for result in results:
            result.wait(20)
            assert result.ready()
    assert pool.apply(square, (3,)) == 9
    assert os.getpid() not in set(pool.map(pid, range(4)))
