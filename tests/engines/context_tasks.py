"""What processes on nodes do, in tests of contexts."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import time
from typing import Any

import tines

CONTEXT: Any = tines.get_context(engine="simulated:1")
"""For :class:`Adder`: nothing is started before a process of it is."""


class Adder(CONTEXT.Process):  # type: ignore[misc]
    """A process class of a program's own."""

    def __init__(self, *numbers: int) -> None:
        super().__init__(returns=True, name="adder", daemon=True)
        self.numbers = numbers

    def run(self) -> Any:
        here = multiprocessing.current_process()
        return sum(self.numbers), type(here).__name__, here.name, here.daemon


def double(given: Any, taken: Any) -> None:
    """Double what comes, and say who has done it, until ``None`` comes."""
    while (item := given.get()) is not None:
        taken.put((item * 2, os.getpid(), os.getppid()))


def consume(given: Any) -> None:
    for _ in range(3):
        given.get()
        given.task_done()


def fill(bounded: Any) -> int:
    """How many items go into a queue."""
    count = 0
    while True:
        try:
            bounded.put(count, timeout=0.05)
        except queue.Full:
            return count
        count += 1


def hand_over(queue: Any, thing: Any) -> None:
    queue.put(thing)


def twice(x: Any) -> Any:
    return x * 2


def fail() -> None:
    raise ZeroDivisionError("on the node")


def wait_for_interrupt(ready: Any) -> str:
    try:
        ready.put(None)
        time.sleep(600)
    except KeyboardInterrupt:
        return "interrupted"
    return "not interrupted"


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def take(given: Any, taken: Any) -> None:
    """Pass on one item, having said that it will be taken."""
    taken.put("ready")
    taken.put(given.get())


def keep(queue: Any) -> None:
    """What an initializer of a pool does with a queue."""
    global kept
    kept = queue


def put_kept(x: Any) -> None:
    kept.put(x)


def make_queue() -> Any:
    """Return what belongs to the node."""
    return tines.Queue()


def start_another(context: Any) -> str:
    """In a forked child: say what comes of starting a process on the nodes of its parent."""
    try:
        context.Process(target=twice, args=(1,)).start()
    except tines.StartError as error:
        return str(error)
    return "it was started"
