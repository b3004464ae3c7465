"""How much work makes one sample: all should last about as long, and peers differ a hundredfold."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

__all__ = ["clock", "median_us", "repeats", "timed", "until"]

clock = time.perf_counter
"""Monotonic, and on Linux the same in all processes, so that workers' readings can be compared."""


def repeats(trial: int, seconds: float, target: float, *, least: int, most: int) -> int:
    """How many repetitions last ``target`` seconds when ``trial`` of them took ``seconds``."""
    return max(least, min(most, int(trial / max(seconds, 1e-9) * target)))


def timed(action: Callable[[], object]) -> float:
    """Return how many seconds ``action()`` takes."""
    start = clock()
    action()
    return clock() - start


def until(seconds: float, sample: Callable[[], float], least: int = 1) -> list[float]:
    """Call ``sample()`` until the durations that it returns add up to ``seconds``."""
    taken: list[float] = []
    total = 0.0
    while total < seconds or len(taken) < least:
        duration = sample()
        taken.append(duration)
        total += duration
    return taken


def median_us(durations: list[float]) -> float:
    """Median in microseconds."""
    return statistics.median(durations) * 1e6
