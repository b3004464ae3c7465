"""Tasks of very unequal duration under the default chunk size: how well the pool balances.

Tasks sleep and report how long they really took, so the ideal is known for each run and other load
on the machine matters little. Each round draws other durations; all peers of a round get the same.
"""

from __future__ import annotations

import random

from benchmarks.calibrate import clock
from benchmarks.model import Feature, Metric, Metrics, Params, Subject, Variant, expect
from benchmarks.peers.contract import Peer
from benchmarks.subjects import SAME_POOLS
from benchmarks.workloads import identity, nap

__all__ = ["SUBJECT", "durations"]

SHAPE = 1.1
LONGEST = 0.03
"""Of the sum of all; so that no single task decides the makespan."""


def durations(count: int, total: float, seed: int) -> list[float]:
    """Pareto distributed (a few long among many short), scaled to add up to about ``total``."""
    generator = random.Random(seed)
    drawn = [generator.paretovariate(SHAPE) for _ in range(count)]
    scale = total / sum(drawn)
    return [min(LONGEST * total, length * scale) for length in drawn]


def measure(peer: Peer, params: Params) -> Metrics:
    """Makespan over the ideal: all work divided evenly, or the longest task."""
    workers = params["workers"]
    tasks = durations(params["count"], params["total"], params["round"])
    if params["ascending"]:
        tasks.sort()
    with peer.pool(workers) as pool:
        pool.map(identity, range(workers * 4), 1)
        start = clock()
        taken = pool.map(nap, tasks, None)
        makespan = clock() - start
    expect(len(taken) == len(tasks), "results were lost")
    pairs = zip(taken, tasks, strict=True)
    expect(all(real >= asked * 0.99 for real, asked in pairs), "a task did not run")
    ideal = max(sum(taken) / workers, max(taken))
    return {"makespan": makespan / ideal, "ideal seconds": ideal}


def _variant(name: str, title: str, ascending: bool) -> Variant:
    return Variant(
        name=name,
        title=title,
        metrics=(Metric("makespan", "x ideal", "lower"),),
        needs=frozenset({Feature.POOL}),
        params={"ascending": ascending, "count": 400, "total": 4.0, "workers": 2},
        quick={"count": 200, "total": 1.0},
        leave_out=SAME_POOLS,
    )


SUBJECT = Subject(
    name="skew",
    title="Pool, unequal tasks",
    text=(
        "400 tasks with heavy-tailed durations, 2 workers, default chunk size: the makespan over "
        "the ideal; 1.00 is perfect balance."
    ),
    variants=(
        _variant("heavy tail", "in random order", False),
        _variant("long ones last", "the longest last", True),
    ),
    measure=measure,
)
