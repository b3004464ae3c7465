"""Helpers of the pool's tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from tines.pool import Pool

PATIENCE = 20.0
"""Seconds for something that must happen, on a machine that is busy with other things."""

MakePool = Callable[..., Pool]


def wait_for(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait until something holds that sends no event."""
    until = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.005)


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
