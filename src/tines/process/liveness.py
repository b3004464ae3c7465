"""Who ends with its parent: pool workers, daemonic processes, and those that ask for it.

Each child has a pipe of its own to its parent, its lifeline. The parent alone holds the write end,
until the child has ended; the child holds the read end, which is also what ``parent_process()``
waits on. When the parent is gone, however it went, the kernel closes the write end. A child that is
bound to its parent then gets ``SIGTERM``, and a moment later ``SIGKILL``; any other goes on.

On Linux a child asks the kernel for a signal at that moment (``F_SETSIG`` on the read end). With the
native core that is a signal of our own, whose handler does the rest in C: neither a thread nor the
GIL has a part in it, so a child that hangs in C code goes as well. Without it, the signal is
``SIGTERM`` itself and a thread sees to the rest. Elsewhere a thread does both.
``PR_SET_PDEATHSIG`` would not do: it acts when the *thread* that forked the child ends, and under
a fork server the one that forked is not the parent.

Three things make it free of races:

* The child asks first and looks at the pipe afterwards, so a parent that died in between is seen.
* All write ends are closed in every forked process by a hook of ``os.fork()``, so no sibling and no
  grandchild keeps one open. The hook and the making of a pipe exclude each other by a lock. Nobody
  waits for that lock in a finalizer, which may run in a thread that somebody who forks waits for.
* Nothing is ever written into the pipe, so the only event on it is its end.

One pipe for all children would do with fewer descriptors. But the signal belongs to the open file,
so each child would have to open it anew through ``/proc``, which takes longer than all the rest.
"""

from __future__ import annotations

import collections
import errno
import multiprocessing.process as std
import os
import select
import signal
import sys
import threading

from tines import _clock
from tines._threads import PlainThread

if sys.platform != "win32":
    import fcntl

from tines._fork import Rank, at_fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "GRACE",
    "bind_to_parent",
    "cut",
    "enter",
    "is_told_by_kernel",
    "lifeline",
    "load_native",
]

GRACE = 1.0
"""Seconds from ``SIGTERM`` to ``SIGKILL``, for whoever ends with its parent; in the native core too."""

# Its private ``_children`` are what it joins at exit.
_std: Any = std

# Reentrant: a signal handler that forks may run in the middle of ``lifeline``.
_lock = threading.RLock()
_write_ends: set[int] = set()
# Ends that are to be closed, by whoever has the lock next.
_cut: collections.deque[int] = collections.deque()

# Set in a process that is bound already.
_bound = False


def lifeline() -> tuple[int, int]:
    """Make one for a child that is about to be started.

    Returns:
        The end for the child, and the end to keep until it has ended. Closing that one ends the
        child, if it is bound, so only :func:`cut` may do it.
    """
    with _lock:
        read_end, write_end = os.pipe()
        _write_ends.add(write_end)
    _close_cut()
    return read_end, write_end


def cut(write_end: int) -> None:
    """Close the parent's end, when the child has ended or was not started.

    Waits for no lock: a finalizer of the process calls it, wherever garbage is collected. Where another
    thread has the lock, for the moment of a fork, the end is closed by that thread as it lets go.
    """
    _cut.append(write_end)
    _close_cut()


def _close_cut() -> None:
    # Looks again after it has let go: what came while it had the lock was left to it.
    while _cut and _lock.acquire(blocking=False):
        try:
            write_end = _cut.popleft()
            if write_end in _write_ends:
                _write_ends.remove(write_end)
                os.close(write_end)
        except IndexError:
            return
        finally:
            _lock.release()


def _after_fork_in_child() -> None:
    global _bound
    _bound = False
    if _std._children:
        # A program that has forked by itself would try to join them at its end, and find that it cannot.
        _std._children = set()
    for write_end in _write_ends:
        os.close(write_end)
    _write_ends.clear()
    _cut.clear()
    _lock.release()


def _after_fork_in_parent() -> None:
    _lock.release()
    _close_cut()


at_fork(
    Rank.LIVENESS,
    before=_lock.acquire,
    parent=_after_fork_in_parent,
    child=_after_fork_in_child,
)


