"""From the spools of a trace to one file in the Trace Event Format, as JSON.

Two passes. The first goes through all records and makes one number for each event to be: its time, which
record it comes from, and which of that record's events it is. The second goes through these in order
and writes the events, reading each record again. So the memory this takes is some fifty bytes an event,
and the file is sorted by time.

What the events mean: docs/design/tracing.md.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO

from tines._config import available_cpus
from tines.tracing.events import EventMaker, Part, micro, outcome_of
from tines.tracing.merge import Process, Sources, load
from tines.tracing.records import Kind, Record, Totals, flags_of, kind_of, ran_since

__all__ = ["FORMAT", "write"]

FORMAT = 2
"""The version of what stands in ``otherData``."""

_PART_BITS = 4
_SOURCE_BITS = 20
_PLACE_BITS = 40


def write(
    directory: Path,
    path: Path,
    window: tuple[int, int],
    identity: int,
    *,
    whole: bool = True,
    packed: bool = False,
    max_bytes: int = 0,
) -> int:
    """Write what the spools in a directory hold of a window of time; return how many events.

    Args:
        directory: Where the spools are.
        path: The file to write.
        window: From when to when, as ``time.monotonic_ns()``.
        identity: The spool of the process that the trace belongs to.
        whole: Whether the window is all that was recorded.
        packed: Whether the file is to be compressed.
        max_bytes: How large it may become, before it is; 0: as large as it is.

    Raises:
        OSError: it cannot be written.
        ValueError: there are no spools.
    """
    with load(directory, window, identity, max_bytes) as sources:
        sources.whole = whole
        with _opened(path, packed) as file:
            return _Writer(sources, file).write()


def _opened(path: Path, packed: bool) -> IO[str]:
    if not packed:
        return open(path, "w", encoding="utf-8")
    # Level 4 is three times as fast as the default, for a tenth more.
    return gzip.open(path, "wt", compresslevel=4, encoding="utf-8")


class _Writer:
    def __init__(self, sources: Sources, file: IO[str]) -> None:
        self._sources = sources
        self._file = file
        self._origin, self._end = sources.window
        self._events = EventMaker(sources)
        self._count = 0

    def write(self) -> int:
        """Write the file."""
        self._file.write('{"traceEvents":[')
        for event in self._events.metadata():
            self._put(event)
        keys = sorted(self._index())
        for key in keys:
            self._put_all(key)
        self._file.write('\n],\n"displayTimeUnit":"ms",\n"otherData":')
        json.dump(self._other_data(), self._file, separators=(",", ":"))
        self._file.write("}\n")
        return self._count

    def _put(self, event: dict[str, object]) -> None:
        self._file.write(",\n" if self._count else "\n")
        self._file.write(json.dumps(event, separators=(",", ":")))
        self._count += 1

    # The first pass.

    def _index(self) -> Iterator[int]:
        for number, process in enumerate(self._sources.processes):
            for time, place, part in self._events_of(process):
                # Whatever was recorded before the window begins at its edge.
                time = min(max(time, self._origin), self._end) - self._origin
                yield ((time << _PART_BITS | part) << _SOURCE_BITS | number) << _PLACE_BITS | place

    def _events_of(self, process: Process) -> Iterator[tuple[int, int, int]]:
        begin, end = self._sources.window
        if process.opened <= end and process.life.end >= begin:
            if process.is_main or not process.worker:
                yield process.opened, 0, Part.PROCESS
                if process.started_in_trace:
                    yield process.opened, 0, Part.FINISH
            elif 0 < process.idle_since <= end and process.unfinished is None:
                yield process.idle_since, 0, Part.LAST_WAIT
            if process.life.failed:
                yield process.life.end, 0, Part.INSTANT
        for place, record in process.records(self._sources.window):
            for time, part in self._parts(process, record):
                yield time, place, part

    def _parts(self, process: Process, record: Record) -> Iterator[tuple[int, int]]:
        kind = kind_of(record)
        if kind == Kind.TASK:
            yield from self._task_parts(process, record)
        elif kind in (Kind.SUBMIT, Kind.RESULT, Kind.START, Kind.PART, Kind.BOOT):
            yield record[1], Part.SLICE
            if kind == Kind.SUBMIT:
                key = process.key_of(record)
                if key in self._sources.taken:
                    yield record[2], Part.QUEUED
                if key in self._sources.run or key in self._sources.delivered:
                    yield record[2], Part.START
                if flags_of(record) > 1:
                    yield record[2], Part.INSTANT
            elif kind == Kind.RESULT and process.key_of(record) in self._sources.sent:
                yield record[7], Part.FINISH
            elif kind == Kind.START:
                child = self._sources.child(process, record)
                if child is not None and (child.booted or not child.worker):
                    yield record[1], Part.START
            elif kind == Kind.BOOT and process.started_in_trace:
                yield record[1], Part.FINISH
        elif kind in (Kind.ORDER, Kind.MEMORY):
            yield record[1], Part.INSTANT

    def _task_parts(self, process: Process, record: Record) -> Iterator[tuple[int, int]]:
        yield record[1], Part.WAIT
        yield record[2], Part.DESERIALISE
        if process.key_of(record) in self._sources.sent:
            yield record[2], Part.UNQUEUED
        if ran_since(record, self._origin):
            yield record[4], Part.RUN
            if process.key_of(record) in self._sources.sent:
                yield record[4], Part.STEP
        if record[4] and record[7]:
            yield record[5], Part.SERIALISE

    # The second pass.

    def _put_all(self, key: int) -> None:
        place = key & (1 << _PLACE_BITS) - 1
        key >>= _PLACE_BITS
        process = self._sources.processes[key & (1 << _SOURCE_BITS) - 1]
        part = Part(key >> _SOURCE_BITS & (1 << _PART_BITS) - 1)
        record = process.reader.record(place) if place else (0,) * 8
        for event in self._events.make(part, process, record):
            self._put(event)

    def _other_data(self) -> dict[str, object]:
        sources = self._sources
        return {
            "producer": "tines",
            "format": FORMAT,
            "started": sources.wall_of(self._origin),
            "duration_us": micro(self._end - self._origin),
            "whole": sources.whole,
            "cores": available_cpus(),
            "unreadable": sources.unreadable,
            "untraced": sources.untraced,
            "pools": [
                {
                    "pool": pool.number,
                    "pid": pool.process.trace_pid,
                    "transport": pool.transport,
                    "processes": pool.processes,
                    "uses": sorted(pool.uses),
                }
                for pool in sources.pools.values()
            ],
            "processes": [self._describe(process) for process in sources.processes],
            "failures": list(self._failures()),
        }

    def _failures(self) -> Iterator[dict[str, object]]:
        for process in self._sources.processes:
            for failed in process.details.failures:
                yield {"pid": process.trace_pid, **asdict(failed)}

    def _describe(self, process: Process) -> dict[str, object]:
        pool = self._sources.pool_of(process)
        kept = Totals()
        for _, record in process.records(self._sources.window):
            kept.add(record)
        # Of a part of what was recorded it is not known how much was dropped.
        dropped = replace(process.reader.dropped) if self._sources.whole else Totals()
        for record in process.left_out(self._sources.window):
            dropped.add(record)
        firsts = [each.first for each in (kept, dropped) if each.first]
        return {
            "pid": process.trace_pid,
            "name": process.name,
            "role": process.reader.role.name.lower(),
            "pool": pool.number if pool is not None else None,
            "slot": process.slot if process.worker else None,
            "began_us": self._events.at(process.opened),
            "ended_us": self._events.at(process.life.end),
            **outcome_of(process.life),
            "core_wait_us": micro(process.reader.core_wait),
            "torn": process.reader.torn,
            "first_us": self._events.at(min(firsts)) if firsts else None,
            "kept": _sums(kept),
            "dropped": _sums(dropped),
        }


def _sums(totals: Totals) -> dict[str, int]:
    sums = asdict(totals)
    del sums["first"]  # a time
    return sums
