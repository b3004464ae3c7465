"""The recorder of this process, and how a traced process passes tracing on to its children.

There is at most one recorder in a process. Where one is installed, it subscribes to the pools that are
made, and :mod:`tines._watchers` says so: every process that is started opens a spool of its own in the same
directory, before anything of the user's runs. So children of children are traced as well, by any
start method; a killed process leaves what it had written.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import current_process, util
from pathlib import Path

from tines import _clock, _watchers
from tines._fork import Rank, at_fork
from tines.engines.resources import core_wait, own_memory
from tines.pool import events
from tines.process.base import at_start
from tines.tracing.details import SUFFIX as DETAILS
from tines.tracing.details import DetailsWriter
from tines.tracing.records import Kind, meta
from tines.tracing.spool import Role, Spool

__all__ = ["SUFFIX", "Join", "Recorder", "ThreadState", "current", "install", "uninstall"]

SUFFIX = ".spool"
MOST_PROCESSES = 1024
"""How many spools a process gives to its children; those beyond are started without one."""

MEMORY_PAUSE = 50_000_000
"""Nanoseconds between two looks at the memory of a process, at least: a look takes ten microseconds."""

_MEMORY = meta(Kind.MEMORY, items=0)

Observe = Callable[["Recorder", str, int], events.Observer]
"""Makes what observes a pool. Travels with children, so it is found by its name."""

_log = logging.getLogger("tines.tracing")
_now = _clock.monotonic_ns


class ThreadState:
    """What is remembered of a thread that records.

    Attributes:
        tid: Its number in the system.
        began: When it began to do what its next record is about; 0 if that is not known.
        sending: When it was through with that, and began to send.
        last: The end of its latest record: no later one begins before.
    """

    __slots__ = ("began", "last", "sending", "tid")

    def __init__(self) -> None:
        self.tid = threading.get_native_id()
        self.began = 0
        self.sending = 0
        self.last = 0


class Recorder:
    """Writes what happens in this process.

    Attributes:
        spool: Where to.
        active: Whether it is still wanted.
        child_bytes: How large the spools of children may be.
        observe: Makes what observes a pool.
    """

    def __init__(self, spool: Spool, path: Path, max_bytes: int, observe: Observe) -> None:
        self.spool = spool
        self._path = path
        self.active = True
        self.observe = observe
        self._directory = path.parent
        self.child_bytes = max_bytes
        self._local = threading.local()
        self._pools = itertools.count(1)
        self._children = itertools.count(1)
        self._refused = 0
        self._memory_seen = self._memory_due = spool.opened
        self._waited_before = -1

    def here(self) -> ThreadState:
        """Return the state of this thread."""
        try:
            return self._local.state  # type: ignore[no-any-return]
        except AttributeError:
            state = self._local.state = ThreadState()
            self.spool.name(f"thread\0{state.tid}\0{threading.current_thread().name}")
            return state

    def details(self) -> DetailsWriter:
        """Return what writes this process's details."""
        return DetailsWriter(self._path.with_suffix(DETAILS))

    def new_pool(self, transport: str, processes: int) -> int:
        """Return a number for a new pool."""
        number = next(self._pools)
        self.spool.name(f"pool\0{number}\0{transport}\0{processes}")
        return number

    def join(self, name: str) -> Join | None:
        """Return what a child calls to be traced; ``None`` where there are too many."""
        if not self.active:
            return None
        if next(self._children) > MOST_PROCESSES:
            if not self._refused:
                self.spool.name(f"untraced\0processes after the first {MOST_PROCESSES}")
            self._refused += 1
            return None
        return Join(str(self._directory), self.child_bytes, name, self.spool.identity, self.observe)

    def look_at_memory(self, now: int) -> None:
        """Note the memory of this process, and what it waited for a core, unless that was just done."""
        if now >= self._memory_due:
            began = self._memory_seen
            # The longer it goes on, the rarer: the spool is for tasks.
            self._memory_due = now + max(MEMORY_PAUSE, (now - began) // 100)
            self.spool.write(0, now, 0, _MEMORY, 0, own_memory(), 0, now)
            waited = core_wait()
            if self._waited_before < 0:  # while it started
                self._waited_before = waited
            self.spool.note_core_wait(waited - self._waited_before)

    # The observer of processes.

    def starting(self) -> int:
        """See :class:`tines._watchers.ProcessObserver`."""
        return _now()

    def started(self, process: _watchers.Started, began: int) -> None:
        """See :class:`tines._watchers.ProcessObserver`."""
        if self.active:
            state = self.here()
            word = meta(Kind.START, name=self.spool.name(process.name))
            state.last = end = _now()
            self.spool.write(process.pid or 0, began, 0, word, state.tid, 0, 0, end)

    def ended(self, pid: int, exitcode: int) -> None:
        """See :class:`tines._watchers.ProcessObserver`."""
        if self.active:
            now = _now()
            self.spool.write(pid, now, exitcode + 2**32, meta(Kind.END), 0, 0, 0, now)

    def ordered(self, pid: int, order: int) -> None:
        """A worker was told to stop something."""
        if self.active:
            now = _now()
            self.spool.write(pid, now, 0, meta(Kind.ORDER, flags=order), 0, 0, 0, now)

    def exiting(self) -> None:
        """This process is about to end by itself."""
        now = _now()
        self.spool.write(os.getpid(), now, 0, meta(Kind.EXIT), 0, 0, 0, now)


@dataclass(frozen=True)
class Join:
    """Makes a child part of the trace. Travels with it, and is called there first.

    Attributes:
        directory: Where spools are.
        max_bytes: How large one may be.
        name: What the child is called.
        parent: The identity of its parent's spool.
        observe: Makes what observes a pool of the child's.
    """

    directory: str
    max_bytes: int
    name: str
    parent: int
    observe: Observe

    def __call__(self) -> None:
        """Open a spool and record into it. A child that cannot is not traced, and runs."""
        recorder = current()
        if recorder is not None and recorder.spool.pid == os.getpid():
            return
        name = current_process().name or self.name
        try:
            recorder = create(
                Path(self.directory),
                self.max_bytes,
                name,
                Role.PROCESS,
                self.observe,
                parent=self.parent,
            )
        except OSError as error:
            if os.path.isdir(self.directory):  # the trace has not simply ended
                _log.warning("process %s cannot be traced: %s", name, error)
            return
        install(recorder)
        # Last of all that the child does.
        util.Finalize(None, recorder.exiting, exitpriority=-2000)


def create(
    directory: Path, max_bytes: int, name: str, role: Role, observe: Observe, *, parent: int = 0
) -> Recorder:
    """Make a recorder with a new spool.

    Raises:
        OSError: the spool cannot be made.
    """
    path = directory / f"{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}"
    try:
        spool = Spool(path, max_bytes, name=name, role=role, parent=parent)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return Recorder(spool, path, max_bytes, observe)


_current: Recorder | None = None


def current() -> Recorder | None:
    """Return the recorder of this process, if it is traced."""
    return _current


def install(recorder: Recorder) -> Recorder | None:
    """Record into this from now on; return what was recorded into before."""
    global _current
    previous, _current = _current, recorder
    _watchers.processes = recorder
    if previous is None:
        events.subscribe(_observe)
    at_start(_prepare)
    return previous


def uninstall(previous: Recorder | None = None) -> None:
    """Record no longer, or into what was there before."""
    global _current
    if previous is not None:
        install(previous)
        return
    if _current is not None:
        _current = _watchers.processes = None
        events.unsubscribe(_observe)


def _observe(transport: str, processes: int) -> events.Observer | None:
    recorder = _current
    return None if recorder is None else recorder.observe(recorder, transport, processes)


def _prepare() -> Join | None:
    recorder = _current
    return None if recorder is None else recorder.join("process")


def _after_fork_in_child() -> None:
    # What the child records, it records as itself, once it was told to.
    if _current is not None:
        _current.active = False
        _current.spool.close()
        uninstall()


at_fork(Rank.RECORDER, child=_after_fork_in_child)
