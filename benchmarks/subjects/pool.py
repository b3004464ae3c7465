"""Tasks that do nothing: what a pool itself costs.

The task returns its argument, so that every result can be checked. Worker start-up is not counted
here (see ``startup``).
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.calibrate import clock, median_us, repeats, timed, until
from benchmarks.model import Feature, Metric, Metrics, Params, Subject, Variant, expect
from benchmarks.numbers import percentile
from benchmarks.peers.contract import Peer, Pool
from benchmarks.subjects import SAME_POOLS
from benchmarks.workloads import identity

__all__ = ["SUBJECT"]

TRIAL = 1000


def _check(results: list[Any], count: int, ordered: bool) -> None:
    if not ordered:
        results = sorted(results)
    expect(len(results) == count, f"{count} tasks were given and {len(results)} results came")
    expect(results == list(range(count)), "the results are not those of the tasks")


def _apply(pool: Pool, params: Params) -> Metrics:
    def one() -> float:
        start = clock()
        result = pool.apply(identity, 7)
        duration = clock() - start
        expect(result == 7, "the result is not that of the task")
        return duration

    until(params["seconds"] / 10, one, least=5)
    durations = until(params["seconds"], one, least=10)
    return {
        "median": median_us(durations),
        "p99": percentile(durations, 0.99) * 1e6,
        "tasks": len(durations),
    }


def _submitted(pool: Pool, count: int) -> list[Any]:
    handles = [pool.submit(identity, item) for item in range(count)]
    return [pool.result(handle) for handle in handles]


def _mapped_singly(pool: Pool, count: int) -> list[Any]:
    return pool.map(identity, range(count), 1)


def _mapped(pool: Pool, count: int) -> list[Any]:
    return pool.map(identity, range(count), None)


def _unordered(pool: Pool, count: int) -> list[Any]:
    return list(pool.imap_unordered(identity, range(count)))


WAYS = {
    "apply_async": _submitted,
    "map1": _mapped_singly,
    "map": _mapped,
    "imap_unordered": _unordered,
}


def _throughput(pool: Pool, params: Params) -> Metrics:
    way, ordered = WAYS[params["way"]], params["way"] != "imap_unordered"

    def batch(count: int) -> float:
        results: list[Any] = []

        def run() -> None:
            results[:] = way(pool, count)

        seconds = timed(run)
        _check(results, count, ordered)
        return seconds

    batch(TRIAL)
    trial = batch(TRIAL)
    count = repeats(TRIAL, trial, params["longest"], least=TRIAL, most=params["tasks"])
    durations = until(params["seconds"], lambda: batch(count))
    return {"rate": count / statistics.median(durations), "tasks": count}


def measure(peer: Peer, params: Params) -> Metrics:
    """Microseconds of one ``apply``, or tasks per second; the median of repeated batches.

    A peer that would need ``longest`` seconds for all tasks is given fewer of them.
    """
    with peer.pool(params["workers"]) as pool:
        return _apply(pool, params) if params["way"] == "apply" else _throughput(pool, params)


RATE = (Metric("rate", "tasks/s", "higher"),)
CALL = (Metric("median", "us", "lower"), Metric("p99", "us", "lower"))


def _variant(way: str, title: str, tasks: int, workers: int, limit: str) -> Variant:
    return Variant(
        name=f"{way} {workers}",
        title=f"{title}, {workers} workers",
        metrics=CALL if way == "apply" else RATE,
        needs=frozenset({Feature.POOL}),
        params={"way": way, "tasks": tasks, "workers": workers, "seconds": 0.8, "longest": 3.0},
        quick={"seconds": 0.2, "longest": 0.5} if workers == 2 else None,
        limits=(limit,),
        seconds=90,
        leave_out=SAME_POOLS if workers == 2 else ("*",),
    )


SUBJECT = Subject(
    name="pool",
    title="Pool, tasks that do nothing",
    text=(
        "Each task returns its argument. Start-up of the workers is not counted. A library that "
        "would need more than three seconds is given fewer tasks."
    ),
    variants=tuple(
        variant
        for workers in (2, 8)
        for variant in (
            _variant("apply", "`apply`, one after the other", 0, workers, "pipe"),
            _variant("apply_async", "20,000 `apply_async`, then `get`", 20_000, workers, "loop"),
            _variant("map1", "`map(chunksize=1)` of 100,000", 100_000, workers, "loop"),
            _variant("imap_unordered", "`imap_unordered` of 100,000", 100_000, workers, "loop"),
            _variant("map", "`map` of 1,000,000, default chunks", 1_000_000, workers, "loop"),
        )
    ),
    measure=measure,
)
