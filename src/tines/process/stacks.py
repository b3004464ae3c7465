"""The stacks of running children, asked for by a signal.

A process that starts children owns one file for what they answer, and so asks one of them at a
time. A child's handler of ``STACKS_SIGNAL`` is ``faulthandler``'s, which works in C code and
without the GIL, and writes at the file's position. Parent and children share that position, so the
parent knows where an answer begins.

A child that is stopped answers when it goes on, long after it was given up, and perhaps in the midst of
another's answer. So who still owes one is kept in mind; if one of those was heard meanwhile, the question
is asked again.

The first process of a program sets the same handler for itself: its forked children inherit it and
have nothing to do at their start. All others set it, for the file of their own parent.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading

from tines import _clock
from tines.process import shared_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tines._std import Duplicate

__all__ = [
    "FILE_NAME",
    "INTERVAL",
    "STACKS_SIGNAL",
    "Stacks",
    "blocking",
    "for_children",
    "has_ended",
    "inherits",
    "listens",
]

STACKS_SIGNAL: int | None = signal.SIGRTMAX - 7 if sys.platform == "linux" else None
"""The signal that asks a child for its stacks: a real-time one that is nobody's convention."""

FILE_NAME = "tines-stacks"
"""What the file is called in ``/proc/PID/fd``."""

INTERVAL = 0.03
"""Seconds between two looks. ``faulthandler`` tells nobody when it has finished; but while its handler
runs, the thread that it runs in blocks the signal."""

# Where the file is used from its beginning again.
_FULL = 32 * 1024 * 1024


class Stacks:
    """One file for stacks; pickles only while a process is started."""

    def __init__(self, fd: int | None = None) -> None:
        self._fd = shared_file.create(FILE_NAME) if fd is None else fd
        self._asking = threading.Lock()
        # Who was asked and had not answered when that was given up, with the threads that blocked the
        # signal before.
        self._owing: dict[int, set[int]] = {}

    def __reduce__(self) -> tuple[object, ...]:
        from multiprocessing.context import assert_spawning
        from multiprocessing.reduction import DupFd

        assert_spawning(self)
        return _open_in_child, (DupFd(self._fd),)

    def listen(self) -> None:
        """Have this process write its stacks here when it is asked; the last call counts."""
        global _listening
        _listening = self
        faulthandler.register(_signum(), file=self._fd, all_threads=True, chain=False)

    def close(self) -> None:
        """Let go of a file that nobody uses."""
        os.close(self._fd)

    def ask(self, pid: int, send: Callable[[int], None], timeout: float) -> str | None:
        """Send the signal and return the stacks, or ``None`` if none came in time.

        Args:
            pid: A child of this process.
            send: Sends it a signal.
            timeout: In seconds. A stopped child answers when it goes on.
        """
        deadline = _clock.monotonic() + timeout
        with self._asking:
            # Before the child listens, the signal would end it.
            while not listens(pid):
                if _clock.monotonic() >= deadline or has_ended(pid):
                    return None
                _clock.sleep(INTERVAL)
            while True:
                owing = self._still_owing()
                data = self._answer(pid, send, deadline)
                if self._still_owing() >= owing - {pid}:
                    return data.decode("utf-8", "replace") or None
                if _clock.passed(deadline):
                    return None

    def _answer(self, pid: int, send: Callable[[int], None], deadline: float) -> bytes:
        """Send the signal and return what is written until its handler is through, or time is up."""
        asked = pid in self._owing and _pending(pid)
        blocked = self._owing[pid] if asked else blocking(pid)
        self._owing[pid] = blocked
        start = size = self._begin()
        if not asked:  # or it would answer twice
            send(_signum())
        while _clock.monotonic() < deadline and not has_ended(pid):
            _clock.sleep(INTERVAL)
            size, before = self._position(), size
            if size == before > start and blocking(pid) <= blocked:
                del self._owing[pid]
                break
        return bytes(shared_file.read(self._fd, size - start, start))

    def _still_owing(self) -> set[int]:
        """Return who may yet write an answer that nobody waits for, or is at it."""
        for pid, blocked in list(self._owing.items()):
            if has_ended(pid) or not (_pending(pid) or blocking(pid) - blocked):
                del self._owing[pid]
        return set(self._owing)

    def _begin(self) -> int:
        if self._position() > _FULL:
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
        return self._position()

    def _position(self) -> int:
        """Return how far ``faulthandler`` has written."""
        return os.lseek(self._fd, 0, os.SEEK_CUR)


_listening: Stacks | None = None

# By pid, as a forked child has yet to make a file for its own children. Neither a lock nor a hook
# of ``os.fork()``: those would be one more thing for each child to do.
_children: dict[int, Stacks] = {}


def for_children() -> Stacks:
    """Return the file of this process's children; make it if there is none."""
    pid = os.getpid()
    found = _children.get(pid)
    if found is None:
        made = Stacks()
        found = _children.setdefault(pid, made)
        if found is not made:  # by another thread meanwhile
            made.close()
        elif _listening is None and signal.getsignal(_signum()) is signal.SIG_DFL:
            made.listen()  # unless the program has a handler of its own there
    return found


def inherits(stacks: Stacks | None) -> bool:
    """Whether a child forked from here listens already."""
    return stacks is None or stacks is _listening


def _signum() -> int:
    assert STACKS_SIGNAL is not None
    return STACKS_SIGNAL


def listens(pid: int) -> bool:
    """Whether a process has a handler for ``STACKS_SIGNAL``. Linux only."""
    return _has_signal(f"/proc/{pid}/status", b"SigCgt:")


def _pending(pid: int) -> bool:
    """Whether a process has yet to be given ``STACKS_SIGNAL``. Linux only."""
    status = f"/proc/{pid}/status"
    return _has_signal(status, b"ShdPnd:") or _has_signal(status, b"SigPnd:")


def blocking(pid: int) -> set[int]:
    """Return the threads of a process that block ``STACKS_SIGNAL``. Linux only.

    One that has not done so before is in the handler: it has begun to answer, and is not through.
    """
    found = set()
    try:
        for name in os.listdir(f"/proc/{pid}/task"):
            if _has_signal(f"/proc/{pid}/task/{name}/status", b"SigBlk:"):
                found.add(int(name))
    except OSError:
        pass  # it has ended
    return found


def has_ended(pid: int) -> bool:
    """Whether a process has ended, be it collected or not. Linux only."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return True


def _has_signal(path: str, field: bytes) -> bool:
    try:
        with open(path, "rb") as status:
            for line in status:
                if line.startswith(field):
                    return bool(int(line.split()[1], 16) >> (_signum() - 1) & 1)
    except OSError:
        pass
    return False


def _open_in_child(duplicate: Duplicate) -> Stacks:
    return Stacks(duplicate.detach())
