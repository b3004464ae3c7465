"""All spools of a trace together: which process each belongs to, how it ended, and what met where.

A task is known by its *key*: the process of its pool, the pool's number there, and the dispatch number.
It occurs in two spools, that of the process which sent it and that of its worker; either may have
dropped it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tines._pids import runs
from tines.tracing import details
from tines.tracing.recorder import SUFFIX
from tines.tracing.records import (
    POOL_SHIFT,
    TAG_MASK,
    Kind,
    Order,
    Record,
    flags_of,
    kind_of,
    latest,
    name_number,
    ran_since,
)
from tines.tracing.spool import Role, SpoolReader

__all__ = ["Key", "Life", "Pool", "Process", "Sources", "load"]

Key = tuple[int, int, int]

_ROOM: dict[int, int] = {Kind.TASK: 1000, Kind.SUBMIT: 540, Kind.RESULT: 280, Kind.PART: 160}
"""Bytes of the events of a record about a task, by its kind; a little more than they mostly take."""

_STRANGE_PID = 1 << 31
"""Above what any system uses: for a process whose number was used twice within one trace."""


@dataclass
class Life:
    """How a process ended.

    Attributes:
        end: When; the end of the trace if it had not.
        ended: Whether it had.
        exitcode: How, if that is known.
        stopped: Whether it was told to end, other than because of its task.
        order: The :class:`~tines.tracing.records.Order` about its last task, if that did not finish.
    """

    end: int
    ended: bool = False
    exitcode: int | None = None
    stopped: bool = False
    order: int = 0

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than by itself or because it was told to."""
        return self.exitcode not in (None, 0) and not self.stopped


@dataclass
class Process:
    """One process of the trace, from its spool.

    Attributes:
        reader: The spool.
        trace_pid: Its number in the trace.
        life: How it ended.
        is_main: Whether it is the one that the trace belongs to.
        started_in_trace: Whether its start is recorded, within the window.
        booted: Whether it became ready within the window, as a worker.
        idle_since: When it finished its last task, or was ready for its first; 0: not known.
        unfinished: The task it was at when it ended, or at the end of the trace.
        threads: The names of its threads.
        details: Its slowest tasks and its failures.
        cutoff: Tasks that were over before this are left out, as there is no room for them.
    """

    reader: SpoolReader
    trace_pid: int
    life: Life
    is_main: bool = False
    started_in_trace: bool = False
    booted: bool = False
    idle_since: int = 0
    unfinished: Record | None = None
    threads: dict[int, str] = field(default_factory=dict)
    details: details.Details = field(default_factory=details.Details)
    cutoff: int = 0

    def __post_init__(self) -> None:
        self.pid = self.reader.pid
        self.identity = self.reader.identity
        self.name = self.reader.name
        self.opened = self.reader.opened
        self.worker = self.reader.role is Role.WORKER
        self.slot = self.reader.slot
        self.start_id = f"start.{self.identity:x}"

    def track(self, thread: int = 0) -> dict[str, int]:
        """Return the fields that say on which track an event is."""
        tid = thread if thread in self.threads else self.trace_pid
        return {"pid": self.trace_pid, "tid": tid}

    def text(self, number: int) -> str:
        """Return a text of its spool."""
        texts = self.reader.texts
        return texts[number] if number < len(texts) else ""

    def key_of(self, record: Record) -> Key:
        """Return the key of the task that a record is about."""
        if kind_of(record) == Kind.TASK:
            return (*self.reader.pool, record[0])
        return self.identity, record[0] >> POOL_SHIFT, record[0] & TAG_MASK

    def records(self, window: tuple[int, int]) -> Iterator[tuple[int, Record]]:
        """Yield the records that lie in a window of time, wholly or in part, made consistent."""
        for place, record in self._all_records(window):
            if not self._is_left_out(record):
                yield place, record

    def left_out(self, window: tuple[int, int]) -> Iterator[Record]:
        """Yield the records of a window that there is no room for."""
        if self.cutoff:
            for _, record in self._all_records(window):
                if self._is_left_out(record):
                    yield record

    def _all_records(self, window: tuple[int, int]) -> Iterator[tuple[int, Record]]:
        begin, end = window
        for place, record in self.reader.records():
            if record[1] <= end and (record[7] or end) >= begin:
                yield place, record

    def _is_left_out(self, record: Record) -> bool:
        return 0 < record[7] < self.cutoff and kind_of(record) in _ROOM

    def room(self, window: tuple[int, int]) -> Iterator[tuple[int, int]]:
        """Yield when each record about a task ended, and how many bytes its events may take at most."""
        for _, record in self._all_records(window):
            room = _ROOM.get(kind_of(record), 0)
            if room and record[7]:
                yield record[7], room + len(self.text(name_number(record)))


