"""What a record becomes in the trace: the events of the Trace Event Format, as dictionaries.

Each record makes one or several events, which have different times; a :class:`Part` says which. They
must be asked for in the order of their times, as the depth of queues is counted on the way.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tines.errors import describe_exit
from tines.tracing.merge import Life, Pool, Process, Sources
from tines.tracing.records import (
    POOL_SHIFT,
    TAG_MASK,
    Kind,
    Order,
    Record,
    cpu_of,
    flags_of,
    items_of,
    kind_of,
    name_number,
)

__all__ = ["EventMaker", "Part", "micro", "outcome_of"]

MOST_QUEUED_SHOWN = 32
"""Beyond as many at a time, the queue is shown as a number only."""

Event = dict[str, Any]


class Part(enum.IntEnum):
    """Which event of a record.

    At one time, what contains comes before what is contained, and what is sent before it arrives:
    whatever lies before the window happens at its edge.
    """

    PROCESS = 0
    WAIT = 1
    DESERIALISE = 2
    RUN = 3
    SERIALISE = 4
    SLICE = 5
    QUEUED = 6
    START = 7
    UNQUEUED = 8
    STEP = 9
    FINISH = 10
    INSTANT = 11
    LAST_WAIT = 12


@dataclass
class _Queue:
    """Tasks of one pool that were sent and not taken."""

    depth: int = 0
    shown: set[int] = field(default_factory=set)


class EventMaker:
    """Makes the events of one trace."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._origin, self._end = sources.window
        self._queues = {pool.number: _Queue() for pool in sources.pools.values()}

    def make(self, part: Part, process: Process, record: Record) -> list[Event]:
        """Return the events of one part of a record."""
        made: Any = getattr(self, f"_{part.name.lower()}")(process, record)
        return made if isinstance(made, list) else [made]

    def at(self, time: int) -> float:
        """Return a time as the trace has it."""
        return micro(self._inside(time) - self._origin)

    def metadata(self) -> Iterator[Event]:
        """Yield the names of processes and threads."""
        for index, process in enumerate(self._sources.processes):
            name = process.name
            if process.worker:
                name += f", slot {process.slot}"
            yield _meta("process_name", process.trace_pid, process.trace_pid, name=name)
            yield _meta(
                "process_sort_index", process.trace_pid, process.trace_pid, sort_index=index
            )
            for tid, thread in {process.trace_pid: "main", **process.threads}.items():
                yield _meta("thread_name", process.trace_pid, tid, name=thread)

    def _slice_event(
        self, track: dict[str, int], name: str, cat: str, begin: int, end: int, **args: object
    ) -> Event:
        begin, end = self._inside(begin), self._inside(end)
        event = {"name": name, "cat": cat, "ph": "X", "ts": micro(begin - self._origin)}
        event["dur"] = micro(max(0, end - begin))
        return {**event, **track, "args": args}

    def _inside(self, time: int) -> int:
        return min(max(time, self._origin), self._end)

    def _process(self, process: Process, record: Record) -> object:
        life = process.life
        args = {"pid": process.pid, **outcome_of(life)}
        if process.is_main:
            return self._slice_event(
                process.track(), "trace", "trace", self._origin, self._end, **args
            )
        return self._slice_event(
            process.track(), process.name, "process", process.opened, life.end, **args
        )

    def _wait(self, process: Process, record: Record) -> object:
        return self._slice_event(process.track(), "wait", "wait", record[1], record[2])

    def _last_wait(self, process: Process, record: Record) -> object:
        until = process.life.end
        return self._slice_event(
            process.track(), "wait", "wait", process.idle_since, until, last=True
        )

    def _deserialise(self, process: Process, record: Record) -> object:
        end = record[4] or (record[7] and record[6]) or process.life.end
        return self._slice_event(
            process.track(), "deserialise", "deserialise", record[2], end, task=record[0]
        )

    def _run(self, process: Process, record: Record) -> object:
        args: dict[str, object] = {
            "task": record[0],
            "items": items_of(record),
            "slot": process.slot,
        }
        pool = self._sources.pool_of(process)
        if pool is not None:
            args["pool"] = pool.number
        sent = self._sources.sent.get(process.key_of(record))
        if sent is not None:
            args["queued_us"] = micro(max(0, record[2] - sent[0]))
            args["attempt"] = sent[1]
        end = record[5]
        if not record[7]:
            # Its worker was killed: in it, or right after it had sent the outcome.
            args["open"] = True
            end = self._sources.delivered.get(process.key_of(record), process.life.end)
        elif record[5] > record[4]:
            args["cpu_us"] = micro(cpu_of(record))
        args["outcome"] = self._outcome_of(process, record)
        if call := process.details.calls.get(record[0]):
            args["call"] = call
        name = process.text(name_number(record)) or "task"
        return self._slice_event(process.track(), name, "run", record[4], end, **args)

    def _outcome_of(self, process: Process, record: Record) -> str:
        life = process.life
        if record[7]:
            return "raised" if flags_of(record) & 1 else "returned"
        if process.key_of(record) in self._sources.delivered:
            return "raised" if process.key_of(record) in self._sources.raised else "returned"
        if not life.ended:
            return "unfinished"
        if life.order:
            return "timeout" if life.order == Order.TIMEOUT else "cancelled"
        return "stopped" if life.stopped else "lost"

    def _serialise(self, process: Process, record: Record) -> object:
        return self._slice_event(
            process.track(),
            "serialise",
            "serialise",
            record[5],
            record[7],
            task=record[0],
            send_us=micro(max(0, record[7] - record[6])),
        )

    def _slice(self, process: Process, record: Record) -> object:
        kind = kind_of(record)
        track = process.track(record[4])
        args: dict[str, object]
        if kind == Kind.SUBMIT:
            args = {
                **self._task(process, record),
                "items": items_of(record),
                "bytes": record[5],
                "pickling_us": micro(max(0, record[2] - record[1])),
                "attempt": flags_of(record),
            }
            return self._slice_event(track, "submit", "submit", record[1], record[7], **args)
        if kind == Kind.RESULT:
            args = {
                **self._task(process, record),
                "bytes": record[5],
                "outcome": "raised" if flags_of(record) & 1 else "returned",
            }
            return self._slice_event(track, "result", "result", record[1], record[7], **args)
        if kind == Kind.START:
            name = f"start {process.text(name_number(record))}"
            return self._slice_event(track, name, "start", record[1], record[7], pid=record[0])
        if kind == Kind.PART:
            args = {"task": record[0], "items": items_of(record)}
            return self._slice_event(
                process.track(), "serialise", "part", record[1], record[7], **args
            )
        return self._slice_event(process.track(), "start-up", "start-up", record[1], record[7])

    def _task(self, process: Process, record: Record) -> dict[str, int]:
        pool = self._sources.pools.get((process.identity, record[0] >> POOL_SHIFT))
        number = {"pool": pool.number} if pool is not None else {}
        return {"task": record[0] & TAG_MASK, **number}

    def _step(self, process: Process, record: Record) -> object:
        return self._flow("t", process, record[4], self._flow_id(process, record), "task")

    def _start(self, process: Process, record: Record) -> object:
        if kind_of(record) == Kind.START:
            child = self._sources.child(process, record)
            assert child is not None
            return self._flow("s", process, record[1], child.start_id, "start", record[4])
        flow = self._flow_id(process, record)
        return self._flow("s", process, record[2], flow, "task", record[4])

    def _finish(self, process: Process, record: Record) -> object:
        if kind_of(record) in (0, Kind.BOOT):  # 0: a process that is no worker
            return self._flow("f", process, process.opened, process.start_id, "start")
        flow = self._flow_id(process, record)
        return self._flow("f", process, record[7], flow, "task", record[4])

    def _flow(
        self, phase: str, process: Process, time: int, flow: str, cat: str, thread: int = 0
    ) -> Event:
        event = {"name": cat, "cat": cat, "ph": phase, "id": flow, "ts": self.at(time)}
        if phase == "f":
            event["bp"] = "e"
        return {**event, **process.track(thread)}

    def _flow_id(self, process: Process, record: Record) -> str:
        owner, pool, tag = process.key_of(record)
        known = self._sources.pools.get((owner, pool))
        return f"{known.number if known else 0}.{tag}"

    def _queued(self, process: Process, record: Record) -> object:
        pool = self._sources.pools[process.identity, record[0] >> POOL_SHIFT]
        queue = self._queues[pool.number]
        queue.depth += 1
        events = [self._depth(pool, queue, record[2])]
        if queue.depth <= MOST_QUEUED_SHOWN:
            queue.shown.add(record[0] & TAG_MASK)
            events.append(self._waiting("b", pool, record[2], record[0] & TAG_MASK))
        return events

    def _unqueued(self, process: Process, record: Record) -> object:
        pool = self._sources.pool_of(process)
        assert pool is not None
        queue = self._queues[pool.number]
        queue.depth -= 1
        events = [self._depth(pool, queue, record[2])]
        if record[0] in queue.shown:
            queue.shown.remove(record[0])
            events.append(self._waiting("e", pool, record[2], record[0]))
        return events

    def _depth(self, pool: Pool, queue: _Queue, time: int) -> Event:
        owner = pool.process.track()
        args = {"tasks": max(0, queue.depth)}
        name = f"queued, pool {pool.number}"
        event = {"name": name, "cat": "queue", "ph": "C", "ts": self.at(time), "args": args}
        return {**event, **owner}

    def _waiting(self, phase: str, pool: Pool, time: int, tag: int) -> Event:
        event = {"name": "queued", "cat": "queued", "ph": phase, "id": f"{pool.number}.{tag}"}
        return {**event, "ts": self.at(time), **pool.process.track(), "args": {"task": tag}}

    def _instant(self, process: Process, record: Record) -> object:
        kind = kind_of(record)
        if kind == Kind.SUBMIT:
            args: dict[str, object] = {**self._task(process, record), "attempt": flags_of(record)}
            track = process.track(record[4])
            return self._instant_event("retry", "retry", record[2], track, args)
        if kind == Kind.ORDER:
            worker = self._sources.alive(record[0], record[1])
            name = Order(flags_of(record)).name.lower()
            track = (worker or process).track()
            return self._instant_event(name, "order", record[1], track, {"pid": record[0]})
        if kind == Kind.MEMORY:
            event = {"name": "memory", "cat": "memory", "ph": "C", "ts": self.at(record[1])}
            return {**event, **process.track(), "args": {"bytes": record[5]}}
        args = {"pid": process.pid, "name": process.name, **outcome_of(process.life)}
        return self._instant_event("died", "death", process.life.end, process.track(), args)

    def _instant_event(
        self, name: str, cat: str, time: int, track: dict[str, int], args: dict[str, object]
    ) -> Event:
        event = {"name": name, "cat": cat, "ph": "i", "s": "t", "ts": self.at(time)}
        return {**event, **track, "args": args}


def micro(nanoseconds: int) -> float:
    """Return microseconds."""
    return round(nanoseconds / 1000, 3)


def outcome_of(life: Life) -> dict[str, object]:
    """Return how a process ended, for people and for programs."""
    if life.exitcode is None:
        return {"exitcode": None, "how": "ended" if life.ended else "runs"}
    how = "was stopped" if life.stopped else describe_exit(life.exitcode)
    return {"exitcode": life.exitcode, "how": how}


def _meta(kind: str, pid: int, tid: int, **args: object) -> Event:
    return {"name": kind, "ph": "M", "ts": 0, "pid": pid, "tid": tid, "args": args}
