"""Helpers of the pool's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import psutil

from tines.pool import Pool

MakePool = Callable[..., Pool]


def outcomes(iterator: Iterable[Any]) -> list[Any]:
    """Exhaust an iterator that may raise at each step; exceptions stand in for their items."""
    steps = iter(iterator)
    found: list[Any] = []
    while True:
        try:
            found.append(next(steps))
        except StopIteration:
            return found
        except Exception as error:
            found.append(error)


def lives(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be reaped, which init may take its time for."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
