"""Kill a worker in the middle of a run, from outside, and see what becomes of the run.

The worker says on a queue when it begins the file that takes longest to measure; upon that it gets
SIGKILL, which no process can catch: what the kernel does when memory runs out.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass

import tines as mp

from .measuring import Measures, measure

__all__ = ["Outcome", "run_with_a_kill"]

# Ample for the announcement of a task that is under way; if it never comes, say so and stop.
PATIENCE = 60.0

_announcements: mp.Queue | None = None
_victim = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a run in which a worker was killed."""

    killed: int
    results: list[Measures]
    lost: dict[str, mp.WorkerLostError]


def run_with_a_kill(paths: Sequence[str], victim: str, workers: int, retries: int) -> Outcome:
    """Measure all files, and kill the worker that measures ``victim`` while it does so."""
    announcements = mp.Queue()
    with mp.Pool(workers, _prepare, (announcements, victim)) as pool:
        pending = {
            path: pool.apply_async(_measure_and_tell, (path,), retries=retries) for path in paths
        }
        pool.close()
        worker = announcements.get(timeout=PATIENCE)
        os.kill(worker, signal.SIGKILL)
        results, lost = [], {}
        for path, result in pending.items():
            try:
                results.append(result.get())
            except mp.WorkerLostError as error:
                lost[path] = error
        pool.join()
    announcements.close()
    return Outcome(worker, results, lost)


def _prepare(announcements: mp.Queue, victim: str) -> None:
    """Run once in each worker, before its first task."""
    global _announcements, _victim
    _announcements, _victim = announcements, victim


def _measure_and_tell(path: str) -> Measures:
    if path == _victim and _announcements is not None:
        _announcements.put(os.getpid())
    return measure(path)
