"""Children do not outlive a parent that was killed.

Each process that starts children owns one pipe. It alone holds the write end; its children hold
the read end, which is also what ``parent_process()`` waits on. When the parent is gone, however it
went, the kernel closes the write end.

On Linux a child asks the kernel to send it ``SIGKILL`` at that moment (``F_SETSIG`` on the read
end). Neither a thread nor the GIL has a part in it, so a child that hangs in C code goes as well.
``PR_SET_PDEATHSIG`` would not do: it acts when the *thread* that forked the child ends, and under
a fork server the one that forked is not the parent. Elsewhere a daemon thread waits for the pipe.

Three things make it free of races:

* The child asks first and looks at the pipe afterwards, so a parent that died in between is seen.
* The write end is closed in every forked process by a hook of ``os.fork()``, so no sibling and no
  grandchild keeps it open. The hook and the making of the pipe exclude each other by a lock.
* Nothing is ever written into the pipe, so the only event on it is its end.

Each child opens the read end anew, through ``/proc``: the signal belongs to the open file, and an
inherited descriptor shares that with all the siblings.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading

if sys.platform != "win32":
    import fcntl

__all__ = ["bind_to_parent", "read_end"]

# Reentrant: a signal handler that forks may run in the middle of ``read_end``.
_lock = threading.RLock()
_pipe: tuple[int, int] | None = None

# Set in a process that is bound already.
_bound = False


def read_end() -> int:
    """Return the read end of this process's pipe, for a child to inherit."""
    global _pipe
    with _lock:
        if _pipe is None:
            _pipe = os.pipe()
        return _pipe[0]


def _after_fork_in_child() -> None:
    global _pipe, _bound
    _bound = False
    if _pipe is not None:
        # The read end stays: it may be what this process was handed to watch its parent by.
        os.close(_pipe[1])
        _pipe = None
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire,
        after_in_parent=_lock.release,
        after_in_child=_after_fork_in_child,
    )


def bind_to_parent(sentinel: int, *, group: bool = False) -> None:
    """End this process when its parent is gone. Called early in a child; once is enough.

    Args:
        sentinel: The read end of the parent's pipe (on Windows, the parent's handle).
        group: Kill the whole process group of the caller, not only the caller.
    """
    global _bound
    if _bound:
        return
    _bound = True
    if not _ask_for_signal(sentinel, group):
        threading.Thread(
            target=_wait_and_end, args=(sentinel, group), name="tines-liveness", daemon=True
        ).start()


def _ask_for_signal(sentinel: int, group: bool) -> bool:
    """Have the kernel kill this process at the pipe's end; False where it cannot."""
    if sys.platform != "linux":
        return False
    try:
        # O_NONBLOCK, or the open of a pipe whose writer is gone already would wait for one.
        fd = os.open(f"/proc/self/fd/{sentinel}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpgrp() if group else os.getpid())
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_RDONLY | os.O_NONBLOCK | os.O_ASYNC)
    except OSError:
        os.close(fd)
        return False
    # The new descriptor carries the signal and is never closed. The look is at the inherited
    # one: an end that was opened after the writer had gone does not report it.
    if _at_end(sentinel):
        _end(group)
    return True


def _at_end(sentinel: int) -> bool:
    poll = select.poll()
    poll.register(sentinel, select.POLLIN)
    return bool(poll.poll(0))


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
