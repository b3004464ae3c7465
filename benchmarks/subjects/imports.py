"""What ``import`` costs in a fresh interpreter, beyond the interpreter itself."""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.calibrate import timed
from benchmarks.model import Feature, Metric, Metrics, Params, Subject, Variant
from benchmarks.peers.contract import Peer

__all__ = ["SUBJECT"]

WARM_UP = 2


def _run(code: str) -> float:
    command = [sys.executable, "-c", code]
    return timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))


def measure(peer: Peer, params: Params) -> Metrics:
    """Milliseconds: medians of alternating starts with and without the import, subtracted."""
    with_it, without = [], []
    for turn in range(params["times"] + WARM_UP):
        bare, full = _run("pass"), _run(f"import {peer.module}")
        if turn >= WARM_UP:
            without.append(bare)
            with_it.append(full)
    bare_ms, full_ms = statistics.median(without) * 1e3, statistics.median(with_it) * 1e3
    return {"import": full_ms - bare_ms, "interpreter": bare_ms}


SUBJECT = Subject(
    name="imports",
    title="Import",
    text="`import` of the module in a fresh interpreter, less the time of the interpreter itself.",
    variants=(
        Variant(
            name="import",
            title="time beyond a bare interpreter",
            metrics=(Metric("import", "ms", "lower"),),
            needs=frozenset({Feature.IMPORT}),
            params={"times": 20, "seconds": 1.0},
            quick={"times": 5, "seconds": 0.2},
            limits=("interpreter",),
        ),
    ),
    measure=measure,
)
