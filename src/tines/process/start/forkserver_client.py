"""How a process reaches the fork server, and starts it when there is none.

All processes of a program that were started by the server, or forked from one that knows it, share
it: they hold the same end of one socket pair. Who holds it may ask; there is no address that a
stranger could connect to.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import os
import pickle
import socket
import struct
import sys
import threading

from tines import _sockets
from tines._fork import Rank, at_fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Variables = dict[str | bytes, str | bytes]

__all__ = [
    "EXIT_CODE",
    "HELLO",
    "MAX_FDS",
    "MESSAGE",
    "adopt",
    "ensure_running",
    "environment_changes",
    "inherited",
    "note_environment",
    "receive",
    "request",
    "stop",
]

MAX_FDS = 253
"""The most descriptors that one message can carry (``SCM_MAX_FD`` of Linux)."""

MESSAGE = struct.Struct("=cq")
"""What a client is told: one of the two kinds below, and a number."""

HELLO = b"h"
"""From a child that is about to run: its pid."""

EXIT_CODE = b"e"
"""From the server: how the child has ended. It comes first if the child did not get as far as its hello."""

_RETRIES = 3
_INT = array.array("i").itemsize


class _Client:
    """This process's way to the server. The lock guards all of it.

    It is held across forks too, and whenever an end of a socket exists that only a server or its
    child is to hold. A forked process would keep a copy, and hide from this one that they are dead.
    """

    def __init__(self) -> None:
        # Reentrant: a signal handler that forks may run in the middle of a start.
        self.lock = threading.RLock()
        self.socket: socket.socket | None = None
        # The server, and who started it, if that was this process.
        self.server: tuple[int, int] | None = None
        # What the server was born with, as its children know by inheritance; none without a server.
        self.environment: Variables | None = None
        # Servers that this process has started and uses no more; others may do so still.
        self.left: list[int] = []
        self.preload: Sequence[str] = ("__main__",)
        self.on_error = "warn"

    def connected(self, preloads: bool = True) -> socket.socket:
        """Return the socket; start a server first if there is none, which preloads or does not."""
        if self.socket is None:
            self.collect_left()
            if not preloads:
                print(
                    "tines: the fork server died each time, so the next one preloads nothing; its "
                    f"children will import the modules themselves ({', '.join(self.preload)}), which "
                    "is slower.",
                    file=sys.stderr,
                    flush=True,
                )
            note_environment()
            self.socket, pid = _start_server(self.preload, self.on_error, preloads)
            self.server = pid, os.getpid()
        return self.socket

    def disconnect(self) -> None:
        """Let go of the server."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        server, self.server = self.server, None
        if server is not None and server[1] == os.getpid():
            self.left.append(server[0])
        self.collect_left()

    def collect_left(self) -> None:
        """Collect the servers that have ended; nobody waits for one that others keep busy."""
        self.left = [pid for pid in self.left if not _has_ended(pid, os.WNOHANG)]


_client = _Client()
# Not among multiprocessing's finalizers: programs look at what a start adds to those.
atexit.register(_client.disconnect)
_inherited: Sequence[int] = ()


def _after_fork_in_child() -> None:
    _client.left.clear()
    _client.lock.release()


at_fork(
    Rank.FORK_SERVER,
    before=_client.lock.acquire,
    parent=_client.lock.release,
    child=_after_fork_in_child,
)


def set_preload(module_names: Sequence[str], on_error: str) -> None:
    """Say what servers that are started from now on import first."""
    if isinstance(module_names, str) or not all(type(name) is str for name in module_names):
        raise TypeError(f"module_names must be a list of strings, not {module_names!r}")
    if on_error not in ("warn", "ignore", "fail"):
        raise ValueError(f"on_error={on_error!r} is not known: use 'warn', 'ignore' or 'fail'")
    with _client.lock:
        _client.preload = tuple(module_names)
        _client.on_error = on_error


def adopt(client_fd: int, inherited_fds: Sequence[int]) -> None:
    """Take over, in a child of the server, the way to the server and the inherited descriptors."""
    global _inherited
    _client.socket = _sockets.adopt(client_fd)
    _inherited = inherited_fds


def note_environment() -> None:
    """Note the environment of this moment as the server's: in the server, and in who starts it."""
    _client.environment = dict(_variables())


def environment_changes() -> dict[str, str | None]:
    """Return what a child of the server has to change to have the environment of this process.

    Only what has changed since the server was born: what a preloaded module has set stays, as it
    would where the child had imported it. ``None`` stands for a variable that is to be removed.
    """
    before, now = _client.environment, _variables()
    if before is None or before == now:
        return {}
    changed = {name: value for name, value in dict(now).items() if before.get(name) != value}
    removed = [name for name in before if name not in now]
    return {
        **{os.fsdecode(name): os.fsdecode(value) for name, value in changed.items()},
        **dict.fromkeys(map(os.fsdecode, removed)),
    }


