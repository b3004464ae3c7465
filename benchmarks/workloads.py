"""What the workers of a pool run. Imported by spawned children, so it imports almost nothing."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

__all__ = ["Record", "add_up", "identity", "make_array", "nap", "nothing", "own_pid"]

STRIDE = 512
"""One float64 in each page of 4 KB."""

ARRAY_LENGTH = 2**20
"""Elements of 8 bytes."""


@dataclass
class Record:
    """An object as programs have them by the thousand."""

    number: int
    name: str
    value: float


def nothing() -> None:
    """The target of a process that only starts and ends."""


def identity(item: Any) -> Any:
    """Return what it was given: the smallest task whose result can be checked."""
    return item


def own_pid(_item: Any) -> int:
    """Return which process runs it."""
    return os.getpid()


def nap(seconds: float) -> float:
    """Sleep, and return how long it really took."""
    start = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - start


def add_up(array: Any) -> tuple[int, float]:
    """Look at an array that was sent as an argument: one element of every page."""
    return array.nbytes, float(array[::STRIDE].sum())


def make_array(index: int) -> Any:
    """Return an array of 8 MB whose elements all have the value ``index``."""
    import numpy

    return numpy.full(ARRAY_LENGTH, float(index))
