"""Steps of a pool's threads in an order that is rare: each test holds one thread up between two of them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pool_tasks import end_until, fail_until, hold, nap, pid
from pool_tools import MakePool
from support.waiting import PATIENCE, wait_for
from tines.errors import TaskCancelledError
from tines.pool.jobs.result import ApplyResult
from tines.pool.runtime import collector, statistics
from tines.pool.scheduler.commands import Step, StopWorker
from tines.pool.scheduler.task import Task
from tines.wire import pickling


class Stop:
    """A place where a thread waits, once, until the test has done something."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._go_on = threading.Event()

    def here(self) -> None:
        """Wait. For the thread that is held up."""
        if not self.reached.is_set():
            self.reached.set()
            self._go_on.wait(PATIENCE)

    def __enter__(self) -> None:
        assert self.reached.wait(PATIENCE)

    def __exit__(self, *_: object) -> None:
        self._go_on.set()


def stop_before(monkeypatch: pytest.MonkeyPatch, owner: Any, step: str) -> Stop:
    """Have the next thread that comes to a method wait before it."""
    original = getattr(owner, step)
    stop = Stop()

    def stop_and_go_on(*arguments: Any) -> Any:
        stop.here()
        return original(*arguments)

    monkeypatch.setattr(owner, step, stop_and_go_on)
    return stop