def enter(sentinel: int | None, bound: bool, own_group: bool) -> None:
    """Do first of all in a child what decides how it ends.

    Args:
        sentinel: As for :func:`bind_to_parent`; ``None`` if there is nothing to watch.
        bound: Whether this process ends with its parent.
        own_group: Lead a process group, which is ended as a whole.
    """
    if own_group and hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    if bound and sentinel is not None:
        bind_to_parent(sentinel, group=own_group)


def bind_to_parent(sentinel: int, *, group: bool = False) -> None:
    """End this process when its parent is gone. Called early in a child; once is enough.

    Args:
        sentinel: The child's end of its lifeline (on Windows, the parent's handle).
        group: End the whole process group of the caller, not only the caller.
    """
    global _bound
    if _bound:
        return
    _bound = True
    load_native()
    try:
        _end_with_parent(sentinel, group)
    except OSError:
        PlainThread(lambda: _end_at_end(sentinel, group, asked=False)).start()


def load_native() -> None:
    """Use the native core, where it is there, in this process and those that are forked from it.

    A parent that forks calls it before, so that each of its children need not.
    """
    global _end_with_parent, _looked
    if _looked:
        return
    _looked = True
    from tines._config import Native, native

    if sys.platform == "linux" and native() is not Native.OFF:
        try:
            from tines._native import end_with_parent
        except ImportError:
            return
        _end_with_parent = end_with_parent


_looked = False


def is_told_by_kernel() -> bool:
    """Whether the kernel can tell a process that its parent is gone: on Linux, but not in every sandbox."""
    if sys.platform != "linux":
        return False
    read_end, write_end = os.pipe()
    try:
        _have_kernel_tell(read_end, group=False)
        return bool(fcntl.fcntl(read_end, fcntl.F_GETFL) & os.O_ASYNC)
    except OSError:
        return False
    finally:
        os.close(read_end)  # first, else it would tell this process
        os.close(write_end)


def _have_kernel_tell(sentinel: int, group: bool) -> None:
    """Have the kernel send ``SIGTERM`` to this process, or its group, at the pipe's end.

    Raises:
        OSError: the kernel cannot do that here.
    """
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fcntl.fcntl(sentinel, fcntl.F_SETSIG, signal.SIGTERM)
    fcntl.fcntl(sentinel, fcntl.F_SETOWN, -os.getpgrp() if group else os.getpid())
    fcntl.fcntl(sentinel, fcntl.F_SETFL, os.O_RDONLY | os.O_ASYNC)


def _end_with_parent_in_python(sentinel: int, group: bool) -> None:
    """Have the kernel end this process, or its group, at the pipe's end.

    What ``SIGTERM`` does not end is left to a thread, which needs the GIL for it; and whoever is left
    of a group when its leader has ended at once is left alone.

    Raises:
        OSError: the kernel cannot do that here.
    """
    _have_kernel_tell(sentinel, group)
    poll = select.poll()
    poll.register(sentinel, select.POLLIN)
    if poll.poll(0):
        _send(signal.SIGKILL, group)  # nothing of the user's runs yet
    PlainThread(lambda: _end_at_end(sentinel, group, asked=True)).start()


_end_with_parent: Callable[[int, bool], None] = _end_with_parent_in_python


def _end_at_end(sentinel: int, group: bool, *, asked: bool) -> None:
    """Wait for the pipe's end, and end this process.

    Args:
        sentinel: As for :func:`bind_to_parent`.
        group: The whole group.
        asked: Whether the kernel sends ``SIGTERM``.
    """
    if sys.platform == "win32":
        from multiprocessing.connection import wait

        wait([sentinel])
        os._exit(1)
    poll = select.poll()
    poll.register(sentinel, select.POLLIN)
    poll.poll()
    if not asked:
        _send(signal.SIGTERM, group)
    _clock.sleep(GRACE)
    _send(signal.SIGKILL, group)


def _send(signum: int, group: bool) -> None:
    if group and os.getpgrp() == os.getpid():  # it may have left its group
        os.killpg(os.getpgrp(), signum)
    else:
        os.kill(os.getpid(), signum)
