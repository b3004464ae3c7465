"""What else the machine was doing while a case ran. Linux; elsewhere the load is unknown.

All CPU time that ``/proc/stat`` counts, less what the case and its processes used: that is what
somebody else used. The runner is a child subreaper, so that processes which detach themselves from
the case still end up with it, and their CPU time is known once they have been waited for.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path

__all__ = ["MARK", "Meter", "become_subreaper", "children", "end_left_behind", "loadavg"]

MARK = "TINES_BENCHMARK_CASE"
"""Environment variable that marks every process of a case."""

PR_SET_CHILD_SUBREAPER = 36
IDLE, IOWAIT, STEAL, GUEST = 3, 4, 7, 8
"""Columns of the ``cpu`` line of ``/proc/stat``; guest time is also in user time."""


def become_subreaper() -> None:
    """Adopt the orphans of this process's descendants, where the system can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def loadavg() -> list[float]:
    """Load averages over 1, 5 and 15 minutes."""
    try:
        return [round(value, 2) for value in os.getloadavg()]
    except (AttributeError, OSError):
        return []


def busy_seconds() -> float:
    """CPU seconds that all cores have spent on anything, including what the hypervisor took."""
    try:
        line = Path("/proc/stat").read_text().split("\n", 1)[0]
    except OSError:
        return 0.0
    columns = [int(column) for column in line.split()[1:]]
    busy = sum(columns[:GUEST]) - columns[IDLE] - columns[IOWAIT]
    return busy / os.sysconf("SC_CLK_TCK")


def used_seconds() -> float:
    """CPU seconds of this process and of all children that it has waited for."""
    own, children = (resource.getrusage(who) for who in _WHO)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


_WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


class Meter:
    """Started before a case; read when the case and all that it left behind are gone."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._busy, self._used = busy_seconds(), used_seconds()

    def seconds(self) -> float:
        """Wall time since the start."""
        return time.monotonic() - self._start

    def other_load(self) -> float | None:
        """Cores that were busy with something else, on average. ``/proc/stat`` counts in 10 ms."""
        elapsed = self.seconds()
        if not self._busy:
            return None
        other = (busy_seconds() - self._busy) - (used_seconds() - self._used)
        return round(max(0.0, other / elapsed), 2) if elapsed else 0.0


def children() -> set[int]:
    """Ids of this process's children, adopted ones too; empty where there is no ``/proc``."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in parentheses may contain anything, so look behind the last one.
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(entry.name))
    return found


def _marked(mark: str) -> set[int]:
    wanted = f"{MARK}={mark}".encode()
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.add(int(entry.name))
    return found


def _settle(pids: set[int], grace: float) -> None:
    """Wait until these processes have ended, ``grace`` seconds at most."""
    deadline = time.monotonic() + grace
    for pid in pids:
        with contextlib.suppress(OSError, AttributeError):
            descriptor = os.pidfd_open(pid)
            try:
                select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            finally:
                os.close(descriptor)


def _reap(pids: set[int]) -> None:
    """Wait for those of these children that are dead already."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def end_left_behind(mark: str, before: set[int], grace: float = 0.0, limit: float = 5.0) -> int:
    """Kill and wait for what is left of a case; return how many processes had to be killed.

    They are those that carry its mark, and those that this process has adopted since ``before``
    (some libraries overwrite their environment with a process title). Servers that end by
    themselves when they notice the case's end have ``grace`` seconds to do so. Repeats, as killing
    one may orphan another.
    """
    _settle(_marked(mark) | (children() - before), grace)
    _reap(children() - before)
    ended: set[int] = set()
    deadline = time.monotonic() + limit
    while (pids := _marked(mark) | (children() - before)) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        ended |= pids
    return len(ended)