def _variables() -> Variables:
    """Return the variables of this process, not to be changed.

    The mapping behind ``os.environ``, which would take fifty times as long to compare: at each
    start. A program may have put something else in its place.
    """
    return getattr(os.environ, "_data", os.environ)  # type: ignore[arg-type]


def inherited(index: int) -> int:
    """Return a descriptor that this child was given at its start."""
    return _inherited[index]


def ensure_running() -> None:
    """Start the server, unless it runs; the first child need not wait for that then.

    Raises:
        OSError: it cannot be started.
    """
    with _client.lock:
        _client.connected()


def stop() -> None:
    """Let the server end, and wait until it has, which it does after its children.

    Never needed: it ends by itself when this program does. The next start makes a new one.
    """
    with _client.lock:
        _client.disconnect()
        left, _client.left = _client.left, []
    for pid in left:
        _has_ended(pid, 0)


def _has_ended(pid: int, flag: int) -> bool:
    try:
        return os.waitpid(pid, flag)[0] == pid
    except ChildProcessError:  # collected by somebody else
        return True


def request(
    payload_fd: int, liveness_fd: int, tracker_fd: int, fds: Sequence[int]
) -> tuple[int, int | None, int]:
    """Have the server start a child.

    Args:
        payload_fd: What it is to run (:func:`tines.process.lifecycle.launch.pack`).
        liveness_fd: What it watches its parent by.
        tracker_fd: The way to the resource tracker.
        fds: Further descriptors for the child.

    Returns:
        Its pid, a pidfd where the system has them, and where its exit code will come from.

    Raises:
        StartError: the server does not start, or its children die at once.
        ValueError: more descriptors than one message can carry.
    """
    if len(fds) + 5 > MAX_FDS:
        raise ValueError(f"a child can be given at most {MAX_FDS - 5} descriptors, not {len(fds)}")
    for attempt in range(_RETRIES):
        # What is preloaded may be what ends each server: the last one does without.
        preloads = attempt < _RETRIES - 1 or _client.on_error == "fail"
        status, way = _send_job(payload_fd, liveness_fd, tracker_fd, fds, preloads)
        message, given = receive(status, MESSAGE.size, 1)
        kind, number = MESSAGE.unpack(message) if message else (b"", 0)
        if kind == HELLO:
            return number, given[0] if given else None, status.detach()
        status.close()
        if kind == EXIT_CODE:
            continue  # the child was killed before it ran, and its server lives
        # Nobody has the other end any more: the server, or the child that took the job, was killed.
        with _client.lock:
            if _client.socket is way:
                _client.disconnect()
    from tines.errors import StartError

    raise StartError(
        f"the fork server could not start a child, in {_RETRIES} attempts: it says why on stderr"
    )


def _send_job(
    payload_fd: int, liveness_fd: int, tracker_fd: int, fds: Sequence[int], preloads: bool
) -> tuple[socket.socket, socket.socket]:
    """Ask for a child; return where its messages arrive, and the way to the server.

    If the server is dead, what arrives is the end.
    """
    with _client.lock:
        way = _client.connected(preloads)
        status, child_end = _sockets.pair()
        with child_end:
            passed = [payload_fd, liveness_fd, child_end.fileno(), tracker_fd, way.fileno()]
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                _sockets.send_fds(way, b"j", [*passed, *fds])
    return status, way


def _start_server(
    preload: Sequence[str], on_error: str, preloads: bool
) -> tuple[socket.socket, int]:
    from tines.process import shared_file
    from tines.process.lifecycle import launch
    from tines.process.start import interpreter

    preparation = launch.preparation("forkserver")
    # Not for a server: it logs nothing, and authenticates nobody.
    for key in ("name", "authkey", "log_to_stderr", "log_level"):
        preparation.pop(key, None)
    settings = {
        "preparation": preparation,
        "preload": preload,
        "on_error": on_error,
        "ready": launch.ready(),
    }
    settings_fd = shared_file.create("tines-forkserver")
    client, server = _sockets.pair()
    try:
        shared_file.write_message(settings_fd, [pickle.dumps(settings)])
        passed = server.fileno(), settings_fd
        arguments = *passed, preloads
        pid = interpreter.start("tines.process.start.forkserver", "main", arguments, passed)
    except BaseException:
        client.close()
        raise
    finally:
        server.close()
        os.close(settings_fd)
    return client, pid


def receive(source: socket.socket, size: int, count: int) -> tuple[bytes, list[int]]:
    """Receive up to ``size`` bytes and ``count`` descriptors, closed on exec.

    ``socket.recv_fds`` of many Python versions forgets its flags.
    """
    room = socket.CMSG_SPACE(count * _INT)
    data, ancillary, _, _ = source.recvmsg(size, room, getattr(socket, "MSG_CMSG_CLOEXEC", 0))
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % _INT])
    return data, list(fds)


def exit_code(status_fd: int) -> int | None:
    """Wait for the exit code of a child; ``None`` if the server was killed before it sent it."""
    try:
        data = os.read(status_fd, MESSAGE.size)
    except ConnectionResetError:
        return None
    return MESSAGE.unpack(data)[1] if data else None
