"""A box that a child writes into and its parent reads: the outcome, and the dump of a crash.

The box is one shared file (:mod:`tines.process.shared_file`), inherited by the child. It holds:

* from offset 0, what ``faulthandler`` writes there when the child crashes. It writes at the file's
  position, which parent and child share, so the parent knows how much there is.
* from ``_OUTCOME`` on, the outcome: one message, committed last. The room between is never
  touched and costs nothing.

So the outcome of a child that is killed right after handing it over is still there, and nothing
the child writes ever blocks.
"""

from __future__ import annotations

import faulthandler
import os
import sys

from tines.process import shared_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from tines._std import Duplicate

__all__ = ["Box"]

# Windows cannot hand an open file to a child, so there the box has a name. O_TEMPORARY has the file go with
# the last of those who have it open, also if all are killed; each of them has to open it so.
_BY_NAME = sys.platform == "win32"
_FLAGS = (
    os.O_RDWR
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOINHERIT", 0)
    | getattr(os, "O_TEMPORARY", 0)
)

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

            name = f"tines-process-{os.urandom(16).hex()}"
            self._path = os.path.join(tempfile.gettempdir(), name)
            self._fd = os.open(self._path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        else:
            self._fd = shared_file.create("tines-process")

    def __reduce__(self) -> tuple[object, ...]:
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
            if self._path is not None and not self._goes:
                self._unlink(self._path)

    # At the interpreter's end this module may be empty before the last box is gone.
    _close = staticmethod(os.close)
    _unlink = staticmethod(os.unlink)
    _goes = hasattr(os, "O_TEMPORARY")

    def __del__(self) -> None:
        self.close()

    # The child's side.

    def keep_crash(self) -> None:
        """Keep the dump of a crash of this process here, instead of writing it to stderr."""
        faulthandler.enable(file=self._fd, all_threads=True)

    def put_outcome(self, kind: int, parts: Sequence[object], *, failed: bool) -> None:
        """Hand over the outcome, once. Raises ``OSError`` if there is no memory left for it."""
        shared_file.write_message(self._fd, parts, kind=kind, flag=failed, at=_OUTCOME)

    # The parent's side.

    def outcome(self) -> tuple[int, int, list[memoryview]] | None:
        """Return ``(kind, failed, parts)``, or ``None`` if nothing was handed over."""
        return shared_file.read_message(self._fd, at=_OUTCOME)

    def dump(self) -> str | None:
        """Return what ``faulthandler`` has written."""
        if self._path is None:
            end = os.lseek(self._fd, 0, os.SEEK_CUR)
        else:  # then the position is the child's own
            end = os.fstat(self._fd).st_size
            if end >= _OUTCOME:
                end = 0
        return bytes(shared_file.read(self._fd, end, 0)).decode("utf-8", "replace") or None


def _open_by_name(path: str) -> Box:
    return Box(os.open(path, _FLAGS))


def _open_in_child(duplicate: Duplicate) -> Box:
    return Box(duplicate.detach())
