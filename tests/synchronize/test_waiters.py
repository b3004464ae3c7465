"""Conditions, events and barriers whose waiters are killed."""

from __future__ import annotations

import os
import signal
import threading
from queue import Empty
from typing import Any

import pytest

import lock_children
from support.processes import Start

LONG = 30.0
MOMENT = 0.6


def wait_until_waiting(condition: Any, count: int) -> None:
    """Wait for children to sleep: each has the lock until it does."""
    while True:
        with condition:
            if condition._waiters.count() == count:
                return


@pytest.fixture
def pair(context: Any, start: Start) -> tuple[Any, Any, Any, Any]:
    """A condition on which two children wait; the elder and the younger."""
    condition, answers = context.Condition(), context.Queue()
    elder = start(lock_children.await_notification, condition, answers)
    wait_until_waiting(condition, 1)
    younger = start(lock_children.await_notification, condition, answers)
    wait_until_waiting(condition, 2)
    return condition, answers, elder, younger


def test_the_oldest_waiter_is_notified_first(method: str, pair: tuple[Any, Any, Any, Any]) -> None:
    condition, answers, elder, younger = pair
    for child in (elder, younger):
        with condition:
            condition.notify()
        assert answers.get(timeout=LONG) == (child.pid, True)


def test_a_waiter_killed_before_does_not_swallow_a_notification(
    method: str, pair: tuple[Any, Any, Any, Any]
) -> None:
    condition, answers, elder, younger = pair
    elder.kill()
    with condition:
        condition.notify()
    assert answers.get(timeout=LONG) == (younger.pid, True)


def test_a_waiter_killed_after_it_was_notified_passes_it_on(
    pair: tuple[Any, Any, Any, Any],
) -> None:
    condition, answers, elder, younger = pair
    with condition:
        condition.notify()
        elder.kill()  # it cannot have the lock yet, so it has not acted on it
        elder.join()
    assert answers.get(timeout=LONG) == (younger.pid, True)


def test_nobody_inherits_what_was_before_his_time(context: Any, start: Start) -> None:
    condition, answers = context.Condition(), context.Queue()
    child = start(lock_children.await_notification, condition, answers)
    wait_until_waiting(condition, 1)
    child.kill()
    with condition:
        condition.notify()
        assert not condition.wait(MOMENT)
    assert condition._waiters.count() == 0


def test_a_condition_whose_lock_holder_dies(context: Any, start: Start) -> None:
    condition, holding = context.Condition(), context.Event()
    child = start(lock_children.hold, condition, holding)
    assert holding.wait(LONG)
    child.kill()
    with condition:
        assert condition.recovered and condition.deaths == 1


class Alarm(Exception):
    pass


@pytest.fixture
def alarm() -> Any:
    """Have a handler raise, once, in the midst of a wait."""

    def ring(signum: int, frame: object) -> None:
        raise Alarm

    before = signal.signal(signal.SIGUSR1, ring)
    main = threading.main_thread().ident
    assert main is not None
    yield lambda: threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGUSR1)).start()
    signal.signal(signal.SIGUSR1, before)


def test_a_handler_that_raises_ends_an_acquire(context: Any, start: Start, alarm: Any) -> None:
    lock, holding = context.Lock(), context.Event()
    start(lock_children.hold, lock, holding)
    assert holding.wait(LONG)
    with pytest.raises(Alarm):
        alarm()
        lock.acquire()


def test_a_handler_that_raises_ends_a_wait_with_the_lock_held(context: Any, alarm: Any) -> None:
    condition = context.Condition()
    with pytest.raises(Alarm), condition:
        alarm()
        try:
            condition.wait()
        finally:
            assert condition._lock._semlock._is_mine()
    assert condition._waiters.count() == 0 and not condition._lock.locked()


def test_a_handler_that_raises_ends_a_wait_for_an_event(context: Any, alarm: Any) -> None:
    event = context.Event()
    with pytest.raises(Alarm):
        alarm()
        event.wait()


def test_all_who_wait_see_an_event_that_is_cleared_at_once(
    context: Any, start: Start, method: str
) -> None:
    event, answers = context.Event(), context.Queue()
    for _ in range(3):
        start(lock_children.await_event, event, answers)
        assert answers.get(timeout=LONG) == "ready"
    seen = 0
    while seen < 3:  # "ready" comes just before the wait
        event.set()
        event.clear()
        try:
            assert answers.get(timeout=0.05) is True
        except Empty:
            continue
        seen += 1
    assert not event.is_set() and "unset" in repr(event)


def test_an_event_outlives_whoever_waits_for_it(context: Any, start: Start) -> None:
    event, answers = context.Event(), context.Queue()
    victim = start(lock_children.await_event, event, answers)
    start(lock_children.await_event, event, answers)
    assert [answers.get(timeout=LONG) for _ in range(2)] == ["ready"] * 2
    victim.kill()
    victim.join()
    event.set()
    assert answers.get(timeout=LONG) is True


def wait_until_arrived(barrier: Any, count: int) -> None:
    while barrier.n_waiting != count:
        pass


def test_a_barrier_of_which_one_dies_is_broken(context: Any, start: Start, method: str) -> None:
    barrier, answers = context.Barrier(3), context.Queue()
    victim = start(lock_children.cross, barrier, answers)
    start(lock_children.cross, barrier, answers)
    wait_until_arrived(barrier, 2)
    victim.kill()
    assert answers.get(timeout=LONG) == "broken"
    assert barrier.broken
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    for _ in range(2):
        start(lock_children.cross, barrier, answers)
    barrier.wait(LONG)
    assert {answers.get(timeout=LONG) for _ in range(2)} <= {0, 1, 2}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_barrier_whose_action_dies_is_broken(context: Any, start: Start) -> None:
    barrier, answers = context.Barrier(2, die), context.Queue()
    start(lock_children.cross, barrier, answers)
    wait_until_arrived(barrier, 1)
    start(lock_children.cross, barrier, answers)
    assert answers.get(timeout=LONG) == "broken"


def test_a_barrier_can_be_crossed_again_and_again(context: Any, start: Start) -> None:
    barrier, answers = context.Barrier(2), context.Queue()
    for _ in range(20):
        child = start(lock_children.cross, barrier, answers)
        mine = barrier.wait(LONG)
        assert {mine, answers.get(timeout=LONG)} == {0, 1}
        child.kill()  # the dead who have crossed break nothing
        child.join()
    assert not barrier.broken and barrier.n_waiting == 0
