"""What a record has no room for: the arguments of the slowest tasks, and the tracebacks of failures.

Each worker appends it, as lines of JSON, to a file beside its spool. A line is one write, so a worker
that is killed has left whole lines, or half of the last. How much there may be is bounded: it is
the slowest tasks that are noted, and the first failures.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tines.pool.jobs.failures import describe_message

if TYPE_CHECKING:
    from tines.transport.contract import Buffer
    from tines.wire.tracebacks import RemoteException

__all__ = ["SUFFIX", "Details", "DetailsWriter", "Failed", "read"]

SUFFIX = ".details"
SLOWEST = 10
"""Of how many tasks a worker notes the arguments."""
SLOW = 1_000_000
"""Nanoseconds below which a task is not slow, whatever the others took."""
LARGEST = 64 * 1024
"""Bytes of a task from which its arguments are not unpickled to be described."""
MOST_FAILURES = 50
LONGEST_TRACEBACK = 8000
MOST_BYTES = 256 * 1024


class DetailsWriter:
    """A worker's side.

    Args:
        path: The file, which is made when there is something to write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._slowest: list[int] = []
        self._failures = 0
        self._room = MOST_BYTES

    def is_slow(self, took: int) -> bool:
        """Whether so many nanoseconds are among the longest so far, so that arguments are of interest."""
        if took < SLOW or (len(self._slowest) >= SLOWEST and took <= self._slowest[0]):
            return False
        heapq.heappush(self._slowest, took)
        if len(self._slowest) > SLOWEST:
            heapq.heappop(self._slowest)
        return True

    def slow(
        self, task: int, name: str, kind: int, data: Buffer, buffers: Sequence[Buffer]
    ) -> None:
        """Note what a slow task was called with."""
        size = len(data)
        if size > LARGEST:
            call = f"{name}(<{size:,} bytes>)"
        else:
            call = describe_message(kind, data, buffers, name)
        self._write({"task": task, "call": call})

    def failed(self, task: int, error: RemoteException) -> None:
        """Note how a call failed."""
        self._failures += 1
        if self._failures > MOST_FAILURES:
            return
        text = error.traceback
        if len(text) > LONGEST_TRACEBACK:  # where it was raised is at the end
            text = f"[...]\n{text[-LONGEST_TRACEBACK:]}"
        call = error.place[0] if error.place is not None else ""
        self._write({"task": task, "call": call, "error": error.type_name, "traceback": text})

    def _write(self, line: Mapping[str, object]) -> None:
        encoded = json.dumps(line).encode() + b"\n"
        if len(encoded) > self._room:
            return
        self._room -= len(encoded)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        # The trace may have ended, and its directory gone; the worker goes on in any case.
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, flags | getattr(os, "O_CLOEXEC", 0), 0o600)
            try:
                os.write(descriptor, encoded)
            finally:
                os.close(descriptor)


@dataclass(frozen=True)
class Failed:
    """A call that raised: its task, what was called, the name of the exception's type, its traceback."""

    task: int
    call: str
    error: str
    traceback: str


@dataclass(frozen=True)
class Details:
    """What one worker has noted.

    Attributes:
        calls: What tasks were called with, by their number.
        failures: Calls that raised.
    """

    calls: dict[int, str] = field(default_factory=dict)
    failures: list[Failed] = field(default_factory=list)


def read(path: Path) -> Details:
    """Read what a worker has noted; nothing, where it has noted nothing."""
    details = Details()
    for line in _lines(path):
        task, call = line["task"], line["call"]
        if "traceback" in line:
            details.failures.append(Failed(task, call, line["error"], line["traceback"]))
        if call:
            details.calls.setdefault(task, call)
    return details


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        content = path.read_bytes()
    except OSError:
        return
    for line in content.splitlines():
        with contextlib.suppress(ValueError):  # half a line, of a worker that was killed
            yield json.loads(line)
