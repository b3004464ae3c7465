"""Sockets of our own: they wait, whatever ``socket.setdefaulttimeout()`` says.

A program that sets a default timeout means its own connections. A new socket object takes it over all
the same, and its descriptor is switched to non-blocking with it, for every process that shares it. So
each socket of tines is made here, or has its timeout set right after it was made.
"""

from __future__ import annotations

import socket

__all__ = ["adopt", "new", "pair"]


def new(family: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Return a new socket that waits."""
    made = socket.socket(family, kind)
    made.settimeout(None)
    return made


def pair(kind: int = socket.SOCK_STREAM) -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets that wait, of the family that the system takes for that."""
    if kind == socket.SOCK_STREAM:
        ends = socket.socketpair()
    else:
        ends = socket.socketpair(socket.AF_UNIX, kind)
    for end in ends:
        end.settimeout(None)
    return ends


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
    made.settimeout(None)
    return made
