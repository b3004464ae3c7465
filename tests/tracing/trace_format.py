"""A strict reading of Google's document "Trace Event Format", for what tines writes.

The document asks for less in places (events may come in any order, unknown phases are skipped);
here everything must be as a careful writer would have it.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

__all__ = ["check", "load_checked"]

# Fields of every event of a phase, beside ph, ts, pid and tid; and those it may have.
REQUIRED = {
    "X": {"name", "cat", "dur", "args"},
    "M": {"name", "args"},
    "C": {"name", "args"},
    "i": {"name", "cat", "s"},
    "b": {"name", "cat", "id"},
    "e": {"name", "cat", "id"},
    "s": {"name", "cat", "id"},
    "t": {"name", "cat", "id"},
    "f": {"name", "cat", "id", "bp"},
}
OPTIONAL = {"args", "cat"}
METADATA = {
    "process_name": ("name", str),
    "thread_name": ("name", str),
    "process_sort_index": ("sort_index", int),
}
TOLERANCE = 0.0015
"""Microseconds: times are rounded to a thousandth each."""


def load_checked(path: Path) -> dict[str, Any]:
    """Read a trace and check it."""
    content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    check(content)
    return content


def check(content: dict[str, Any]) -> None:
    """Fail with an ``AssertionError`` unless it is a well-formed trace."""
    assert set(content) == {"traceEvents", "displayTimeUnit", "otherData"}
    assert content["displayTimeUnit"] in ("ms", "ns")
    events = content["traceEvents"]
    for event in events:
        _check_fields(event)
    timed = [event for event in events if event["ph"] != "M"]
    assert [event["ts"] for event in timed] == sorted(event["ts"] for event in timed)
    _check_names(events, timed)
    _check_nesting(timed)
    _check_pairs(timed)
    _check_flows(timed)


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def _check_fields(event: dict[str, Any]) -> None:
    phase = event["ph"]
    assert phase in REQUIRED, event
    common = {"ph", "ts", "pid", "tid"}
    assert common | REQUIRED[phase] <= set(event) <= common | REQUIRED[phase] | OPTIONAL, event
    assert isinstance(event["pid"], int) and isinstance(event["tid"], int), event
    for field in {"ts", "dur"} & set(event):
        assert isinstance(event[field], (int, float)) and math.isfinite(event[field]), event
        assert event[field] >= 0, event
    for field in {"name", "cat", "id"} & set(event):
        assert isinstance(event[field], str) and event[field], event
    assert isinstance(event.get("args", {}), dict)
    if phase == "i":
        assert event["s"] in ("g", "p", "t"), event
    elif phase == "f":
        assert event["bp"] == "e", event
    elif phase == "C":
        assert event["args"] and all(type(value) is int for value in event["args"].values()), event
        assert all(value >= 0 for value in event["args"].values()), event
    elif phase == "M":
        field, kind = METADATA[event["name"]]
        assert isinstance(event["args"][field], kind), event


def _check_names(events: list[dict[str, Any]], timed: list[dict[str, Any]]) -> None:
    """Every process and thread is named, once."""
    named = [(e["name"], e["pid"], e["tid"]) for e in events if e["ph"] == "M"]
    assert len(named) == len(set(named))
    processes = {pid for name, pid, _ in named if name == "process_name"}
    threads = {(pid, tid) for name, pid, tid in named if name == "thread_name"}
    for event in timed:
        assert event["pid"] in processes, event
        assert (event["pid"], event["tid"]) in threads, event


def _slices(timed: list[dict[str, Any]]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    tracks = defaultdict(list)
    for event in timed:
        if event["ph"] == "X":
            tracks[event["pid"], event["tid"]].append(event)
    return tracks


def _check_nesting(timed: list[dict[str, Any]]) -> None:
    """Slices of one track lie within each other or apart."""
    for slices in _slices(timed).values():
        open_until: list[float] = []
        for event in slices:
            begin, end = event["ts"], event["ts"] + event["dur"]
            while open_until and open_until[-1] <= begin + TOLERANCE:
                open_until.pop()
            assert not open_until or end <= open_until[-1] + TOLERANCE, event
            open_until.append(end)


def _check_pairs(timed: list[dict[str, Any]]) -> None:
    """Each begin of something asynchronous has its end, after it."""
    open_ids = set()
    for event in timed:
        key = event.get("cat"), event.get("id"), event["name"]
        if event["ph"] == "b":
            assert key not in open_ids, event
            open_ids.add(key)
        elif event["ph"] == "e":
            assert key in open_ids, event
            open_ids.remove(key)
    assert not open_ids


def _check_flows(timed: list[dict[str, Any]]) -> None:
    """Each flow begins once, goes on, may end once; each step lies within a slice of its track."""
    tracks = _slices(timed)
    phases = defaultdict(list)
    for event in timed:
        if event["ph"] in "stf":
            phases[event["cat"], event["id"]].append(event["ph"])
            assert any(
                each["ts"] - TOLERANCE <= event["ts"] <= each["ts"] + each["dur"] + TOLERANCE
                for each in tracks[event["pid"], event["tid"]]
            ), event
    for flow, found in phases.items():
        assert found[0] == "s" and len(found) > 1, (flow, found)
        assert found.count("s") == 1 and found.count("f") <= 1, (flow, found)
        assert "f" not in found[:-1], (flow, found)
