"""A process that lives as long as a family does: the server of a manager.

A family is a process and all that descend from it by ``Process`` or ``fork()``. The server has the read
end of a pipe, and every process of the family the write end: whoever is forked inherits it, whoever
is started in another way is given it. So the pipe is at its end when nobody of the family is left,
however they went; the program may have become a daemon meanwhile, or its first process may be gone.

Servers leave the family that they serve, and any other: they hold no write end.
"""

from __future__ import annotations

import os
import select

from tines._threads import PlainThread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tines._std import Duplicate

__all__ = ["Line", "ends", "found", "join", "leave", "retire"]

_ends: set[int] = set()
"""The write ends that this process holds, one for each server of its family."""


class Line:
    """The server's end; pickles only while a process is started."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __reduce__(self) -> tuple[object, ...]:
        from multiprocessing.context import assert_spawning
        from multiprocessing.reduction import DupFd

        assert_spawning(self)
        return _open_in_child, (DupFd(self._fd),)

    def watch(self, at_end: Callable[[], object]) -> None:
        """Call ``at_end``, in a thread, when nobody of the family is left."""
        PlainThread(lambda: self._wait(at_end)).start()

    def _wait(self, at_end: Callable[[], object]) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.poll()
        at_end()

    def close(self) -> None:
        """Close it, where the server is not."""
        os.close(self._fd)


def _open_in_child(duplicate: Duplicate) -> Line:
    return Line(duplicate.detach())


def found() -> tuple[Line, int]:
    """Make a pipe for a server; this process, and whoever comes of it, is its family.

    Returns:
        The server's end, and the family's, for :func:`retire`.
    """
    read_end, write_end = os.pipe()
    _ends.add(write_end)
    return Line(read_end), write_end


def ends() -> list[int]:
    """Return what a child is to hold that does not inherit it by a fork."""
    return sorted(_ends)


def join(fds: Iterable[int]) -> None:
    """Be of the family, in a child that was given these by its parent."""
    for fd in fds:
        os.set_inheritable(fd, False)
        _ends.add(fd)


def retire(end: int) -> None:
    """Let go of a server that has ended."""
    if end in _ends:
        _ends.discard(end)
        os.close(end)


def leave() -> None:
    """Belong to no family: what a server does first."""
    while _ends:
        os.close(_ends.pop())
