"""The same work on tines' Pool and on the standard library's, taking turns.

Turns, because a machine is not equally fast at all times: each round runs both, the other one first
every time, and what counts is the median of the rounds.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import tines

from .measuring import measure, naming_style

__all__ = ["STDLIB", "TINES", "Race", "file_race", "name_race"]

TINES = "tines"
STDLIB = "multiprocessing"

# Files are handed out a few at a time: the same for both.
FILES_PER_TASK = 4


@dataclass
class Race:
    """Times in seconds, by contender, one for each round."""

    subject: str
    tasks: int
    times: dict[str, list[float]] = field(default_factory=lambda: {STDLIB: [], TINES: []})

    def median(self, contender: str) -> float:
        """Return the contender's median time."""
        return statistics.median(self.times[contender])

    def spread(self, contender: str) -> tuple[float, float]:
        """Return the contender's best and worst time."""
        return min(self.times[contender]), max(self.times[contender])

    @property
    def ratio(self) -> float:
        """How many times faster tines was; below 1 it was slower."""
        return self.median(STDLIB) / self.median(TINES)


def file_race(paths: Sequence[str], workers: int, rounds: int) -> Race:
    """Measure all files; the pool's start counts."""

    def run(pool_type: Callable[..., Any]) -> float:
        started = time.perf_counter()
        with _pool(pool_type, workers) as pool:
            for _ in pool.imap_unordered(measure, paths, chunksize=FILES_PER_TASK):
                pass
            return time.perf_counter() - started

    return _race(Race("parse a file", len(paths)), run, rounds)


def name_race(names: Sequence[str], workers: int, rounds: int) -> Race:
    """Classify names, one message for each; on a pool that is already running."""

    def run(pool_type: Callable[..., Any]) -> float:
        with _pool(pool_type, workers) as pool:
            pool.map(naming_style, names[:100])
            started = time.perf_counter()
            for _ in pool.imap_unordered(naming_style, names, chunksize=1):
                pass
            return time.perf_counter() - started

    return _race(Race("classify a name", len(names)), run, rounds)


def _race(race: Race, run: Callable[[Callable[..., Any]], float], rounds: int) -> Race:
    contenders: Mapping[str, Callable[..., Any]] = {
        STDLIB: multiprocessing.Pool,
        TINES: tines.Pool,
    }
    for turn in range(rounds):
        order = list(contenders)
        for name in order if turn % 2 == 0 else reversed(order):
            race.times[name].append(run(contenders[name]))
    return race


@contextmanager
def _pool(pool_type: Callable[..., Any], workers: int) -> Iterator[Any]:
    """A pool that ends in good order, as a program that cares would have it."""
    with pool_type(workers) as pool:
        yield pool
        pool.close()
        pool.join()
