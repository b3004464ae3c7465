"""What is done to processes, and to their surroundings.

Faults that a process does to itself (limits, timers, mounts) are never done to the rig's own process
but to children made for it, so that they end with them.
"""

from __future__ import annotations

import ctypes
import os
import random
import resource
import signal
import sys
import time
from contextlib import suppress

__all__ = [
    "few_descriptors",
    "flood",
    "ignore",
    "kill",
    "leak_descriptor",
    "little_memory",
    "nested",
    "no_room_in_dev_shm",
    "quiet",
    "stop_and_continue",
    "storm",
]

TOO_DEEP = 100_000
"""Levels of nesting at which pickle gives up."""

CLONE_NEWNS = 0x00020000
MS_REC_PRIVATE = 0x4000 | 0x40000


def ignore(signum: int, frame: object) -> None:
    """Be interrupted, and go on."""


def storm(interval: float) -> None:
    """Have an interval timer interrupt every wait of this process from now on; 0 ends it."""
    if interval:
        signal.signal(signal.SIGALRM, ignore)
    signal.setitimer(signal.ITIMER_REAL, interval, interval)


def quiet(signum: int) -> None:
    """Have this process, and those forked from it, do nothing upon a signal."""
    signal.signal(signum, ignore)


def flood(pid: int, count: int) -> int:
    """Send a process so many signals that it handles by doing nothing; return how many arrived."""
    for sent in range(count):
        try:
            os.kill(pid, signal.SIGUSR1)
        except ProcessLookupError:
            return sent
    return count


def kill(pid: int) -> bool:
    """Kill a process; False if it is gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def leak_descriptor() -> None:
    """What ``--plant leak`` does."""
    os.dup(0)


def stop_and_continue(pid: int, seconds: float) -> bool:
    """Stop a process for a while; False if it is gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)  # how long somebody holds up the others is the fault itself
        os.kill(pid, signal.SIGCONT)
        return True
    return False


def few_descriptors(spare: int) -> list[int]:
    """Leave this process ``spare`` descriptors; return those that fill the gaps below the limit."""
    open_now = {int(name) for name in os.listdir("/proc/self/fd")}
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers = [os.dup(0) for _ in range(max(open_now) + 1 - len(open_now))]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_now) + 1 + spare, hard))
    return fillers


def little_memory(spare: int) -> None:
    """Leave this process ``spare`` bytes of address space beyond what it has."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + spare, hard))


def no_room_in_dev_shm(chance: random.Random) -> bool:
    """Give this process a ``/dev/shm`` of its own and fill it; False where that is not allowed."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        return False
    if libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None) != 0:
        return False
    if libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"size=64k") != 0:
        return False
    with suppress(OSError), open("/dev/shm/full", "wb", buffering=0) as file:
        for _ in range(100):
            file.write(bytes(4096 - chance.randrange(2)))
    return _is_full()


def _is_full() -> bool:
    try:
        with open("/dev/shm/probe", "wb", buffering=0) as file:
            return file.write(b"x" * 4096) < 4096
    except OSError:
        return True


def nested() -> list[object]:
    """Return something that pickle gives up on with a RecursionError."""
    outer: list[object] = []
    for _ in range(TOO_DEEP):
        outer = [outer]
    return outer
