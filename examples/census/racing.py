"""The same work on tines' Pool and on the standard library's, taking turns.

Turns, because a machine is not equally fast at all times: each round runs both, the other one first
every time, and what counts is the median of the rounds. What other programs take of the machine in
the meantime is measured too: beside much of it the times say nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil

import tines

from .measuring import measure, naming_style

__all__ = ["STDLIB", "TINES", "Race", "file_race", "name_race"]

TINES = "tines"
STDLIB = "multiprocessing"

# Cores that other programs may keep busy before times are no longer compared.
QUIET = 0.3

# Files are handed out a few at a time: the same for both.
FILES_PER_TASK = 4


@dataclass
class Race:
    """Times in seconds, by contender, one for each round."""

    subject: str
    tasks: int
    times: dict[str, list[float]] = field(default_factory=lambda: {STDLIB: [], TINES: []})
    other_load: float = 0.0
    """How many cores other programs kept busy meanwhile, on average."""

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

    @property
    def comparable(self) -> bool:
        """Whether the machine was quiet enough for the ratio to mean something."""
        return self.other_load < QUIET


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
    with _watching_others(race):
        for turn in range(rounds):
            order = list(contenders)
            for name in order if turn % 2 == 0 else reversed(order):
                race.times[name].append(run(contenders[name]))
    return race


@contextmanager
def _watching_others(race: Race) -> Iterator[None]:
    """Note in a race how busy other programs kept the machine."""
    started, others = time.perf_counter(), _cpu_of_others()
    yield
    race.other_load = (_cpu_of_others() - others) / (time.perf_counter() - started)


def _cpu_of_others() -> float:
    """Return the seconds of CPU that all but this program and its ended children have used."""
    machine = psutil.cpu_times()
    own = os.times()
    busy = machine.user + machine.system + getattr(machine, "nice", 0.0)
    return float(busy - sum(own[:4]))


@contextmanager
def _pool(pool_type: Callable[..., Any], workers: int) -> Iterator[Any]:
    """A pool that ends in good order, as a program that cares would have it."""
    with pool_type(workers) as pool:
        yield pool
        pool.close()
        pool.join()
