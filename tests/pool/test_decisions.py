"""The pool's decisions one by one: what the state machine answers to a given event."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pool_world import Range
from tines.engines.contract import Exit
from tines.pool.options import PoolOptions, TaskOptions
from tines.pool.scheduler.commands import (
    Break,
    Broken,
    Fail,
    Lost,
    Send,
    StartWorker,
    Step,
    StopWorker,
    TimedOut,
)
from tines.pool.scheduler.deaths import UNBEGUN_LIMIT
from tines.pool.scheduler.phase import Phase
from tines.pool.scheduler.state import PoolState
from tines.pool.scheduler.task import Task

KILLED = Exit(pid=1, exitcode=-9, description="was killed by SIGKILL")


class One(Task):
    """A call."""

    def __init__(self, **options: Any) -> None:
        self.options = TaskOptions(**options)

    def split(self, start: int, stop: int) -> Task:
        return self


def machine(**options: Any) -> PoolState:
    state = PoolState(PoolOptions(**{"processes": 1, **options}), random.Random(1))
    state.start()
    state.ready(0)
    return state


def test_backoff_doubles_with_jitter() -> None:
    state = machine()
    task = One(retries=4, backoff=1.0)
    now = 0.0
    delays = []
    for _ in range(4):
        state.submit(task)
        state.gone(0, KILLED, (task.tag, 1), 0, now)
        deadline = state.next_deadline()
        assert deadline is not None
        delays.append(deadline - now)
        now = deadline
        assert state.tick(now) == [Send(task)]
    for exponent, delay in enumerate(delays):
        assert 0.5 * 2**exponent <= delay <= 1.5 * 2**exponent
    assert len({round(delay / 2**exponent, 6) for exponent, delay in enumerate(delays)}) > 1


def test_timeout_takes_its_steps_in_order() -> None:
    state = machine()
    task = One(timeout=2.0, grace=0.5)
    tag = state.submit(task)
    state.started(tag, 0, 10.0)
    seen = []
    for expected in (12.0, 12.5, 13.0):
        assert state.next_deadline() == expected
        assert state.tick(expected - 0.01) == []
        seen += state.tick(expected)
    assert [stop.step for stop in seen] == list(Step)
    assert {stop.tag for stop in seen} == {tag}
    answer = state.gone(0, KILLED, (tag, 1), 0, 14.0)
    assert answer[0] == Fail(task, TimedOut(2.0, 1))
    assert isinstance(answer[1], StartWorker)


def test_a_death_before_the_limit_is_no_timeout() -> None:
    state = machine()
    task = One(timeout=2.0)
    tag = state.submit(task)
    state.started(tag, 0, 10.0)
    answer = state.gone(0, KILLED, (tag, 1), 0, 11.0)
    assert isinstance(answer[0], Fail)
    assert isinstance(answer[0].failure, Lost)


def test_a_task_that_obeys_the_interrupt_stops_nothing_more() -> None:
    state = machine()
    tag = state.submit(One(timeout=2.0))
    state.started(tag, 0, 0.0)
    state.tick(2.0)
    assert state.finished(tag) is not None
    state.stopped(tag)
    assert state.next_deadline() is None
    assert state.tick(100.0) == []


def test_only_the_running_item_of_a_chunk_is_charged() -> None:
    state = machine()
    task = Range(None, 0, 0, 10, TaskOptions())  # type: ignore[arg-type]
    task.reported = 2
    tag = state.submit(task)
    answer = state.gone(0, KILLED, (tag, 6), 0, 0.0)
    sent = [(one.task.start, one.task.stop) for one in answer if isinstance(one, Send)]
    failed = [one.task for one in answer if isinstance(one, Fail)]
    assert sent == [(2, 5), (6, 10)]
    assert [(one.start, one.stop) for one in failed] == [(5, 6)]


def test_a_task_that_kills_before_it_begins_is_charged_in_the_end() -> None:
    state = machine()
    task = One()
    for _ in range(UNBEGUN_LIMIT - 1):
        state.submit(task)
        assert state.gone(0, KILLED, (task.tag, 0), 0, 0.0)[0] == Send(task)
    state.submit(task)
    (failure, _) = state.gone(0, KILLED, (task.tag, 0), 0, 0.0)
    assert isinstance(failure, Fail)
    assert isinstance(failure.failure, Lost)


def test_idle_deaths_break_the_pool_only_in_quick_succession() -> None:
    state = machine(max_restarts=3)
    for number in range(20):  # one a minute
        state.ready(0)
        answer = state.gone(0, KILLED, None, 0, number * 60.0)
        assert not any(isinstance(one, Break) for one in answer)
    now = 2000.0
    for _ in range(3):
        state.ready(0)
        assert not any(isinstance(one, Break) for one in state.gone(0, KILLED, None, 0, now))
    task = One()
    state.submit(task)
    state.ready(0)
    answer = state.gone(0, KILLED, None, 0, now)
    assert any(isinstance(one, Break) for one in answer)
    assert any(isinstance(one, Fail) and isinstance(one.failure, Broken) for one in answer)


def test_deaths_with_something_finished_in_between_never_break_the_pool() -> None:
    state = machine(max_restarts=1)
    for number in range(50):
        state.ready(0)
        answer = state.gone(0, KILLED, None, number, 0.0)
        assert state.phase is Phase.OPEN, answer


def test_a_failing_initializer_breaks_the_pool_with_its_exception() -> None:
    state = PoolState(PoolOptions(processes=1, max_restarts=2))
    state.start()
    cause = RuntimeError("no licence")
    for _ in range(2):
        answer = state.gone(0, Exit(pid=1, exitcode=0), None, 0, 0.0, cause)
        assert answer == [StartWorker(0)]
    answer = state.gone(0, Exit(pid=1, exitcode=0), None, 0, 0.0, cause)
    assert isinstance(answer[0], Break)
    assert answer[0].failure.cause is cause


@pytest.mark.parametrize("processes", [1, 4])
def test_start_uses_the_lowest_free_slots(processes: int) -> None:
    state = PoolState(PoolOptions(processes=processes))
    assert state.start() == [StartWorker(slot) for slot in range(processes)]
    state.gone(0, Exit(pid=1, exitcode=0), None, 0, 0.0)
    assert set(state.workers) == set(range(processes))


def test_a_worker_over_its_memory_is_killed_once_and_its_task_says_so() -> None:
    state = machine(max_memory_hard=2_000_000)
    task = One(retries=1)
    tag = state.submit(task)
    assert state.over_memory(0, tag, 3_000_000) == (StopWorker(0, Step.KILL, tag),)
    assert state.over_memory(0, tag, 4_000_000) == ()
    assert state.gone(0, KILLED, (tag, 1), 0, 0.0) == [Send(task), StartWorker(0)]
    (line,) = task.history
    assert "was killed by SIGKILL, because its memory, 3 MB, had passed" in line
    tag = state.submit(task)
    state.over_memory(0, tag, 3_000_000)
    failure = state.gone(0, KILLED, (tag, 1), 0, 0.0)[0]
    assert isinstance(failure, Fail)
    assert isinstance(failure.failure, Lost)
    assert "max_memory_hard=2000000" in failure.failure.exit.description


def test_a_worker_over_its_memory_that_became_idle_costs_no_task() -> None:
    state = machine(max_restarts=1)
    for number in range(10):
        state.ready(0)
        tag = state.submit(One())
        state.over_memory(0, tag, 1)
        state.finished(tag)
        assert state.gone(0, KILLED, None, number, 0.0) == [StartWorker(0)]
    assert state.over_memory(7, 0, 1) == ()
