"""What the machine itself can do, measured in the same rounds as the peers: nothing can be faster.

Each limit takes the variant's params and returns its primary metric, under the name that the
variant gives it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import pickle
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable

from benchmarks.calibrate import median_us, repeats, timed, until
from benchmarks.model import Params, Unsupported
from benchmarks.workloads import identity

__all__ = ["LIMITS", "Limit"]

Measure = Callable[[Params], float]

SECONDS = 0.3
LONGEST = 0.5


class Limit:
    """A named limit."""

    def __init__(self, name: str, title: str, measure: Measure) -> None:
        self.name, self.title, self.measure = name, title, measure


def _seconds(params: Params) -> float:
    return min(LONGEST, float(params.get("seconds", SECONDS)))


def _rate(action: Callable[[int], object], seconds: float) -> float:
    """Repetitions per second of an action that is given how often to repeat."""
    trial = 1000
    count = repeats(trial, timed(lambda: action(trial)), seconds, least=1000, most=10_000_000)
    return count / timed(lambda: action(count))


def _pickle(params: Params) -> float:
    """Messages per second of one process that does nothing but ``dumps`` and ``loads``."""
    dumps, loads = pickle.dumps, pickle.loads

    def both(count: int) -> None:
        for index in range(count):
            loads(dumps((index, "abc"), 5))

    return _rate(both, _seconds(params))


def _plain_loop(params: Params) -> float:
    """Calls per second of the same function in a list comprehension."""
    return _rate(lambda count: [identity(item) for item in range(count)], _seconds(params))


def _copying(size: int, seconds: float, target: Callable[[], memoryview]) -> float:
    """GB/s of copies into what ``target`` returns; making it is part of the time."""
    source = memoryview(b"\1" * size)

    def copy() -> None:
        view = target()
        view[:] = source
        view.release()

    copy()
    durations = until(seconds, lambda: timed(copy), least=3)
    return size / statistics.median(durations) / 1e9


def _memcpy(params: Params) -> float:
    """Copy into memory that was touched before."""
    buffer = bytearray(params["size"])
    return _copying(params["size"], _seconds(params), lambda: memoryview(buffer))


def _memcpy_fresh(params: Params) -> float:
    """Copy into pages that the system has yet to provide."""
    size = params["size"]
    return _copying(size, _seconds(params), lambda: memoryview(mmap.mmap(-1, size)))


def _ping_pong(ping: Callable[[], None], pong: Callable[[], None], seconds: float) -> float:
    """Median round trip in microseconds; ``pong`` runs in a forked child until it is killed."""
    child = os.fork()
    if child == 0:
        while True:
            pong()
    try:
        for _ in range(100):
            ping()
        return median_us(until(seconds, lambda: timed(ping), least=10))
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def _pipe(params: Params) -> float:
    there, back = os.pipe(), os.pipe()

    def ping() -> None:
        os.write(there[1], b"x")
        os.read(back[0], 1)

    def pong() -> None:
        os.write(back[1], os.read(there[0], 1))

    return _ping_pong(ping, pong, _seconds(params))


FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine())
FUTEX_WAIT, FUTEX_WAKE = 0, 1


def _futex(params: Params) -> float:
    """Two processes that sleep on one word in turn, without spinning. Includes ctypes."""
    if sys.platform != "linux" or FUTEX is None:
        raise Unsupported("no futex here")
    word = ctypes.c_int32.from_buffer(mmap.mmap(-1, mmap.PAGESIZE))
    address = ctypes.byref(word)
    syscall = ctypes.CDLL(None, use_errno=True).syscall

    def turn(mine: int) -> None:
        while word.value != mine:
            syscall(FUTEX, address, FUTEX_WAIT, 1 - mine, None, None, 0)

    def hand_over(mine: int) -> None:
        word.value = 1 - mine
        syscall(FUTEX, address, FUTEX_WAKE, 1, None, None, 0)

    def ping() -> None:
        hand_over(0)
        turn(0)

    def pong() -> None:
        turn(1)
        hand_over(1)

    return _ping_pong(ping, pong, _seconds(params))


def _fork(params: Params) -> float:
    """Milliseconds of ``fork``, ``_exit`` and ``waitpid``."""
    kept = bytearray(b"\1") * params.get("parent_bytes", 0)

    def once() -> None:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

    once()
    milliseconds = statistics.median(until(_seconds(params), lambda: timed(once), least=3)) * 1e3
    del kept
    return milliseconds


def _interpreter(params: Params) -> float:
    """Milliseconds of an interpreter that starts, does nothing and ends."""
    command = [sys.executable, "-c", "pass"]
    durations = until(
        _seconds(params), lambda: timed(lambda: subprocess.run(command, check=True)), least=3
    )
    return statistics.median(durations) * 1e3


LIMITS = {
    limit.name: limit
    for limit in (
        Limit("pickle", "pickle `dumps` + `loads`", _pickle),
        Limit("loop", "plain loop, one process", _plain_loop),
        Limit("memcpy", "copy into touched memory", _memcpy),
        Limit("memcpy_fresh", "copy into fresh pages", _memcpy_fresh),
        Limit("pipe", "pipe round trip", _pipe),
        Limit("futex", "futex round trip, sleeping", _futex),
        Limit("fork", "bare `fork` + `waitpid`", _fork),
        Limit("interpreter", "bare interpreter", _interpreter),
    )
}
