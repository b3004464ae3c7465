"""How long it takes to start a process, and a pool."""

from __future__ import annotations

import statistics

from benchmarks.calibrate import clock, timed, until
from benchmarks.model import Feature, Metric, Metrics, Params, Subject, Variant, expect
from benchmarks.peers.contract import Peer
from benchmarks.workloads import identity, nothing

__all__ = ["SUBJECT"]

GB = 2**30


def _process(peer: Peer) -> float:
    def once() -> None:
        process = peer.process(nothing)
        process.start()
        process.join()
        expect(process.exitcode == 0, f"the process ended with {process.exitcode}")

    return timed(once)


def _pool(peer: Peer) -> float:
    """From nothing to the first result; ending the pool is not counted."""
    start = clock()
    with peer.pool(2) as pool:
        result = pool.apply(identity, 7)
        duration = clock() - start
    expect(result == 7, "the first result is wrong")
    return duration


def measure(peer: Peer, params: Params) -> Metrics:
    """Median milliseconds, and those of the first time, which may start a server."""
    kept = bytearray(b"\1") * params["parent_bytes"]
    once = _process if params["what"] == "process" else _pool
    first = once(peer)
    durations = until(params["seconds"], lambda: once(peer), least=3)
    expect(len(kept) == params["parent_bytes"], "unreachable: keeps the parent's memory alive")
    return {
        "median": statistics.median(durations) * 1e3,
        "first": first * 1e3,
        "starts": len(durations),
    }


TIMES = (Metric("median", "ms", "lower"), Metric("first", "ms", "lower"))


def _variant(
    name: str, title: str, what: str, parent_bytes: int, quick: bool, *leave_out: str
) -> Variant:
    return Variant(
        name=name,
        title=title,
        metrics=TIMES,
        needs=frozenset({Feature.PROCESS if what == "process" else Feature.POOL}),
        params={"what": what, "parent_bytes": parent_bytes, "seconds": 1.0},
        quick={"seconds": 0.2} if quick else None,
        limits=("fork", "interpreter") if what == "process" else (),
        seconds=120,
        leave_out=leave_out,
    )


SUBJECT = Subject(
    name="startup",
    title="Start-up",
    text="`Process` start and join with a target that does nothing; `Pool(2)` to its first result.",
    variants=(
        _variant("process", "`Process`, from a small parent", "process", 0, True),
        _variant(
            "process 2 GB",
            "`Process`, from a parent with 2 GB",
            "process",
            2 * GB,
            False,
            # They fork as the standard library does.
            *("tines_pipe", "billiard", "multiprocess", "torch"),
        ),
        _variant("pool", "`Pool(2)` to the first result", "pool", 0, True),
    ),
    measure=measure,
)
