"""What the ``Popen`` classes of the three start methods share: waiting for a child, signalling it.

Where the system has pidfds (Linux 5.3), the sentinel of a child is one. It becomes readable when
that child ends and at no other time; the standard library's, the end of a pipe, stays silent for
as long as any grandchild has inherited the other end. Signals go through it too, so they never
reach a stranger that was given the child's number.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(
        "fork, forkserver and spare interpreters need POSIX: on Windows, processes are started by spawn"
    )

import contextlib
import multiprocessing.popen_fork as std
import multiprocessing.util as util
import os
import signal
import threading

from tines import _clock, _watchers
from tines._ready import ready_among
from tines.process import liveness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tines.process.lifecycle.contract import Launchable

__all__ = ["HAVE_PIDFD", "UNKNOWN", "Popen", "ready", "release"]

UNKNOWN = 255
"""Exit code of a child whose status somebody else collected, as in the standard library."""


def _have_pidfd() -> bool:
    # Tried out, as an old kernel or a container's filter may refuse.
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


HAVE_PIDFD = sys.platform == "linux" and _have_pidfd()


def ready(fd: int, timeout: float | None) -> bool:
    """Wait until a descriptor is readable or at its end."""
    return bool(ready_among((fd,), _clock.deadline_after(timeout)))


def _at_end() -> int:
    """Return a descriptor that is ready for good: the sentinel of a child that has ended."""
    sentinel, other = os.pipe()
    os.close(other)
    return sentinel


def notice_death(pid: int) -> None:
    """Tell the transport, if one was made, that this child is known to be dead."""
    transport = sys.modules.get("tines.transport")
    if transport is not None and transport.choice.cache_info().currsize:
        transport.chosen().reap(pid)


def release(lifeline: int, *fds: int) -> None:
    """Give back what was held for a child that has ended."""
    liveness.cut(lifeline)
    for fd in fds:
        os.close(fd)


class Popen(std.Popen):
    """A child that this process started. Subclasses launch it: they set ``pid`` and watch it."""

    pid: int
    sentinel: int
    returncode: int | None
    _has_pidfd = False

    def __init__(self, process_obj: Launchable) -> None:
        # Two threads may look at one child; its status can be collected once. One of them may wait for
        # it, under a lock of its own; the other lock may be taken under that. Reentrant, as a handler of
        # SIGCHLD may look as well.
        self._collecting = threading.RLock()
        self._awaiting = threading.RLock()
        self._awaits = False
        self._owner = os.getpid()
        self._signals_group = process_obj.own_group
        super().__init__(process_obj)  # type: ignore[arg-type]

    def _watch(self, lifeline: int, sentinel: int | None = None) -> None:
        """Set ``sentinel`` for the child just made: ``sentinel`` itself, or else a pidfd.

        Args:
            lifeline: This process's end, to be cut when the child has ended.
            sentinel: Readable when the child has ended.

        Raises:
            OSError: no descriptor is left. The child is gone again: what cannot be watched must
                not run.
        """
        self._has_pidfd = sentinel is None
        try:
            self.sentinel = os.pidfd_open(self.pid) if sentinel is None else sentinel
        except ProcessLookupError:
            # It has ended, and was collected by somebody else: a handler of SIGCHLD, or the kernel.
            self.sentinel = _at_end()
            self._ended(UNKNOWN)
        except OSError:
            self._give_up()
            raise
        self.finalizer = util.Finalize(self, release, (lifeline, self.sentinel))

    def _give_up(self) -> None:
        """End the child just made, which cannot be watched."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """Return the exit code, or ``None`` while the child runs."""
        return self.wait(0 if flag == os.WNOHANG else None)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end of the child; return its exit code, or ``None`` if it still runs."""
        if self.returncode is None and self._owner == os.getpid():
            at_once = timeout is not None and timeout <= 0
            if at_once:
                with self._collecting:
                    self._collect()
            if self.returncode is None and self._is_over(timeout, at_once):
                with self._awaiting:
                    self._await()
        return self.returncode

    def _is_over(self, timeout: float | None, at_once: bool) -> bool:
        """Wait for the sentinel, at most so long; whether the child has ended, so that it has a status.

        Where the sentinel is the end of a pipe, that comes a moment before the status, or long before
        it, if the child closes what it has inherited: then a look is no reason to wait.
        """
        if self._has_pidfd:
            return ready(self.sentinel, timeout)
        return not at_once and (timeout is None or ready(self.sentinel, timeout))

    def _collect(self) -> None:
        """Collect the status if it is there."""
        if self.returncode is not None:
            return
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            # Collected by somebody else's wait(), or by the kernel under SIGCHLD = SIG_IGN; or by a
            # thread of ours that is about to say so.
            if not self._awaits:
                self._ended(UNKNOWN)
        else:
            if pid:
                self._ended(os.waitstatus_to_exitcode(status))

    def _await(self) -> None:
        """Wait for the status.

        Not only look for it: what stands for ``os.waitpid`` under gevent may have collected it, and
        say so no sooner than it gets the time.
        """
        if self.returncode is not None:
            return
        self._awaits = True
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            with self._collecting:
                self._ended(UNKNOWN)  # unless a thread of ours has just found it
        else:
            self._ended(os.waitstatus_to_exitcode(status))
        finally:
            self._awaits = False

    def _ended(self, returncode: int) -> None:
        if self.returncode == UNKNOWN:
            self.returncode = returncode  # a signal handler looked when it had just been collected
        elif self.returncode is None:
            self.returncode = returncode
            notice_death(self.pid)
            if _watchers.processes is not None:
                _watchers.processes.ended(self.pid, returncode)

    def send_signal(self, signum: int) -> None:
        """Send a signal to the child alone, unless it has ended."""
        if self.returncode is not None or self._owner != os.getpid():
            return
        try:
            if self._has_pidfd:
                signal.pidfd_send_signal(self.sentinel, signum)
                return
        except ProcessLookupError:
            return
        except (AttributeError, OSError):
            pass  # an old sandbox, or an interpreter built for older systems, knows nothing of it
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signum)

    def _send_signal(self, signum: int) -> None:
        if self._signals_group and self.returncode is None:
            try:
                os.killpg(self.pid, signum)
                return
            except (ProcessLookupError, PermissionError):
                pass  # it has not come as far as making its group
        self.send_signal(signum)

    def interrupt(self) -> None:
        """Send ``SIGINT``."""
        self._send_signal(signal.SIGINT)