@dataclass(frozen=True)
class Pool:
    """A pool: its number in the trace, and whose it is."""

    number: int
    process: Process
    transport: str
    processes: int
    uses: set[str] = field(default_factory=set)
    """What its user does already: ``retries``, ``max_memory``, ``measured`` (sizes of chunks)."""


@dataclass
class Sources:
    """Everything there is.

    Attributes:
        window: From when to when.
        processes: In the order in which they began.
        pools: By the identity of their process and their number there.
        sent: When each task was sent, and which attempt it was.
        taken: Tasks that a worker took.
        run: Tasks that began to run.
        delivered: When the outcome of each task was received.
        raised: Tasks whose outcome was an exception.
        unreadable: How many spools were none.
        untraced: What is missing, in words.
        whole: Whether the window is all that was recorded.
    """

    window: tuple[int, int]
    processes: list[Process] = field(default_factory=list)
    pools: dict[tuple[int, int], Pool] = field(default_factory=dict)
    sent: dict[Key, tuple[int, int]] = field(default_factory=dict)
    taken: set[Key] = field(default_factory=set)
    run: set[Key] = field(default_factory=set)
    delivered: dict[Key, int] = field(default_factory=dict)
    raised: set[Key] = field(default_factory=set)
    unreadable: int = 0
    untraced: list[str] = field(default_factory=list)
    whole: bool = True
    _starts: dict[int, int] = field(default_factory=dict)
    _by_pid: dict[int, list[Process]] = field(default_factory=dict)

    def pool_of(self, process: Process) -> Pool | None:
        """Return the pool that a worker works for."""
        return self.pools.get(process.reader.pool) if process.worker else None

    def child(self, parent: Process, record: Record) -> Process | None:
        """Return the process that a ``START`` is about."""
        for process in self._by_pid.get(record[0], ()):
            is_its = process.reader.parent == parent.identity
            if is_its and self._starts.get(process.identity) == record[1]:
                return process
        return None

    def alive(self, pid: int, time: int) -> Process | None:
        """Return the process that had a number at some time."""
        for process in self._by_pid.get(pid, ()):
            if process.opened <= time <= process.life.end:
                return process
        return None

    def wall_of(self, time: int) -> float:
        """Return the time of day, in seconds since 1970."""
        main = self.processes[0].reader
        return (main.wall + time - main.opened) / 1e9


@contextlib.contextmanager
def load(
    directory: Path, window: tuple[int, int], identity: int, max_bytes: int = 0
) -> Iterator[Sources]:
    """Read all spools of a directory.

    Args:
        directory: Where they are.
        window: From when to when; the end is taken for the end of what had none.
        identity: The spool of the process that the trace belongs to; 0: whichever is first.
        max_bytes: How many bytes the events may take; 0: as many as they do.

    Raises:
        ValueError: there is none.
    """
    sources = Sources(window)
    readers = []
    try:
        for path in directory.glob(f"*{SUFFIX}"):
            try:
                readers.append(SpoolReader(path))
            except (ValueError, OSError):
                sources.unreadable += 1
        if not readers:
            raise ValueError(f"there is no spool of a trace in {directory}")
        readers.sort(key=lambda reader: (reader.identity != identity, reader.opened))
        _arrange(sources, readers, max_bytes)
        yield sources
    finally:
        for reader in readers:
            reader.close()


def _cutoff(sources: Sources, max_bytes: int) -> int:
    """Return since when tasks are kept, so that they have room; 0: all of them have."""
    times = [each for process in sources.processes for each in process.room(sources.window)]
    if not max_bytes or sum(room for _, room in times) <= max_bytes:
        return 0
    cutoff = sources.window[1]
    for time, room in sorted(times, reverse=True):
        max_bytes -= room
        if max_bytes < 0:
            break
        cutoff = time
    return cutoff


def _arrange(sources: Sources, readers: list[SpoolReader], max_bytes: int) -> None:
    used: set[int] = set()
    for number, reader in enumerate(readers):
        pid = reader.pid if reader.pid not in used else _STRANGE_PID + number
        used.add(pid)
        process = Process(reader, pid, Life(sources.window[1]), is_main=reader.role is Role.MAIN)
        process.details = details.read(reader.path.with_suffix(details.SUFFIX))
        sources.processes.append(process)
        sources._by_pid.setdefault(reader.pid, []).append(process)
        _read_texts(sources, process)
    cutoff = _cutoff(sources, max_bytes)
    lives = _Lives()
    for process in sources.processes:
        process.cutoff = cutoff
        for _, record in process.reader.records():
            lives.note(process, record)
        for _, record in process.records(sources.window):
            _note_task(sources, process, record)
    for process in sources.processes:
        task = process.unfinished
        # Killed right after it had sent the outcome.
        if task is not None and process.key_of(task) in sources.delivered:
            process.unfinished = None
            process.idle_since = 0  # when it was done, and began to wait, is not known
    _read_starts(sources, lives.starts)
    _read_ends(sources, lives.ends, lives.orders)
    for process in sources.processes:
        if not (process.is_main or process.life.ended or runs(process.pid)):
            # It is gone, and what its parent wrote of that was dropped.
            times = (latest(record) for _, record in process.reader.records())
            process.life = Life(max(times, default=process.opened), ended=True)


