"""What a process costs: its memory and processor time, as the system counts them.

On Linux that is read from ``/proc``, which takes some ten microseconds; elsewhere ``psutil`` is asked
if it is installed.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["can_measure", "core_wait", "cpu_seconds", "own_memory"]

_LINUX = sys.platform == "linux"


def can_measure() -> bool:
    """Whether the memory of processes can be known here."""
    return _LINUX or _psutil() is not None


def own_memory(pid: int | None = None) -> int:
    """Return the resident bytes of a process that are its own; 0 if that cannot be known.

    Files and shared memory that it maps do not count: the arguments and results that pass through
    the transport's shared memory are not the worker's doing. What a forked child has in common
    with its parent does.

    Args:
        pid: Which process; this one if not given.
    """
    if _LINUX:
        try:
            with open(f"/proc/{pid or 'self'}/statm") as file:
                _, resident, shared, *_ = file.read().split()
            return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError):
            return 0
    psutil = _psutil()
    if psutil is None:
        return 0
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, 0 if that cannot be known."""
    if _LINUX:
        try:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            return 0.0
    psutil = _psutil()
    if psutil is None:
        return 0.0
    try:
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    except psutil.Error:
        return 0.0


def core_wait() -> int:
    """Return for how many nanoseconds this process's first thread could have run and had no core.

    Zero where the system does not say.
    """
    if not _LINUX:
        return 0
    try:
        with open("/proc/self/schedstat") as file:
            return int(file.read().split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _psutil() -> Any:
    try:
        import psutil
    except ImportError:
        return None
    return psutil
