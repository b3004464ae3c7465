"""A holder dies: the next one gets the lock and can tell; and what does not count as a death."""

from __future__ import annotations

import logging
import os
import signal
from typing import Any

import pytest

import lock_children
from support.processes import Start

LONG = 30.0
MOMENT = 0.6
"""Longer than it takes to notice a death."""


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_the_next_gets_the_lock_of_the_dead(
    context: Any, start: Start, method: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    lock, holding = getattr(context, kind)(), context.Event()
    child = start(lock_children.hold, lock, holding, 1 if kind == "Lock" else 3)
    assert holding.wait(LONG)
    assert not lock.acquire(False) and lock.locked()
    child.kill()
    with caplog.at_level(logging.WARNING, logger="tines.synchronize"):
        assert lock.acquire(timeout=LONG)
    assert lock.recovered and lock.deaths == 1
    assert f"process {child.pid} ended while it held a {kind}" in caplog.text
    lock.release()
    with lock:
        assert not lock.recovered and lock.deaths == 1


def test_a_dead_one_that_was_joined_first(
    context: Any, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    lock, holding = context.Lock(), context.Event()
    child = start(lock_children.hold, lock, holding)
    assert holding.wait(LONG)
    child.kill()
    child.join()
    with caplog.at_level(logging.WARNING, logger="tines.synchronize"):
        assert lock.acquire(timeout=LONG)
    assert "ended while it held a Lock" in caplog.text and "unknown" not in caplog.text
    assert lock.recovered


def test_who_already_waits_gets_it_too(context: Any, start: Start) -> None:
    lock, holding, answers = context.Lock(), context.Event(), context.Queue()
    holder = start(lock_children.hold, lock, holding)
    assert holding.wait(LONG)
    start(lock_children.acquire_and_tell, lock, answers)
    assert answers.get(timeout=LONG) == "ready"
    holder.kill()
    assert answers.get(timeout=LONG) == ("acquired", True)


def test_without_waiting_as_well(context: Any, start: Start) -> None:
    """Programs that only ever try must not go round for ever."""
    lock, holding = context.Lock(), context.Event()
    holder = start(lock_children.hold, lock, holding)
    assert holding.wait(LONG)
    holder.kill()
    holder.join()
    while not lock.acquire(False):
        pass
    assert lock.recovered


def test_an_end_with_the_lock_held_is_a_death(context: Any, start: Start) -> None:
    lock, holding = context.Lock(), context.Event()
    start(lock_children.hold_and_end, lock, holding).join()
    assert lock.acquire(timeout=LONG) and lock.recovered


def test_an_heir_may_die_as_well(context: Any, start: Start) -> None:
    lock, holding, answers = context.Lock(), context.Event(), context.Queue()
    first = start(lock_children.hold, lock, holding)
    assert holding.wait(LONG)
    first.kill()
    second = start(lock_children.inherit_and_die, lock, answers)
    assert answers.get(timeout=LONG)
    second.kill()
    assert lock.acquire(timeout=LONG) and lock.recovered and lock.deaths == 2


def test_a_later_process_in_the_place_of_the_dead_is_not_the_holder(
    context: Any, start: Start
) -> None:
    """The registration of the dead one is given to another: its number is not its identity."""
    lock, holding = context.RLock(), context.Event()
    holder = start(lock_children.hold, lock, holding)
    assert holding.wait(LONG)
    holder.kill()
    holder.join()  # reaped, and so its place is free
    for _ in range(3):
        started = context.Event()
        start(lock_children.stay, started)
        assert started.wait(LONG)
    assert lock.acquire(timeout=LONG) and lock.recovered


def test_a_stopped_holder_lives(context: Any, start: Start) -> None:
    lock, holding = context.Lock(), context.Event()
    holder = start(lock_children.hold, lock, holding)
    assert holding.wait(LONG)
    os.kill(holder.pid, signal.SIGSTOP)
    assert not lock.acquire(timeout=MOMENT)
    os.kill(holder.pid, signal.SIGCONT)
    assert not lock.acquire(timeout=MOMENT) and lock.deaths == 0


def test_another_process_may_release_a_lock(context: Any, start: Start) -> None:
    lock = context.Lock()
    lock.acquire()
    start(lock_children.release, lock).join()
    assert lock.acquire(timeout=LONG) and not lock.recovered


def test_a_forked_child_holds_nothing_of_its_parent(context: Any, start: Start) -> None:
    lock = context.RLock()
    with lock:
        child = start(lock_children.release, lock)
        child.join()
        assert child.exitcode == 1  # AssertionError: not the owner
        assert lock._semlock._is_mine()


def test_a_semaphore_is_a_count_and_nobody_holds_it(context: Any, start: Start) -> None:
    """Whether the dead one was going to release it, nobody knows: it may be a signal."""
    semaphore, holding = context.Semaphore(1), context.Event()
    holder = start(lock_children.hold, semaphore, holding)
    assert holding.wait(LONG)
    holder.kill()
    holder.join()
    assert not semaphore.acquire(timeout=MOMENT)
    semaphore.release()
    assert semaphore.acquire(timeout=LONG)


@pytest.mark.parametrize("kind", ["Semaphore", "BoundedSemaphore"])
def test_tokens_of_an_owned_semaphore_come_back(
    context: Any, start: Start, method: str, kind: str
) -> None:
    semaphore, holding = getattr(context, kind)(3, owned=True), context.Event()
    holder = start(lock_children.hold, semaphore, holding, 2)
    assert holding.wait(LONG)
    assert semaphore.get_value() == 1
    holder.kill()
    for _ in range(3):
        assert semaphore.acquire(timeout=LONG)
    assert semaphore.recovered and semaphore.deaths == 2
    assert not semaphore.acquire(timeout=MOMENT)
    for _ in range(3):
        semaphore.release()
    assert not semaphore.recovered and semaphore.get_value() == 3
    with pytest.raises(ValueError, match="owned=True"):
        semaphore.release()


def test_only_its_owner_releases_an_owned_token(context: Any, start: Start) -> None:
    semaphore = context.Semaphore(2, owned=True)
    semaphore.acquire()
    child = start(lock_children.release, semaphore)
    child.join()
    assert child.exitcode == 1 and semaphore.get_value() == 1
