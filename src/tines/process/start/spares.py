"""Interpreters that are started in advance, for the ``spawn`` start method.

Most of the time that a spawned child takes goes by before it has heard what to do: the
interpreter starts, runs ``site`` and imports the standard library's machinery. A program that has
started two children will start more, so from then on up to ``LIMIT`` interpreters have that behind
them and wait.

What ``spawn`` means stays as it is: each child is a new process with an interpreter of its own,
used once. All that a child inherits at its start, though, a spare has inherited earlier. So each
carries a fingerprint of that: environment, executable, standard streams, limits, user, signal
dispositions, affinity, root directory and so on. A spare is used only if this process's is still
the same, and is thrown away if not.

A spare waits on a socket whose other end this process alone holds, and ends when that does.
``TINES_SPARES=0`` does without; so does a process that may use one core only, which it would slow
down, a system without pidfds, and a program that starts otherwise than by ``python -c``.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import os
import signal
import struct
import threading
from multiprocessing import spawn, util

from tines import _sockets
from tines._fork import Rank, at_fork
from tines.process.lifecycle import launch
from tines.process.start import forkserver_client, interpreter, popen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

__all__ = ["LIMIT", "expect", "replenish", "stop", "take"]

LIMIT = 2
"""How many wait at most: one would be the bottleneck of a program that starts without a pause."""

_STARTS_BEFORE = 2

_INHERITED = (
    b"Umask:",
    b"Uid:",
    b"Gid:",
    b"Groups:",
    b"NSpgid:",
    b"NSsid:",
    b"SigBlk:",
    b"SigIgn:",
    b"CapEff:",
    b"CapBnd:",
    b"NoNewPrivs:",
    b"Seccomp:",
    b"Cpus_allowed:",
    b"Mems_allowed:",
)

_util: ModuleType = util


class Spare:
    """One waiting interpreter: a child of this process."""

    def __init__(self, fingerprint: object) -> None:
        self.fingerprint = fingerprint
        self._socket, theirs = _sockets.pair()
        with theirs:
            # What is typed at the terminal is not for it, not even before it can see to that itself.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                arguments = theirs.fileno(), signal.SIGINT in before, *launch.ready()
                self.pid = interpreter.start(
                    "tines.process.start.child", "wait_for_job", arguments, [theirs.fileno()]
                )
            except OSError:
                self._socket.close()
                raise
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def give(self, arguments: tuple[int, int, int], fds: Sequence[int]) -> bool:
        """Say what to run; false if it cannot.

        Args:
            arguments: Descriptors, as for :func:`tines.process.start.child.spawn_main`.
            fds: Further descriptors, which must have the same numbers in the child.
        """
        everything = [*arguments, *fds]
        if len(everything) > forkserver_client.MAX_FDS:
            self.discard()
            return False
        job = struct.pack(f"={len(everything)}i", *everything)
        with self._socket:
            try:
                _sockets.send_fds(self._socket, job, everything)
            except OSError:
                self.discard()
                return False
        return True

    def forget(self) -> None:
        """Close, in a forked child, what belongs to its parent."""
        self._socket.close()

    def discard(self) -> None:
        """End it now.

        By its socket, where it may not be killed: a program that has changed its user.
        """
        self._socket.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


_lock = threading.RLock()
_spares: collections.deque[Spare] = collections.deque()
_starts = 0
_wanted: bool | None = None


def take() -> Spare | None:
    """Return a spare that is as a new interpreter would be now; the caller gives it a job.

    Raises:
        ValueError: ``TINES_SPARES`` is neither ``0`` nor ``1``.
    """
    with _lock:
        _decide()  # a wrong value is told before a child is started, not after
        if not _spares:
            return None
        now = _fingerprint()
        while _spares:
            spare = _spares.popleft()
            if spare.fingerprint == now:
                return spare
            spare.discard()
    return None


def expect() -> None:
    """Several children will be started soon: begin to start spares for them."""
    global _starts
    with _lock:
        _starts = max(_starts, _STARTS_BEFORE)
        replenish()


def replenish() -> None:
    """Note a start; begin to start spares, if more children are likely to follow.

    One that cannot be started is no error: the child that was started runs, and the next one will
    try for itself.
    """
    global _starts, _wanted
    with _lock:
        _starts += 1
        if _starts < _STARTS_BEFORE:
            return
        _decide()
        while _wanted and len(_spares) < LIMIT:
            fingerprint = _fingerprint()
            if fingerprint is None:
                _wanted = False
                return
            try:
                _spares.append(Spare(fingerprint))
            except OSError:
                return


def _decide() -> None:
    """Find out whether there should be any. Under the lock."""
    global _wanted
    if _wanted is not None:
        return
    from tines._config import Spares, available_cpus, spares

    asked_for = spares() is Spares.ON  # first, as a wrong value is an error on every machine
    can_be = popen.HAVE_PIDFD and interpreter.own_command_line()
    _wanted = asked_for and can_be and available_cpus() > 1
    if _wanted:
        # Not among multiprocessing's finalizers: programs look at what a start adds to those.
        atexit.register(stop)


def stop() -> None:
    """End all spares; none are started any more. Never needed: they end with this process."""
    global _wanted
    with _lock:
        _wanted = False
        while _spares:
            _spares.popleft().discard()


def _after_fork_in_child() -> None:
    global _starts, _wanted
    while _spares:
        _spares.popleft().forget()
    _starts, _wanted = 0, None
    _lock.release()


at_fork(Rank.SPARES, before=_lock.acquire, parent=_lock.release, child=_after_fork_in_child)


def _fingerprint() -> object:
    """Return everything a new interpreter would inherit, or ``None`` if that cannot be told."""
    import resource

    try:
        with open("/proc/thread-self/status", "rb") as status:
            inherited = [line for line in status if line.startswith(_INHERITED)]
    except OSError:
        return None
    streams: list[object] = []
    for fd in (0, 1, 2):
        try:
            stat = os.fstat(fd)
            streams.append((stat.st_dev, stat.st_ino, os.get_inheritable(fd)))
        except OSError:
            streams.append(None)
    root = os.stat("/")
    return (
        inherited,
        streams,
        (root.st_dev, root.st_ino),
        os.getpriority(os.PRIO_PROCESS, 0),
        [resource.getrlimit(getattr(resource, name)) for name in _limits(resource)],
        dict(os.environb),
        spawn.get_executable(),
        _util._args_from_interpreter_flags(),
    )


def _limits(resource: object) -> list[str]:
    return [name for name in dir(resource) if name.startswith("RLIMIT_")]
