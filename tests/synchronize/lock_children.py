"""What the children of these tests do; importable, so that each start method can run them."""

from __future__ import annotations

import os
import threading
from typing import Any


def hold(lock: Any, holding: Any, times: int = 1) -> None:
    """Acquire, say so, and never release."""
    for _ in range(times):
        lock.acquire()
    holding.set()
    threading.Event().wait()


def hold_and_end(lock: Any, holding: Any) -> None:
    lock.acquire()
    holding.set()


def acquire_and_tell(lock: Any, answers: Any) -> None:
    answers.put("ready")
    with lock:
        answers.put(("acquired", lock.recovered))


def inherit_and_die(lock: Any, answers: Any) -> None:
    lock.acquire()
    answers.put(lock.recovered)
    threading.Event().wait()


def await_notification(condition: Any, answers: Any) -> None:
    with condition:
        answers.put((os.getpid(), condition.wait()))


def await_event(event: Any, answers: Any) -> None:
    answers.put("ready")
    answers.put(event.wait(60))


def cross(barrier: Any, answers: Any) -> None:
    try:
        answers.put(barrier.wait())
    except threading.BrokenBarrierError:
        answers.put("broken")


def stay(started: Any) -> None:
    started.set()
    threading.Event().wait()


def release(lock: Any) -> None:
    lock.release()


def use(things: Any) -> list[str]:
    """Use what came by whatever way."""
    lock, condition, event, barrier, semaphore = things
    with lock, condition, semaphore:
        event.set()
    assert barrier.wait() == 0
    return [type(each).__name__ for each in things]
