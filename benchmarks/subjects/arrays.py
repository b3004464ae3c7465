"""64 arrays of 8 MB as arguments of a pool's tasks, and as their results."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.calibrate import timed, until
from benchmarks.model import Feature, Metric, Metrics, Params, Subject, Variant, expect
from benchmarks.peers.contract import Peer, Pool
from benchmarks.subjects import SAME_CORE, SAME_POOLS
from benchmarks.workloads import ARRAY_LENGTH, STRIDE, add_up, identity, make_array

__all__ = ["SUBJECT"]

SIZE = 8 * ARRAY_LENGTH
SAMPLED = ARRAY_LENGTH // STRIDE


def _send(pool: Pool, count: int) -> float:
    """Each worker returns the size and a sum over every page of what it got."""
    arrays = [make_array(index) for index in range(count)]
    results: list[Any] = []
    seconds = timed(lambda: results.extend(pool.map(add_up, arrays, 1)))
    wanted = [(SIZE, float(index * SAMPLED)) for index in range(count)]
    expect(results == wanted, "a worker did not get the array that was sent")
    return seconds


def _receive(pool: Pool, count: int) -> float:
    """The parent keeps all arrays until the last has come, then looks at every page of each."""
    results: list[Any] = []
    seconds = timed(lambda: results.extend(pool.map(make_array, range(count), 1)))
    expect(len(results) == count, "results were lost")
    for index, array in enumerate(results):
        wanted = (SIZE, float(index * SAMPLED))
        expect(add_up(array) == wanted, "an array is not the one that the task returned")
    return seconds


def measure(peer: Peer, params: Params) -> Metrics:
    """GB/s: the median of repeated batches, and the first one, which finds no memory ready."""
    count = params["count"]
    transfer = _send if params["way"] == "arguments" else _receive
    with peer.pool(params["workers"]) as pool:
        pool.map(identity, range(params["workers"] * 4), 1)
        transfer(pool, 2)
        durations = until(params["seconds"], lambda: transfer(pool, count), least=3)
    gigabytes = count * SIZE / 1e9
    return {
        "rate": gigabytes / statistics.median(durations),
        "first": gigabytes / durations[0],
        "batches": len(durations),
    }


def _variant(way: str, title: str) -> Variant:
    return Variant(
        name=way,
        title=title,
        metrics=(Metric("rate", "GB/s", "higher"), Metric("first", "GB/s", "higher")),
        needs=frozenset({Feature.POOL}),
        params={"way": way, "count": 64, "workers": 2, "seconds": 1.0, "size": SIZE},
        quick={"count": 16, "seconds": 0.2},
        limits=("memcpy", "memcpy_fresh"),
        seconds=90,
        leave_out=SAME_POOLS + SAME_CORE,
    )


SUBJECT = Subject(
    name="arrays",
    title="Pool, arrays",
    text="64 NumPy arrays of 8 MB through `map(chunksize=1)` with 2 workers.",
    variants=(
        _variant("arguments", "as arguments"),
        _variant("results", "as results, the parent keeping all of them"),
    ),
    measure=measure,
)