def test_a_deadline_set_while_the_supervisor_goes_to_sleep_is_kept(
    make: MakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has looked when it must wake up, and does not sleep yet."""
    pool = make(1, retries=1, retry_on=ConnectionError, backoff=0.05)
    supervisor = pool._core.supervisor
    next_deadline, remind = supervisor._next_deadline, supervisor.remind
    stop, reminded = Stop(), threading.Event()
    deadlines: list[Any] = []

    def look_and_stop() -> float | None:
        deadlines.append(next_deadline())
        if deadlines[-1] is None and any(deadlines):  # the first retry was sent
            stop.here()
        return deadlines[-1]

    def remind_and_tell(deadline: float | None) -> None:
        remind(deadline)
        if deadline is not None and stop.reached.is_set():
            reminded.set()

    monkeypatch.setattr(supervisor, "_next_deadline", look_and_stop)
    monkeypatch.setattr(supervisor, "remind", remind_and_tell)
    directories = [tmp_path / name for name in "ab"]
    for directory in directories:
        directory.mkdir()
    first = pool.apply_async(fail_until, (str(directories[0]), 2))
    with stop:
        second = pool.apply_async(fail_until, (str(directories[1]), 2))
        assert reminded.wait(PATIENCE)
    assert first.get(PATIENCE) == second.get(PATIENCE) == 2


@pytest.mark.parametrize("backoff", [0.0, 0.05])
def test_a_pool_that_is_closed_while_a_lost_task_is_sent_again_waits_for_it(
    make: MakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backoff: float
) -> None:
    """It is neither pending nor delayed then."""
    pool = make(1, retries=1, backoff=backoff)
    stop = stop_before(monkeypatch, pool._core.dispatcher, "send_again")
    result = pool.apply_async(end_until, (str(tmp_path), 2))
    with stop:
        pool.close()
    assert result.get(PATIENCE) == 2
    pool.join()


def test_a_pool_that_is_closed_while_an_exception_is_unpickled_tries_again(
    make: MakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make(1, retries=1, retry_on=ConnectionError)
    stop = stop_before(monkeypatch, pool._core.arrivals, "_tried_again")
    result = pool.apply_async(fail_until, (str(tmp_path), 2))
    with stop:
        pool.close()
    assert result.get(PATIENCE) == 2
    pool.join()


def test_cancelling_a_task_whose_worker_dies_at_that_moment_stops_no_other_worker(
    make: MakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent again, to another worker, between the look where it is and the order to stop it."""
    pool = make(2, retries=1)
    core = pool._core
    holder, order = core.cancelling.holder, core.supervisor.order
    start = core.supervisor._start
    gate = str(tmp_path / "gate")
    moved = threading.Event()
    result = pool.apply_async(hold, (gate,))
    wait_for(lambda: any(worker.items for worker in pool.statistics().workers))
    other: list[Any] = []
    stopped = []

    def look_and_move(task: Task) -> int | None:
        slot = holder(task)
        if task is result and not other:
            assert slot is not None
            tag = task.tag
            os.kill(core.supervisor.workers[slot].pid, signal.SIGKILL)
            wait_for(lambda: task.tag != tag and holder(task) is not None)
            moved.set()
            other.append(pool.apply_async(hold, (gate, "other")))
            wait_for(lambda: holder(other[0]) == slot)
        return slot

    def start_later(slot: int) -> Exception | None:
        moved.wait(PATIENCE)  # the task is for the other worker
        return start(slot)

    def note(instruction: Any) -> None:
        if isinstance(instruction, StopWorker):
            stopped.append(instruction.slot)
        order(instruction)

    monkeypatch.setattr(core.supervisor, "_start", start_later)
    monkeypatch.setattr(core.cancelling, "holder", look_and_move)
    monkeypatch.setattr(core.supervisor, "order", note)
    assert result.cancel()
    assert stopped and holder(other[0]) not in stopped
    Path(gate).touch()
    assert other[0].get(PATIENCE) == "other"


@pytest.mark.parametrize("step", [Step.TERMINATE, Step.KILL])
def test_an_order_to_stop_what_is_over_does_not_stop_the_next_task(
    make: MakePool, tmp_path: Path, step: Step
) -> None:
    pool = make(1)
    core = pool._core
    worker = pool.apply(pid)
    gate = str(tmp_path / "gate")
    result = pool.apply_async(hold, (gate, "next"))
    wait_for(result.running)
    core.supervisor.order(StopWorker(0, step, result.tag - 1))
    wait_for(lambda: not core.supervisor._orders)
    Path(gate).touch()
    assert result.get(PATIENCE) == "next"
    assert pool.apply(pid) == worker


@pytest.mark.parametrize("step", ["revoke", "holder"])
def test_a_pool_that_ends_while_a_task_is_being_cancelled_harms_nobody(
    make: MakePool, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    pool = make(1)
    core = pool._core
    result = pool.apply_async(nap, (60,))
    wait_for(result.running)
    stop = stop_before(monkeypatch, core.tasks if step == "revoke" else core.cancelling, step)
    with ThreadPoolExecutor(1) as thread:
        cancelling = thread.submit(result.cancel)
        with stop:
            pool.terminate()
        assert cancelling.result(PATIENCE)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process for a while")
def test_a_closed_pool_whose_last_task_is_cancelled_while_nobody_collects_ends(
    make: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "PATIENCE", 2 * PATIENCE)
    pool = make(1)
    supervisor = pool._core.supervisor
    wait_for_supervisor = supervisor.join
    joining = threading.Event()

    def tell_and_join() -> None:
        joining.set()
        wait_for_supervisor()

    monkeypatch.setattr(supervisor, "join", tell_and_join)
    worker = pool.apply(pid)
    os.kill(worker, signal.SIGSTOP)
    result = pool.apply_async(pid)
    pool.close()
    thread = threading.Thread(target=pool.join)
    thread.start()
    assert joining.wait(PATIENCE)
    assert result.cancel()
    os.kill(worker, signal.SIGCONT)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_task_may_end_while_it_is_described(make: MakePool) -> None:
    """Its data is there for one look and gone for the next."""
    pool = make(1)

    class Ending(Task):
        looks = iter((b"",))

        @property
        def data(self) -> Any:  # type: ignore[override]
            return next(self.looks, None)

    assert "a task" in statistics.describe(Ending(), pool._core.functions)


def test_two_threads_may_open_a_result_at_once() -> None:
    """The second one begins to, and comes to the message when the first one is through."""

    class Opened(ApplyResult[Any]):
        opening = False

        @property
        def data(self) -> Any:  # type: ignore[override]
            if not self.opening:
                self.opening = True
                self._open()
            return self.__dict__["data"]

        @data.setter
        def data(self, value: Any) -> None:
            self.__dict__["data"] = value

    result = Opened(None)
    kind, data, buffers = pickling.encode("value")
    result.settle(kind, data, buffers)
    assert result.get() == "value"


def test_what_a_map_sends_while_it_is_cancelled_is_cancelled_too(
    make: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make(1)
    dispatcher, collects = pool._core.dispatcher, pool._core.collector
    send_chunks = dispatcher.send_chunks
    stop = Stop()

    def stop_and_send(chunks: Any) -> None:
        if collects.is_current:  # the first have come back, and made room
            stop.here()
        send_chunks(chunks)

    monkeypatch.setattr(dispatcher, "send_chunks", stop_and_send)
    result = pool.map_async(nap, [0.0] * 4 + [60.0] * 100)
    with stop:
        result.cancel()
    with pytest.raises(TaskCancelledError):
        result.get(PATIENCE)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process for a while")
def test_a_call_that_comes_while_the_pool_is_closed_does_not_stay_open(
    make: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is accepted, everything is done, it is sent, the channel is shut down, the worker dies."""
    pool = make(1)
    core = pool._core
    worker = pool.apply(pid)
    os.kill(worker, signal.SIGSTOP)
    refer, shutdown = core.functions.refer, core.tasks.shutdown
    accepted = Stop()

    def stop_and_refer(func: Any) -> Any:
        accepted.here()
        return refer(func)

    def shutdown_after_it_was_sent(*arguments: Any, **options: Any) -> None:
        if not sent.done():
            with accepted:
                pass
            sent.result(PATIENCE)
        shutdown(*arguments, **options)

    monkeypatch.setattr(core.functions, "refer", stop_and_refer)
    monkeypatch.setattr(core.tasks, "shutdown", shutdown_after_it_was_sent)
    with ThreadPoolExecutor(1) as thread:
        sent = thread.submit(pool.apply_async, pid)
        assert accepted.reached.wait(PATIENCE)
        pool.close()
    os.kill(worker, signal.SIGKILL)
    pool.join()
    with pytest.raises(TaskCancelledError):
        sent.result().get(PATIENCE)
