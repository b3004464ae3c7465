"""A box that each child writes into and its parent reads: stacks, crash dumps and the outcome.

The box is one shared file (:mod:`tines.process.shared_file`), inherited by the child. It holds:

* from offset 0, what ``faulthandler`` writes there: the stacks the parent asked for, or the dump of
  a crash. ``faulthandler`` appends at the file's position, which parent and child share, so the
  parent can set it back before it asks.
* from ``_OUTCOME`` on, the outcome: one message, committed last. The room between is never
  touched and costs nothing.

So the outcome of a child that is killed right after handing it over is still there, and nothing
the child writes ever blocks.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time

from tines.process import shared_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

__all__ = ["STACKS_SIGNAL", "Box", "listens"]

STACKS_SIGNAL: int | None = signal.SIGRTMAX - 7 if sys.platform == "linux" else None
"""The signal that asks a child for its stacks: a real-time one that is nobody's convention."""

# ``faulthandler`` tells nobody when it has finished: a dump is complete once this many seconds
# have added nothing to it.
_SETTLED = 0.03

# Windows cannot hand an open file to a child, so there the box has a name until it is closed.
_BY_NAME = sys.platform == "win32"

# One dump is at most 100 threads of 100 frames of 1,000 characters: 10 MB. The room costs nothing
# in a sparse file; Windows would fill it.
_OUTCOME = (1 if _BY_NAME else 64) * 1024 * 1024


class Box:
    """The parent's and the child's end of one box; pickles only while a process is started."""

    _fd = -1  # what ``__del__`` finds where no file could be made

    def __init__(self, fd: int | None = None) -> None:
        self._path: str | None = None
        if fd is not None:
            self._fd = fd
        elif _BY_NAME:
            import tempfile

            self._fd, self._path = tempfile.mkstemp(prefix="tines-process-")
        else:
            self._fd = shared_file.create("tines-process")
        self._seen = 0
        self._asking = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        from multiprocessing.context import assert_spawning

        assert_spawning(self)
        if self._path is not None:
            return _open_by_name, (self._path,)
        from multiprocessing.reduction import DupFd

        return _open_in_child, (DupFd(self._fd),)

    def close(self) -> None:
        """Let go of the file; what was read from it stays valid."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._close(fd)
            if self._path is not None:
                self._unlink(self._path)

    # At the interpreter's end this module may be empty before the last box is gone.
    _close = staticmethod(os.close)
    _unlink = staticmethod(os.unlink)

    def __del__(self) -> None:
        self.close()

    # The child's side.

    def install(self, *, crashes: bool) -> None:
        """Make this process write its stacks here when asked, and when it crashes.

        Args:
            crashes: Keep the dump of a crash here, instead of writing it to stderr.
        """
        if crashes:
            faulthandler.enable(file=self._fd, all_threads=True)
        elif not faulthandler.is_enabled():
            # By its number, which is also where the interpreter writes its last words.
            faulthandler.enable(file=2, all_threads=True)
        if STACKS_SIGNAL is not None:
            faulthandler.register(STACKS_SIGNAL, file=self._fd, all_threads=True, chain=False)

    def put_outcome(self, kind: int, parts: Sequence[Any], *, failed: bool) -> None:
        """Hand over the outcome, once. Raises ``OSError`` if there is no memory left for it."""
        shared_file.write_message(self._fd, parts, kind=kind, flag=failed, at=_OUTCOME)

    # The parent's side.

    def outcome(self) -> tuple[int, int, list[memoryview]] | None:
        """Return ``(kind, failed, parts)``, or ``None`` if nothing was handed over."""
        return shared_file.read_message(self._fd, at=_OUTCOME)

    def dump(self) -> str | None:
        """Return what ``faulthandler`` has written since stacks were last asked for."""
        return self._text(self._seen)

    def ask_for_stacks(self, pid: int, send: Callable[[int], None], timeout: float) -> str | None:
        """Send the signal and return the stacks, or ``None`` if none came in time.

        Args:
            pid: The child.
            send: Sends it a signal.
            timeout: In seconds. A stopped child answers when it goes on.
        """
        assert STACKS_SIGNAL is not None
        deadline = time.monotonic() + timeout
        with self._asking:
            # Before the child listens, the signal would end it.
            while not listens(pid):
                if time.monotonic() >= deadline:
                    return None
                time.sleep(_SETTLED)
            if self._position() > _OUTCOME // 2:
                os.lseek(self._fd, 0, os.SEEK_SET)
            start = size = self._position()
            send(STACKS_SIGNAL)
            while time.monotonic() < deadline:
                time.sleep(_SETTLED)
                size, before = self._position(), size
                if size == before > start:
                    break
            self._seen = size
            return self._text(start)

    def _position(self) -> int:
        """Return how far ``faulthandler`` has written."""
        return os.lseek(self._fd, 0, os.SEEK_CUR)

    def _text(self, start: int) -> str | None:
        end = self._position()
        if self._path is not None:  # then the position is the child's own
            size = os.fstat(self._fd).st_size
            end = size if size < _OUTCOME else start
        data = bytes(shared_file.read(self._fd, end - start, start))
        return data.decode("utf-8", "replace") or None


def listens(pid: int) -> bool:
    """Whether a process has a handler for ``STACKS_SIGNAL``. Linux only."""
    assert STACKS_SIGNAL is not None
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            for line in status:
                if line.startswith(b"SigCgt:"):
                    return bool(int(line.split()[1], 16) >> (STACKS_SIGNAL - 1) & 1)
    except OSError:
        pass
    return False


def _open_by_name(path: str) -> Box:
    return Box(os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0)))


def _open_in_child(duplicate: Any) -> Box:
    return Box(duplicate.detach())
