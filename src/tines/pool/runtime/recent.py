"""The failures that a pool has had last: kept as they came, and read when somebody looks.

A failure is noted in the collector's seat, or where the pool fails a task itself: that is one entry of a ring
of a few. What a worker has sent is text but for the exception itself, which is not unpickled here: no code of
the program's runs because somebody looks.
"""

from __future__ import annotations

import io
import pickle
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tines.pool.scheduler.commands import Cancelled, Terminated
from tines.wire.tracebacks import RemoteException

if TYPE_CHECKING:
    from tines.pool.scheduler.commands import Failure
    from tines.pool.scheduler.task import Task
    from tines.transport.contract import Buffer

__all__ = ["FailureStatistics", "Failures"]

KEPT = 8
LARGEST = 64 * 1024
"""Bytes of what a worker has sent, up to which it is kept."""
LINES = 40
"""How much of a traceback is shown: the first few lines, and the last."""
HEAD = 6
LONGEST = 400
"""Characters of a line."""


@dataclass(frozen=True)
class FailureStatistics:
    """A task that failed, or an attempt of one.

    Attributes:
        at: When it was noted, as ``time.time()``.
        error: The exception, in one line.
        task: What was running, where that is known.
        item: Which item of a map it was; ``None``: it was a call.
        pid: The process that ran it, ``None`` if that is not known.
        traceback: The lines of its traceback; none if the pool failed it.
    """

    at: float
    error: str
    task: str
    item: int | None
    pid: int | None
    traceback: tuple[str, ...]


class _Noted:
    """A failure; ``seen`` when somebody has looked."""

    __slots__ = ("at", "data", "seen", "start")

    def __init__(self, data: Buffer, start: int | None) -> None:
        self.at = time.time()
        self.data = data
        self.start = start
        self.seen: FailureStatistics | None = None


class Failures:
    """See the module. Nothing is locked."""

    __slots__ = ("_noted",)

    def __init__(self) -> None:
        self._noted: deque[_Noted] = deque(maxlen=KEPT)

    def raised(self, task: Task, data: Buffer) -> None:
        """Note what a worker has sent."""
        kept = bytes(data) if memoryview(data).nbytes <= LARGEST else None
        self._noted.append(_Noted(kept, None if task.job is None else task.start))

    def failed(self, failure: Failure, error: BaseException) -> None:
        """Note what the pool fails a task with, unless it was told to."""
        if isinstance(failure, (Cancelled, Terminated)):
            return
        noted = _Noted(None, None)
        notes = getattr(error, "__notes__", ())
        text = f"{type(error).__name__}: {error}"
        noted.seen = FailureStatistics(
            noted.at, _line(text), _line(str(notes[0])) if notes else "", None, None, ()
        )
        self._noted.append(noted)

    def recent(self) -> tuple[FailureStatistics, ...]:
        """Return the last failures, the latest first."""
        return tuple(map(_read, reversed(self._noted.copy())))


class _Reader(pickle.Unpickler):
    """Makes nothing but what holds texts."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) != (RemoteException.__module__, RemoteException.__qualname__):
            raise pickle.UnpicklingError(f"{module}.{name} is not looked at")
        return RemoteException


def _read(noted: _Noted) -> FailureStatistics:
    if noted.seen is None:
        noted.seen = _described(noted)
        noted.data = None
    return noted.seen


def _described(noted: _Noted) -> FailureStatistics:
    data = noted.data  # once: somebody else may be reading it
    if noted.seen is not None:
        return noted.seen
    try:
        remote = None if data is None else _Reader(io.BytesIO(data)).load()
    except Exception:
        remote = None
    if not isinstance(remote, RemoteException):
        return FailureStatistics(noted.at, "an exception that is not shown", "", None, None, ())
    task, index, pid = remote.place or ("", 0, None)
    item = None if noted.start is None else noted.start + index
    text = f"{remote.type_name}: {remote.text}" if remote.text else remote.type_name
    return FailureStatistics(
        noted.at, _line(text), _line(task), item, pid, _lines(remote.traceback)
    )


def _line(text: str) -> str:
    first, _, more = text.partition("\n")
    return first if len(first) <= LONGEST and not more else f"{first[: LONGEST - 3]}..."


def _lines(text: str) -> tuple[str, ...]:
    lines = [_line(line) for line in text.splitlines()]
    if len(lines) > LINES:
        left_out = f"  ... {len(lines) - LINES + 1} lines"
        lines[HEAD : len(lines) - (LINES - HEAD - 1)] = [left_out]
    return tuple(lines)
