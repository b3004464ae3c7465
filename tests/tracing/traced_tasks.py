"""What the traced pools of the tests run."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from typing import Any

import tines


def square(number: int) -> int:
    return number * number


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def compute(seconds: float) -> None:
    """Spend this much time on a processor."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def hold(gate: str) -> None:
    """Return when a file is there."""
    while not os.path.exists(gate):
        time.sleep(0.002)


def fail(number: int) -> int:
    raise LookupError(number)


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_once(path: str) -> str:
    """Kill the worker, unless a file says that this was done."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return path
    os.kill(os.getpid(), signal.SIGKILL)
    return path


def gamble(number: int) -> int:
    """Take a moment; once in a hundred times, die."""
    chance = random.random()
    if chance < 0.01:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(chance / 1000)
    return number


class KillsWhenUnpickled:
    def __reduce__(self) -> Any:
        return die, (0,)


def nested(number: int) -> list[int]:
    """Use a pool inside a worker."""
    with tines.get_context("fork").Pool(1) as pool:
        return pool.map(square, range(number), chunksize=1)


def trace_inside(path: str) -> int:
    """Trace inside a worker that is itself traced."""
    with tines.trace(path), tines.get_context("fork").Pool(1) as pool:
        return sum(pool.map(square, range(5), chunksize=1))


def do_nothing() -> None:
    pass


def exit_with(code: int) -> None:
    os._exit(code)


def wait_for_ever() -> None:
    threading.Event().wait()
