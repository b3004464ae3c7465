"""Children do not outlive a parent that was killed.

Each child has a pipe of its own to its parent, its lifeline. The parent alone holds the write end,
until the child has ended; the child holds the read end, which is also what ``parent_process()``
waits on. When the parent is gone, however it went, the kernel closes the write end.

On Linux a child asks the kernel to send it ``SIGKILL`` at that moment (``F_SETSIG`` on the read
end). Neither a thread nor the GIL has a part in it, so a child that hangs in C code goes as well.
``PR_SET_PDEATHSIG`` would not do: it acts when the *thread* that forked the child ends, and under
a fork server the one that forked is not the parent. Elsewhere a daemon thread waits for the pipe.

Three things make it free of races:

* The child asks first and looks at the pipe afterwards, so a parent that died in between is seen.
* All write ends are closed in every forked process by a hook of ``os.fork()``, so no sibling and no
  grandchild keeps one open. The hook and the making of a pipe exclude each other by a lock.
* Nothing is ever written into the pipe, so the only event on it is its end.

One pipe for all children would do with fewer descriptors. But the signal belongs to the open file,
so each child would have to open it anew through ``/proc``, which takes longer than all the rest.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import threading

if sys.platform != "win32":
    import fcntl

from tines._fork import Rank, at_fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["bind_to_parent", "cut", "enter", "lifeline", "load_native"]

# Reentrant: a signal handler that forks may run in the middle of ``lifeline``.
_lock = threading.RLock()
_write_ends: set[int] = set()

# Set in a process that is bound already.
_bound = False


def lifeline() -> tuple[int, int]:
    """Make one for a child that is about to be started.

    Returns:
        The end for the child, and the end to keep until it has ended. Closing that one kills the
        child, so only :func:`cut` may do it.
    """
    with _lock:
        read_end, write_end = os.pipe()
        _write_ends.add(write_end)
    return read_end, write_end


def cut(write_end: int) -> None:
    """Close the parent's end, when the child has ended or was not started."""
    with _lock:
        if write_end in _write_ends:
            _write_ends.remove(write_end)
            os.close(write_end)


def _after_fork_in_child() -> None:
    global _bound
    _bound = False
    for write_end in _write_ends:
        os.close(write_end)
    _write_ends.clear()
    _lock.release()


at_fork(Rank.LIVENESS, before=_lock.acquire, parent=_lock.release, child=_after_fork_in_child)


def enter(sentinel: int | None, dies_with_parent: bool, own_group: bool) -> None:
    """Do first of all in a child what decides how it ends.

    Args:
        sentinel: As for :func:`bind_to_parent`; ``None`` if there is nothing to watch.
        dies_with_parent: Bind this process to its parent.
        own_group: Lead a process group, which is killed as a whole.
    """
    if own_group and hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    if dies_with_parent and sentinel is not None:
        bind_to_parent(sentinel, group=own_group)


def bind_to_parent(sentinel: int, *, group: bool = False) -> None:
    """End this process when its parent is gone. Called early in a child; once is enough.

    Args:
        sentinel: The child's end of its lifeline (on Windows, the parent's handle).
        group: Kill the whole process group of the caller, not only the caller.
    """
    global _bound
    if _bound:
        return
    _bound = True
    try:
        _kill_at_end(sentinel, group)
    except OSError:
        threading.Thread(
            target=_wait_and_end, args=(sentinel, group), name="tines-liveness", daemon=True
        ).start()


def load_native() -> None:
    """Use the native core in children that are forked from now on, where it is there.

    Called in the parent: a fresh interpreter would take longer to load it than it saves.
    """
    global _kill_at_end
    from tines._config import Native, native

    if sys.platform == "linux" and native() is not Native.OFF:
        try:
            from tines._native import kill_at_end
        except ImportError:
            return
        _kill_at_end = kill_at_end


def _kill_at_end_in_python(sentinel: int, group: bool) -> None:
    """Have the kernel kill this process at the pipe's end.

    Raises:
        OSError: it cannot do that here.
    """
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fcntl.fcntl(sentinel, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(sentinel, fcntl.F_SETOWN, -os.getpgrp() if group else os.getpid())
    fcntl.fcntl(sentinel, fcntl.F_SETFL, os.O_RDONLY | os.O_ASYNC)
    poll = select.poll()
    poll.register(sentinel, select.POLLIN)
    if poll.poll(0):
        _end(group)


_kill_at_end: Callable[[int, bool], None] = _kill_at_end_in_python


def _wait_and_end(sentinel: int, group: bool) -> None:
    from multiprocessing.connection import wait

    wait([sentinel])
    _end(group)


def _end(group: bool) -> None:
    if sys.platform == "win32":
        os._exit(1)
    if group:
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
