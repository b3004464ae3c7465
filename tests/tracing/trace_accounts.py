"""That a trace accounts for the time of its workers: none of it twice, none of a task left out.

Nothing here depends on how fast the machine is. Between two tasks a worker may be kept waiting for a
core, which is in no slice, so only these gaps are left out: the slices of one task follow each other
without any.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tines.tracing import analysis
from trace_format import TOLERANCE
from trace_tools import events

__all__ = ["check_accounts"]


def check_accounts(content: dict[str, Any]) -> None:
    """Fail unless what workers did with their time adds up, in the slices and in the report."""
    for worker in analysis.analyse(content).workers:
        parts = worker.busy + worker.pickling + worker.waiting
        assert parts <= worker.ready + 1e-6, worker
    for process in content["otherData"]["processes"]:
        if process["role"] == "worker":
            _check_worker(content, process)


def _check_worker(content: dict[str, Any], process: dict[str, Any]) -> None:
    deserialised, run, serialised, parts = (
        [event for event in events(content, category) if event["pid"] == process["pid"]]
        for category in ("deserialise", "run", "serialise", "part")
    )
    waits = {
        round(_end(event), 2): event
        for event in events(content, "wait")
        if event["pid"] == process["pid"] and not event["args"].get("last")
    }
    begun = {event["args"]["task"]: event for event in run}
    done = {event["args"]["task"]: event for event in serialised}
    sums = dict.fromkeys(("wait", "deserialise", "run", "serialise"), 0.0)
    for event in deserialised:
        task = event["args"]["task"]
        steps = [_wait_before(event, waits), event]
        if task in begun:
            steps.append(begun.pop(task))
        if task in done:
            steps.append(done.pop(task))
            for step in steps:
                sums[step["cat"]] += step["dur"]
        for one, following in itertools.pairwise(steps):
            assert _end(one) == pytest.approx(following["ts"], abs=TOLERANCE), (one, following)
    assert not begun and not done
    sums["run"] -= sum(event["dur"] for event in parts)
    for name, shown in sums.items():
        rounding = TOLERANCE * (len(deserialised) + len(parts))
        assert shown == pytest.approx(process["kept"][name] / 1000, abs=rounding), name


def _wait_before(event: dict[str, Any], waits: dict[float, dict[str, Any]]) -> dict[str, Any]:
    for end in (event["ts"], event["ts"] - TOLERANCE, event["ts"] + TOLERANCE):
        found = waits.get(round(end, 2))
        if found is not None:
            return found
    raise AssertionError(f"no wait ends where {event} begins")


def _end(event: dict[str, Any]) -> float:
    return float(event["ts"] + event["dur"])