class _Lives:
    """The records about processes, whenever they were written."""

    def __init__(self) -> None:
        self.ends: list[Record] = []
        self.orders: list[Record] = []
        self.starts: list[tuple[Process, Record]] = []

    def note(self, process: Process, record: Record) -> None:
        """Note what a record says about the life of its own or another process."""
        kind = kind_of(record)
        if kind == Kind.TASK:
            process.idle_since = max(process.idle_since, record[7])
            if not record[7]:
                process.unfinished = record
        elif kind == Kind.BOOT:
            process.idle_since = record[7]
        elif kind == Kind.EXIT:
            process.life = Life(record[7], ended=True)
        elif kind == Kind.END:
            self.ends.append(record)
        elif kind == Kind.ORDER:
            self.orders.append(record)
        elif kind == Kind.START:
            self.starts.append((process, record))


def _note_task(sources: Sources, process: Process, record: Record) -> None:
    """Note which of the steps of a task are there, so that only such are connected."""
    kind = kind_of(record)
    if kind == Kind.TASK:
        sources.taken.add(process.key_of(record))
        if ran_since(record, sources.window[0]):
            sources.run.add(process.key_of(record))
    elif kind == Kind.SUBMIT:
        sources.sent[process.key_of(record)] = record[2], flags_of(record)
    elif kind == Kind.RESULT:
        sources.delivered[process.key_of(record)] = record[1]
        if flags_of(record) & 1:
            sources.raised.add(process.key_of(record))
    elif kind == Kind.BOOT:
        process.booted = True


def _read_texts(sources: Sources, process: Process) -> None:
    for text in process.reader.texts:
        what, *rest = text.split("\0")
        if what == "thread" and len(rest) == 2:
            process.threads[int(rest[0])] = rest[1]
        elif what == "pool" and len(rest) == 3:
            number = len(sources.pools) + 1
            pool = Pool(number, process, rest[1], int(rest[2]))
            sources.pools[process.identity, int(rest[0])] = pool
        elif what == "uses" and len(rest) == 2:
            sources.pools[process.identity, int(rest[0])].uses.add(rest[1])
        elif what == "untraced":
            sources.untraced.extend(rest)


def _read_starts(sources: Sources, starts: list[tuple[Process, Record]]) -> None:
    """Find for each process the record of its start, by its parent."""
    for parent, record in starts:
        found = [
            process
            for process in sources._by_pid.get(record[0], ())
            if process.reader.parent == parent.identity and process.opened >= record[1]
        ]
        if found:
            process = min(found, key=lambda each: each.opened)
            process.started_in_trace = record[1] >= sources.window[0]
            # What a forked child is called is not known to itself when it opens its spool.
            process.name = parent.text(name_number(record)) or process.name
            if process.started_in_trace:
                sources._starts[process.identity] = record[1]


def _read_ends(sources: Sources, ends: list[Record], orders: list[Record]) -> None:
    """Find out how each process ended: what its parent saw counts more than what it said."""
    for record in sorted(ends, key=lambda each: each[1]):
        candidates = [
            process
            for process in sources._by_pid.get(record[0], ())
            if process.opened <= record[1] and process.life.exitcode is None
        ]
        if not candidates:
            continue
        process = candidates[0]
        # Its parent may have looked long after.
        end = process.life.end if process.life.ended else record[1]
        process.life = Life(end, ended=True, exitcode=record[2] - 2**32)
        about = [each for each in orders if each[0] == record[0] and process.opened <= each[1]]
        told = any(flags_of(each) in (Order.TERMINATE, Order.KILL) for each in about)
        process.life.order = _order_about(process.unfinished, about)
        process.life.stopped = told and not process.life.order


def _order_about(task: Record | None, orders: list[Record]) -> int:
    """Return why the task that a process was at was to be stopped; 0 if it was not."""
    for order in orders:
        about_task = flags_of(order) in (Order.TIMEOUT, Order.CANCEL)
        if about_task and task is not None and task[2] <= order[1]:
            return flags_of(order)
    return 0
