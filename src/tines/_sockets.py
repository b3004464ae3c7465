"""Sockets of our own: they wait, whatever ``socket.setdefaulttimeout()`` says.

A program that sets a default timeout means its own connections. A new socket object takes it over all
the same, and its descriptor is switched to non-blocking with it, for every process that shares it. So
each socket of tines is made here, or has its timeout set right after it was made.
"""

from __future__ import annotations

import contextlib
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Buffer = bytes | bytearray | memoryview

__all__ = ["FLAGS", "Output", "adopt", "keep_alive", "new", "pair", "prepared", "send_fds"]

FLAGS: int = getattr(socket, "MSG_NOSIGNAL", 0)
"""For every write: SIGPIPE may have its default action, and a dead peer must not kill us."""

_NO_SIGNAL: int | None = None
"""Where writes have no such flag (macOS, whose number Python does not name), the option of sockets for it."""
if not FLAGS and sys.platform == "darwin":
    _NO_SIGNAL = getattr(socket, "SO_NOSIGPIPE", 0x1022)

_PIECES = 64
"""How many buffers are handed to the system at a time."""


def new(family: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Return a new socket that waits."""
    return prepared(socket.socket(family, kind))


def prepared(sock: socket.socket) -> socket.socket:
    """Have a socket that was made by other means wait, and not raise SIGPIPE; return it."""
    sock.settimeout(None)
    if _NO_SIGNAL is not None:
        # One whose peer has gone already takes no options; an accepted one has its listener's.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, _NO_SIGNAL, 1)
    return sock


def pair(kind: int = socket.SOCK_STREAM) -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets that wait, of the family that the system takes for that."""
    if kind == socket.SOCK_STREAM:
        ends = socket.socketpair()
    else:
        ends = socket.socketpair(socket.AF_UNIX, kind)
    return prepared(ends[0]), prepared(ends[1])


def keep_alive(sock: socket.socket) -> None:
    """Have a TCP connection send at once, and end if the other machine says nothing for some 5 seconds.

    It is the systems that ask each other then, so neither process has to be awake. They only ask while
    nothing is on its way; what was sent is repeated for as long as the system says.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle = "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"  # on macOS
    for name, value in ((idle, 2), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3)):
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def adopt(fd: int) -> socket.socket:
    """Return a socket that waits, for the descriptor of a local stream or datagram socket.

    Where that can be told, the descriptor does not become non-blocking for a moment, in which other
    processes that share it would find that they need not wait.
    """
    nonblocking = getattr(socket, "SOCK_NONBLOCK", 0)
    if nonblocking:
        # A socket made by hand as one that does not block is taken to be so already: nothing is set.
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | nonblocking, 0, fd)
    else:
        made = socket.socket(fileno=fd)
    return prepared(made)


def send_fds(sock: socket.socket, data: bytes, fds: Sequence[int]) -> None:
    """Send a short message with descriptors; as ``socket.send_fds``, which leaves out :data:`FLAGS`.

    Raises:
        OSError: whoever was there has gone.
    """
    import array

    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))], FLAGS)


class Output:
    """What is still to be written to a non-blocking or blocking stream socket."""

    def __init__(self) -> None:
        self._chunks: list[Buffer] = []

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def add(self, chunks: Iterable[Buffer]) -> None:
        """Append buffers; they are kept until they are written."""
        self._chunks.extend(chunks)

    def write(self, sock: socket.socket) -> None:
        """Write until nothing is left.

        Raises:
            BlockingIOError: the socket does not block and is full; call again when it is not.
            OSError: the connection is broken, or its timeout passed.
        """
        chunks = self._chunks
        while chunks:
            if len(chunks) > 1 and hasattr(sock, "sendmsg"):
                written = sock.sendmsg(chunks[:_PIECES], (), FLAGS)
            else:
                written = sock.send(chunks[0], FLAGS)
            done = 0
            while done < len(chunks) and written >= len(chunks[done]):
                written -= len(chunks[done])
                done += 1
            del chunks[:done]
            if written:
                chunks[0] = memoryview(chunks[0])[written:]
