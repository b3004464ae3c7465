"""The beginning and the end of an agent.

The first line on standard input says whom to call and with which key. The agent lives as long as all of
its lines: its connections, which end with the program or its machine, and standard input, which ends with
the process that has started the agent. When one does, the agent kills its workers and ends. If the agent is
killed, its workers end as any workers do whose parent is gone. If it stands still, it is killed (``pulse``).

It does not touch what is the program's: Ctrl-C does not reach it, and nothing that it does is printed.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import platform
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from tines import _sockets
from tines._fork import Rank, at_fork
from tines.agent.carrier import Carrier
from tines.agent.warden import Warden
from tines.engines.names import VARIABLE
from tines.engines.remote.frames import Word, pack_word, send_all
from tines.engines.remote.handshake import prove
from tines.engines.remote.hosting import UNREACHABLE, versions
from tines.transport.pipe.connection import NODE

__all__ = ["main"]

CALL_SECONDS = 30.0


def main() -> None:
    """Be an agent. What its process runs."""
    gc.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    first = sys.stdin.buffer.readline()
    if not first:
        os._exit(1)  # it has gone before it could say anything
    told = json.loads(first)
    os.environ.pop(VARIABLE, None)  # a pool that a call makes is on the machine where it was made
    sock = _sockets.new(socket.AF_INET)
    warden = Warden(Carrier(sock))
    line_to_host = _take_standard_input()
    threading.Thread(
        target=_watch, args=(line_to_host, warden.leave), name="tines agent host", daemon=True
    ).start()
    line = _sockets.new(socket.AF_INET)
    at_fork(Rank.NODES, child=line.close)
    _call(sock, line, told)
    threading.Thread(
        target=_watch, args=(line.fileno(), warden.leave), name="tines agent line", daemon=True
    ).start()
    code = 1
    try:
        warden.run()
        code = 0
    finally:
        # No handler that the main module has left, and no thread to be waited for.
        os._exit(code)


def _call(stream: socket.socket, line: socket.socket, told: dict[str, Any]) -> None:
    """Become known to the program by two connections, or end."""
    token = secrets.randbits(62) | 1
    facts = {
        "name": told["name"],
        "address": platform.node(),
        "pid": os.getpid(),
        "versions": versions(),
        "token": token,
    }
    os.environ[NODE] = str(token)
    for sock in (stream, line):
        sock.settimeout(CALL_SECONDS)
        try:
            sock.connect(tuple(told["address"]))
        except OSError:
            os._exit(UNREACHABLE)
        try:
            _sockets.keep_alive(sock)
            prove(sock, bytes.fromhex(told["key"]))
            sock.settimeout(None)
            send_all(sock, pack_word(Word.HELLO, facts))
        except OSError:
            os._exit(1)  # the program is gone, or does not want us


def _take_standard_input() -> int:
    """Have nothing on standard input, as the workers' parent would have; return what was there."""
    taken = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return taken


def _watch(line: int, leave: Callable[[], object]) -> None:
    """Leave when the line ends, as whoever is at the other end is gone or wants that."""
    with contextlib.suppress(OSError):  # the system has given up the other machine
        while os.read(line, 4096):
            pass
    leave()
