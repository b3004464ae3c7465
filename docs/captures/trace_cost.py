"""Measures what a trace costs: rounds with and without one in turn; prints medians.

Run it from the root of the repository: ``python docs/captures/trace_cost.py``.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import tines
from tines.pool import Pool

ROUNDS = 9
TASKS = 4000
CHUNKS, ITEMS = 200, 1000


def nothing(number: int) -> int:
    """Return what came."""
    return number


WAYS: dict[str, tuple[Callable[[Pool], object], int]] = {
    "`apply`, one after the other": (
        lambda pool: [pool.apply(nothing, (n,)) for n in range(TASKS // 4)],
        TASKS // 4,
    ),
    "`apply_async`, then `get`": (
        lambda pool: [r.get() for r in [pool.apply_async(nothing, (n,)) for n in range(TASKS)]],
        TASKS,
    ),
    "`map`, one item a message": (lambda pool: pool.map(nothing, range(TASKS), 1), TASKS),
    "`map`, a chunk of 1000 items": (
        lambda pool: pool.map(nothing, range(CHUNKS * ITEMS), ITEMS),
        CHUNKS,
    ),
}


def measure(path: Path | None) -> dict[str, float]:
    """Return microseconds a message, for each way."""
    found = {}
    with tines.trace(path) if path is not None else contextlib.nullcontext(), tines.Pool(1) as pool:
        pool.map(nothing, range(100))
        for name, (work, messages) in WAYS.items():
            began = time.perf_counter()
            work(pool)
            found[name] = (time.perf_counter() - began) / messages * 1e6
    return found


def main() -> None:
    """Measure, and print a table."""
    rounds: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(ROUNDS):
            rounds[False].append(measure(None))
            rounds[True].append(measure(Path(directory, "run.json")))
    print("| one worker, us a message | off | on | difference |\n|---|---:|---:|---:|")
    for name in WAYS:
        off, on = (statistics.median(each[name] for each in rounds[k]) for k in (False, True))
        print(f"| {name} | {off:.1f} | {on:.1f} | {on - off:.1f} |")


if __name__ == "__main__":
    main()
