"""What the charts of a trace show, in as few numbers as a screen can tell apart.

A trace may have a million events. Whatever is drawn against time is put into ``BINS`` parts of it, and runs
that lie closer together than one such part are drawn as one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tines.tracing.events import Event

__all__ = ["Block", "Lane", "Mark", "Series", "collect"]

BINS = 400
MICRO = 1e-6
DECADE_PARTS = 3
"""How many bars of the histogram go to a factor of ten."""


@dataclass
class Block:
    """Some runs of one kind, one after the other, without a gap that could be seen. Seconds."""

    begin: float
    end: float
    outcome: str
    label: str
    count: int = 1


@dataclass(frozen=True)
class Mark:
    """Something that happened at one time."""

    at: float
    kind: str
    label: str


@dataclass
class Lane:
    """One worker's line of the timeline."""

    name: str
    begin: float
    end: float
    blocks: list[Block] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)


@dataclass
class Series:
    """Everything that is drawn. Times are seconds from the beginning of the trace.

    Attributes:
        seconds: How long the trace is.
        lanes: The workers, in the order in which they began.
        retries: When tasks were sent once more.
        busy: How many workers were running tasks, on average, in each part of the time.
        queues: By pool, how many tasks waited at most in each part of the time.
        memory: By process, when it had how many bytes.
        histogram: The lower and upper end of each bar, and how many tasks took that long.
        live: Its end is now, so times are said from there: it moves.
    """

    seconds: float
    lanes: list[Lane] = field(default_factory=list)
    retries: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    queues: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    histogram: list[tuple[float, float, int]] = field(default_factory=list)
    live: bool = False


def collect(content: Event) -> Series:
    """Take from a trace what is drawn."""
    other = content["otherData"]
    seconds = max(other["duration_us"] * MICRO, 1e-6)
    names = {each["pid"]: each["name"] for each in other["processes"]}
    lanes = {
        each["pid"]: Lane(
            f"{each['name']} ({each['pid']})", each["began_us"] * MICRO, each["ended_us"] * MICRO
        )
        for each in other["processes"]
        if each["role"] == "worker"
    }
    by_category: dict[str, list[Event]] = defaultdict(list)
    for event in content["traceEvents"]:
        by_category[event.get("cat", "")].append(event)
    for event in by_category["run"]:
        if event["pid"] in lanes:
            _add_run(lanes[event["pid"]], event, seconds / BINS)
    for event in (*by_category["death"], *by_category["order"]):
        _add_mark(lanes, event)
    return Series(
        seconds=seconds,
        lanes=sorted(lanes.values(), key=lambda lane: lane.begin),
        retries=[event["ts"] * MICRO for event in by_category["retry"]],
        busy=_busy(by_category["run"], seconds),
        queues=_queues(by_category["queue"], seconds),
        memory=_memory(by_category["memory"], names),
        histogram=_histogram(event["dur"] * MICRO for event in by_category["run"]),
    )


def _add_run(lane: Lane, event: Event, gap: float) -> None:
    begin = event["ts"] * MICRO
    end = begin + event["dur"] * MICRO
    outcome = event["args"]["outcome"]
    last = lane.blocks[-1] if lane.blocks else None
    short = end - begin < gap
    if (
        last is not None
        and last.outcome == outcome
        and begin - last.end < gap
        and (short or last.end - last.begin < gap)
    ):
        last.end = max(last.end, end)
        last.count += 1
    else:
        call = event["args"].get("call") or event["name"]
        lane.blocks.append(Block(begin, end, outcome, call))


def _add_mark(lanes: dict[int, Lane], event: Event) -> None:
    if event["pid"] in lanes:
        kind = event["cat"] if event["cat"] != "order" else event["name"]
        label = event["args"].get("how", kind)
        lanes[event["pid"]].marks.append(Mark(event["ts"] * MICRO, kind, label))


def _busy(runs: Iterable[Event], seconds: float) -> list[float]:
    width = seconds / BINS
    busy = [0.0] * BINS
    for event in runs:
        begin = event["ts"] * MICRO
        end = begin + event["dur"] * MICRO
        first = min(int(begin / width), BINS - 1)
        last = min(int(end / width), BINS - 1)
        for index in range(first, last + 1):
            inside = min(end, (index + 1) * width) - max(begin, index * width)
            busy[index] += max(0.0, inside) / width
    return busy


def _queues(events: Iterable[Event], seconds: float) -> dict[str, list[float]]:
    """Return the largest depth in each part of the time; a depth lasts until the next is known."""
    width = seconds / BINS
    queues: dict[str, list[float]] = {}
    depths: dict[str, tuple[int, float]] = {}
    for event in events:
        name = event["name"].removeprefix("queued, ")
        bins = queues.setdefault(name, [0.0] * BINS)
        index = min(int(event["ts"] * MICRO / width), BINS - 1)
        before, depth = depths.get(name, (0, 0.0))
        for between in range(before + 1, index + 1):
            bins[between] = depth
        depth = float(event["args"]["tasks"])
        bins[index] = max(bins[index], depth)
        depths[name] = index, depth
    for name, (before, depth) in depths.items():
        for between in range(before + 1, BINS):
            queues[name][between] = depth
    return queues


def _memory(events: Iterable[Event], names: dict[int, str]) -> dict[str, list[tuple[float, float]]]:
    memory: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for event in events:
        pid = event["pid"]
        memory[f"{names.get(pid, 'process')} ({pid})"].append(
            (event["ts"] * MICRO, float(event["args"]["bytes"]))
        )
    return dict(memory)


def _histogram(durations: Iterable[float]) -> list[tuple[float, float, int]]:
    counts: dict[int, int] = defaultdict(int)
    for seconds in durations:
        counts[math.floor(math.log10(max(seconds, 1e-7)) * DECADE_PARTS)] += 1
    if not counts:
        return []
    return [
        (10 ** (index / DECADE_PARTS), 10 ** ((index + 1) / DECADE_PARTS), counts.get(index, 0))
        for index in range(min(counts), max(counts) + 1)
    ]
