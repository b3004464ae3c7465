"""The way to a broker: where it listens, how it is reached, and who is let in.

On Linux the address is a name without a file, which goes with its owner however that ended. On other POSIX
systems it is a file in a folder that only this user may enter; on Windows a port of the loopback interface,
where the proof that both belong to the program has to do. For processes on other machines it is a port as
well, beside that, once a channel is made that they can use.
"""

from __future__ import annotations

import math
import os
import secrets
import shutil
import socket
import struct
import sys
import tempfile
from multiprocessing.util import Finalize

from tines import _clock, _sockets
from tines._pids import runs

__all__ = ["BACKLOG", "Address", "accept", "connect", "listen", "may_speak"]

Address = str | bytes | tuple[str, int]

# How many may connect before the thread comes to them: all workers of a large pool may come in the moment in
# which the owner is busy. Systems cut it down, to 128 on macOS and on Linux before 5.4.
BACKLOG = 4096

# For how long who is refused comes again, where that may mean that the backlog is full.
_KNOCKING_SECONDS = 5.0
_LONGEST_PAUSE = 0.02

# Bytes of an address that is a file: with the zero behind it 104 on macOS and the BSDs, 108 on Linux.
_LONGEST_PATH = 103

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


def listen(host: str | None = None) -> tuple[socket.socket, Address]:
    """Open a listener that leaves nothing behind when this process is killed, where that exists.

    Args:
        host: By which address other machines reach this one; ``None``: for this machine only.

    Raises:
        OSError: there can be none.
    """
    address: Address
    if host is not None:
        address = (host, 0)
        listener = _sockets.new(socket.AF_INET)
    elif sys.platform == "linux":
        address = f"\0tines-{os.getpid()}-{secrets.token_hex(8)}".encode()
        listener = _sockets.new(socket.AF_UNIX)
    elif hasattr(socket, "AF_UNIX") and os.name == "posix":
        address = os.path.join(_folder(), "broker")
        listener = _sockets.new(socket.AF_UNIX)
    else:
        address = ("127.0.0.1", 0)
        listener = _sockets.new(socket.AF_INET)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener, listener.getsockname() if isinstance(address, tuple) else address


def _folder() -> str:
    """Make a folder for an address, in a short place if that for temporary files has too long a name."""
    folder = tempfile.mkdtemp(prefix="tines-")
    if len(os.fsencode(os.path.join(folder, "broker"))) > _LONGEST_PATH:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="tines-", dir="/tmp")
    # A child of multiprocessing ends without atexit, but runs these.
    Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=-100)
    return folder


def connect(address: Address, pid: int, deadline: float) -> socket.socket:
    """Return a socket that is connected to the broker of process ``pid``.

    Where the backlog is full, Linux lets those wait who have no deadline and refuses the others at once;
    macOS and the BSDs refuse everybody, in the words that they have for an owner that is gone. No system
    tells when there is room again, so who is refused looks again after a moment.

    Raises:
        TimeoutError: not by the deadline.
        OSError: nobody is there.
    """
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    patience = _clock.monotonic() + _KNOCKING_SECONDS
    pause = 0.001
    while True:
        sock = _sockets.new(family)
        try:
            if deadline < math.inf:
                sock.settimeout(max(0.001, _clock.left(deadline) or 0.0))
            sock.connect(address)
            if family == socket.AF_INET:
                _sockets.keep_alive(sock)
            return sock
        except BlockingIOError:
            sock.close()
        except ConnectionRefusedError:
            sock.close()
            # A file stays when its owner is killed: without somebody who listens it refuses for good.
            if not isinstance(address, str) or not runs(pid) or _clock.passed(patience):
                raise
        except BaseException:
            sock.close()
            raise
        if _clock.passed(deadline):
            raise TimeoutError("the backlog was full until the deadline")
        _clock.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def accept(listener: socket.socket) -> socket.socket:
    """Return the socket of who came next, which does not block.

    Raises:
        BlockingIOError: nobody came.
        OSError: they cannot be let in now.
    """
    sock = _sockets.prepared(listener.accept()[0])
    sock.setblocking(False)
    if sock.family != getattr(socket, "AF_UNIX", None):
        _sockets.keep_alive(sock)
    return sock


def may_speak(sock: socket.socket) -> bool:
    """Whether who has connected is of this user, or root, or a child of ours that has changed its user.

    Where the system does not say, a folder keeps others out, or they have to be let in.
    """
    if not hasattr(socket, "SO_PEERCRED") or sock.family != socket.AF_UNIX:
        return True
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, user, _ = _CREDENTIALS.unpack(credentials)
    return user in (0, os.geteuid()) or _descends(pid)


def _descends(pid: int) -> bool:
    """Whether a process is a child of this one, or of a child."""
    own = os.getpid()
    for _ in range(100):
        if pid <= 1 or pid == own:
            break
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return False
    return pid == own
