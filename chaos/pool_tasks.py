"""What the workers of the pool rig run. Everything about a task follows from its number.

A task says at its start and end of each run what it is, so that a wrong, torn or doubled answer shows.
"""

from __future__ import annotations

import enum
import signal
import time
from typing import Any

from chaos.faults import ignore, nested, storm

__all__ = ["HARMLESS", "Kind", "Planned", "Unsendable", "do", "expected", "kind_of", "prepare"]


class Kind(enum.Enum):
    """How a task ends, where its worker lives."""

    PLAIN = enum.auto()
    RAISES = enum.auto()
    TOO_DEEP = enum.auto()
    """Its result cannot be pickled: a RecursionError."""
    UNSENDABLE = enum.auto()
    """It raises something that pickles and then does not unpickle."""


HARMLESS = frozenset({Kind.PLAIN})


class Planned(Exception):
    """What a task was made to raise."""


class Unsendable(Exception):
    """Cannot be made again from what pickle keeps of it."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)


def kind_of(number: int) -> Kind:
    """Most are plain."""
    return {3: Kind.RAISES, 7: Kind.TOO_DEEP, 11: Kind.UNSENDABLE}.get(number % 13, Kind.PLAIN)


def expected(number: int) -> tuple[int, bytes]:
    """What a plain task returns; some of it is large enough for a block of its own."""
    size = 8000 if number % 29 == 0 else number % 3000
    return number, number.to_bytes(8, "little") * size


def prepare(interval: float) -> None:
    """In each worker: have it interrupted all the time, if that is wanted."""
    signal.signal(signal.SIGUSR1, ignore)
    if interval:
        storm(interval)


def do(number: int, seconds: float, kind: Kind = Kind.PLAIN) -> Any:
    """Run one task."""
    time.sleep(seconds)  # some are running, and some waiting, whenever a worker is killed
    if kind is Kind.RAISES:
        raise Planned(number)
    if kind is Kind.UNSENDABLE:
        raise Unsendable(number, f"task {number}")
    return nested() if kind is Kind.TOO_DEEP else expected(number)


def do_plain(number: int) -> tuple[int, bytes]:
    """One item of a map."""
    time.sleep((number % 10) / 2000)
    return expected(number)
