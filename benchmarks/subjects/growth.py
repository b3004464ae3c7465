"""How costs grow: the same step, beside ten, a thousand or ten thousand of its kind.

Each variant is a curve, and each of its metrics a point of it, named by how many there are. A peer that
gives up earlier (no descriptor is left, say) has the points up to there.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.calibrate import clock, timed, until
from benchmarks.model import Feature, Metric, Metrics, Params, Subject, Unsupported, Variant, expect
from benchmarks.peers.contract import Peer
from benchmarks.subjects import SAME_CORE, SAME_POOLS
from benchmarks.workloads import identity, nap, nothing

__all__ = ["SUBJECT"]

STEPS = 200
"""How many steps make a point where each is short."""

Points = Iterator[tuple[int, float]]


def _maps(peer: Peer, params: Params) -> Points:
    """Microseconds of one ``map`` of so many items."""
    with peer.pool(2) as pool:
        for size in params["sizes"]:
            items = range(size)

            def once(items: range = items) -> float:
                results: list[Any] = []
                seconds = timed(lambda: results.extend(pool.map(identity, items, None)))
                expect(results == list(items), "the results are not those of the items")
                return seconds

            once()
            yield size, statistics.median(until(params["seconds"], once, least=5)) * 1e6


def _kept(peer: Peer, params: Params) -> Points:
    """Microseconds to receive one array, with so many kept."""
    import numpy

    queue, array = peer.queue(), numpy.ones(1024)
    kept: list[Any] = []
    for size in params["sizes"]:
        while len(kept) < size:
            queue.put(array)
            kept.append(queue.get())
        start = clock()
        for _ in range(STEPS):
            queue.put(array)
            kept.append(queue.get())
        yield size, (clock() - start) / STEPS * 1e6
        expect(float(kept[-1].sum()) == 1024, "an array is torn")


def _cancelled(peer: Peer, params: Params) -> Points:
    """Microseconds to cancel one map, with so many pending."""
    context = getattr(peer, "context", None)
    if context is None:
        raise Unsupported("it cannot cancel a map")
    with context.Pool(2) as pool:
        maps: list[Any] = []
        for size in params["sizes"]:
            while len(maps) < size:
                maps.append(pool.map_async(nap, [1000.0] * 3))
            if not hasattr(maps[0], "cancel"):
                raise Unsupported("it cannot cancel a map")
            taken = [timed(maps.pop(len(maps) // 2).cancel) for _ in range(min(size // 2, STEPS))]
            yield size, statistics.median(taken) * 1e6


def _memory() -> int:
    """KB of this process, shared memory included."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise Unsupported("there is no /proc/self/smaps_rollup")


def _queues(peer: Peer, size: int) -> list[Any]:
    return [peer.queue() for _ in range(size)]


def _made(peer: Peer, params: Params) -> Points:
    """Microseconds to make each of so many queues."""
    for size in params["sizes"]:
        start = clock()
        queues = _queues(peer, size)
        yield size, (clock() - start) / len(queues) * 1e6


def _dropped(peer: Peer, params: Params) -> Points:
    """Microseconds to let go of each of so many queues."""
    for size in params["sizes"]:
        queues = _queues(peer, size)
        gc.collect()
        yield size, timed(queues.clear) / size * 1e6


def _held(peer: Peer, params: Params) -> Points:
    """KB of each of so many queues that nothing was put into."""
    for size in params["sizes"]:
        before = _memory()
        queues = _queues(peer, size)
        yield size, (_memory() - before) / len(queues)


def _started(peer: Peer, params: Params) -> Points:
    """Milliseconds to start and join a process, with so many queues in its parent."""

    def once() -> float:
        process = peer.process(nothing)
        seconds = timed(lambda: (process.start(), process.join()))
        expect(process.exitcode == 0, f"the process ended with {process.exitcode}")
        return seconds

    once()
    queues: list[Any] = []
    for size in params["sizes"]:
        queues += _queues(peer, size - len(queues))
        yield size, statistics.median(until(params["seconds"], once, least=3)) * 1e3


CURVES = {
    "map": _maps,
    "kept": _kept,
    "cancelled": _cancelled,
    "made": _made,
    "dropped": _dropped,
    "held": _held,
    "started": _started,
}


def measure(peer: Peer, params: Params) -> Metrics:
    """One curve, by the number of things; what it stands for is with each of them above."""
    points: Metrics = {}
    with contextlib.suppress(OSError):  # descriptors, semaphores: this is as far as it gets
        for size, value in CURVES[params["what"]](peer, params):
            points[str(size)] = value
    if not points:
        raise Unsupported("it gets to no point of the curve")
    return points


def _variant(
    what: str, title: str, unit: str, sizes: list[int], quick: int, *needs: Feature
) -> Variant:
    return Variant(
        name=what,
        title=f"{title}, from {sizes[0]:,} to {sizes[-1]:,}",
        metrics=tuple(Metric(str(size), unit, "lower") for size in sizes),
        needs=frozenset(needs),
        params={"what": what, "sizes": sizes, "seconds": 0.3},
        quick={"sizes": sizes[:quick], "seconds": 0.05},
        seconds=120,
        leave_out=SAME_POOLS + SAME_CORE,
    )


QUEUE, POOL, PROCESS = Feature.QUEUE, Feature.POOL, Feature.PROCESS

SUBJECT = Subject(
    name="growth",
    title="Growth",
    text=(
        "What one step costs beside many of its kind: a curve that is level, or below the others. A "
        "curve that ends early is of a library that cannot have more. The ratio is that of the first point."
    ),
    variants=(
        _variant(
            "map",
            "`map` of so many items that take nothing",
            "us",
            [10, 100, 1_000, 10_000],
            4,
            POOL,
        ),
        _variant(
            "kept",
            "to receive an array of 8 KB, with so many kept",
            "us",
            [10, 1_000, 10_000, 50_000],
            2,
            QUEUE,
        ),
        _variant(
            "cancelled",
            "to cancel a map, with so many pending",
            "us",
            [10, 100, 1_000, 10_000],
            3,
            POOL,
        ),
        _variant(
            "made", "to make each of so many queues", "us", [10, 100, 1_000, 10_000], 3, QUEUE
        ),
        _variant(
            "dropped",
            "to let go of each of so many queues",
            "us",
            [10, 100, 1_000, 10_000],
            3,
            QUEUE,
        ),
        _variant("held", "each of so many empty queues", "KB", [10, 100, 1_000, 10_000], 3, QUEUE),
        _variant(
            "started",
            "to start and join a process, with so many queues",
            "ms",
            [10, 100, 1_000, 10_000],
            3,
            QUEUE,
            PROCESS,
        ),
    ),
    measure=measure,
)
