"""How a program and a node make sure of each other, before anything is unpickled.

Each pool has a key of its own, which its engine hands to its nodes. Each side shows that it knows the
key, by an HMAC of random numbers from both, so nothing that was overheard can be used again. All
of it has a fixed length.
"""

from __future__ import annotations

import hmac
import os
import socket

from tines._sockets import FLAGS

__all__ = ["KEY_BYTES", "MAGIC", "new_key", "prove", "verify"]

MAGIC = b"tines-node-1\n"
"""What a stream begins with; the number is that of the protocol."""

KEY_BYTES = 32
_LOT = 32
_DIGEST = 32


def new_key() -> bytes:
    """Return a key."""
    return os.urandom(KEY_BYTES)


def verify(sock: socket.socket, key: bytes) -> None:
    """Be the program's side, on a socket with a timeout.

    Raises:
        PermissionError: the other side does not know the key.
        OSError: nobody is, or not in time.
    """
    mine = os.urandom(_LOT)
    sock.sendall(MAGIC + mine, FLAGS)
    answer = _exactly(sock, _LOT + _DIGEST)
    theirs, digest = answer[:_LOT], answer[_LOT:]
    if not hmac.compare_digest(digest, _digest(key, b"node", mine, theirs)):
        raise PermissionError("a node does not know the key of this pool")
    sock.sendall(_digest(key, b"program", mine, theirs), FLAGS)


def prove(sock: socket.socket, key: bytes) -> None:
    """Be the node's side; as :func:`verify`."""
    magic = _exactly(sock, len(MAGIC))
    if magic != MAGIC:
        raise PermissionError(
            "the other side is not a program with a pool, or speaks another version of the protocol"
        )
    theirs = _exactly(sock, _LOT)
    mine = os.urandom(_LOT)
    sock.sendall(mine + _digest(key, b"node", theirs, mine), FLAGS)
    digest = _exactly(sock, _DIGEST)
    if not hmac.compare_digest(digest, _digest(key, b"program", theirs, mine)):
        raise PermissionError("the program does not know the key of this pool")


def _digest(key: bytes, who: bytes, first: bytes, second: bytes) -> bytes:
    return hmac.digest(key, who + b"\0" + first + second, "sha256")


def _exactly(sock: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        piece = sock.recv(size - len(received))
        if not piece:
            raise ConnectionError("the stream ended before the other side was known")
        received += piece
    return received
