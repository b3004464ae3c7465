"""The data that people send: many small arrays, a list of objects, one large array to many tasks, tables.

The rate is that of echoing, or of the tasks. What it costs beside time is measured in a pass of its own, as
looking takes time: by how much the memory that parent and workers hold together grows at most (counted once,
as in ``memory``), and the most descriptors that any of them has open.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import threading
from collections.abc import Callable
from typing import Any

from benchmarks.calibrate import timed, until
from benchmarks.model import Feature, Metric, Metrics, Params, Subject, Unsupported, Variant, expect
from benchmarks.peers.contract import Peer, Pool
from benchmarks.subjects import SAME_CORE, SAME_POOLS
from benchmarks.subjects.memory import held
from benchmarks.workloads import Record, add_up, identity, own_pid

__all__ = ["SUBJECT", "cost"]

LOOK_EVERY = 0.02


def _small(count: int) -> Any:
    import numpy

    return [numpy.full(15_000, index % 251, "u1") for index in range(count)]


def _small_is(received: Any, sent: Any) -> bool:
    return len(received) == len(sent) and all(
        array.nbytes == 15_000 and array[0] == array[-1] == index % 251
        for index, array in enumerate(received)
    )


def _objects(count: int) -> Any:
    return [Record(index, f"name {index}", index / 7) for index in range(count)]


def _frame(count: int) -> Any:
    try:
        import polars
    except ImportError:
        raise Unsupported("polars is not installed") from None
    return polars.DataFrame({f"column {n}": range(n, n + count) for n in range(4)})


def _frame_is(received: Any, sent: Any) -> bool:
    return bool(received.equals(sent))


def _strings(count: int) -> Any:
    try:
        import pandas
    except ImportError:
        raise Unsupported("pandas is not installed") from None
    return pandas.DataFrame(
        {"text": pandas.Series([f"row {n}" for n in range(count)], dtype=object)}
    )


def _equal(received: Any, sent: Any) -> bool:
    return bool(received == sent)


_MADE: dict[str, tuple[Callable[[int], Any], Callable[[Any, Any], bool]]] = {
    "small_arrays": (_small, _small_is),
    "objects": (_objects, _equal),
    "frame": (_frame, _frame_is),
    "object_column": (_strings, _frame_is),
}


def _echo(pool: Pool, item: Any, is_same: Callable[[Any, Any], bool]) -> float:
    results: list[Any] = []
    seconds = timed(lambda: results.extend(pool.map(identity, [item], 1)))
    expect(len(results) == 1 and is_same(results[0], item), "what came back is not what was sent")
    return seconds


def _to_many(pool: Pool, array: Any, tasks: int) -> float:
    results: list[Any] = []
    seconds = timed(lambda: results.extend(pool.map(add_up, [array] * tasks, 1)))
    expect(results == [add_up(array)] * tasks, "a task did not get the array")
    return seconds


def _repeated(size: int, tasks: int) -> Callable[[Pool], float]:
    import numpy

    array = numpy.full(size // 8, 3.0)
    return lambda pool: _to_many(pool, array, tasks)


def _echoing(what: str, count: int) -> Callable[[Pool], float]:
    make, is_same = _MADE[what]
    item = make(count)
    return lambda pool: _echo(pool, item, is_same)


def measure(peer: Peer, params: Params) -> Metrics:
    """Messages or tasks in a second; then what they take, in a pass of its own."""
    what, count = params["what"], params["count"]
    if what == "repeated":
        run, each = _repeated(params["size"], count), count
    else:
        run, each = _echoing(what, count), 1
    with peer.pool(params["workers"]) as pool:
        pids = {os.getpid(), *pool.map(own_pid, range(params["workers"] * 4), 1)}
        run(pool)
        durations = until(params["seconds"], lambda: run(pool), least=3)
        spent = cost(sorted(pids), lambda: run(pool)) if sys.platform == "linux" else {}
    return {"rate": each / statistics.median(durations), "batches": len(durations), **spent}


def cost(pids: list[int], action: Callable[[], object]) -> Metrics:
    """Look, while an action is under way, at what these processes have."""
    before = held(pids)
    most = descriptors = 0.0
    over = threading.Event()

    def look() -> None:
        nonlocal most, descriptors
        while True:
            with contextlib.suppress(OSError):  # a worker has ended
                most = max(most, held(pids))
                descriptors = max(
                    descriptors, *(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)
                )
            if over.wait(LOOK_EVERY):
                return

    thread = threading.Thread(target=look)
    thread.start()
    try:
        action()
    finally:
        over.set()
        thread.join()
    return {"memory": max(0.0, most - before), "descriptors": descriptors}


def _variant(what: str, title: str, count: int, quick: int, **params: Any) -> Variant:
    return Variant(
        name=what,
        title=title,
        metrics=(
            Metric("rate", "1/s", "higher"),
            Metric("memory", "MB", "lower"),
            Metric("descriptors", "open", "lower"),
        ),
        needs=frozenset({Feature.POOL}),
        params={"what": what, "count": count, "workers": 2, "seconds": 1.0, **params},
        quick={"count": quick, "seconds": 0.2},
        seconds=120,
        leave_out=SAME_POOLS + SAME_CORE,
    )


SUBJECT = Subject(
    name="data",
    title="Pool, other data",
    text="What is no single array, there and back through `map(chunksize=1)` with 2 workers; "
    "and one array of 32 MB as the argument of 60 tasks.",
    variants=(
        _variant("small_arrays", "1,000 arrays of 15 KB", 1000, 100),
        _variant("objects", "a list of 1,000 dataclasses", 1000, 100),
        _variant("frame", "a polars frame of 4 x 1,000,000 numbers", 1_000_000, 100_000),
        _variant("object_column", "a pandas column of 100,000 objects", 100_000, 10_000),
        _variant("repeated", "one array to 60 tasks", 60, 6, size=32 << 20),
    ),
    measure=measure,
)
