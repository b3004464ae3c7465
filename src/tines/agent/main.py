"""The beginning and the end of an agent.

The first line on standard input says whom to call and with which key. The agent lives as long as the
stream: when that ends, however the program went, it kills its workers and ends. If the agent is killed,
its workers end as any workers do whose parent is gone.

It does not touch what is the program's: Ctrl-C does not reach it, and nothing that it does is printed.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import signal
import socket
import sys

from tines import _sockets
from tines.agent.carrier import Carrier
from tines.agent.warden import Warden
from tines.engines.remote.frames import Word, pack_word, send_all
from tines.engines.remote.handshake import prove

__all__ = ["main"]

CALL_SECONDS = 30.0


def main() -> None:
    """Be an agent. What its process runs."""
    gc.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = sys.stdin.buffer.readline()
    if not line:
        os._exit(1)  # the program has gone before it could say anything
    told = json.loads(line)
    _forget_standard_input()
    sock = _sockets.new(socket.AF_INET)
    sock.settimeout(CALL_SECONDS)
    try:
        sock.connect(tuple(told["address"]))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        prove(sock, bytes.fromhex(told["key"]))
        facts = {"name": told["name"], "address": platform.node(), "pid": os.getpid()}
        sock.settimeout(None)
        send_all(sock, pack_word(Word.HELLO, facts))
    except OSError:
        os._exit(1)  # the program is gone, or does not want us
    warden = Warden(Carrier(sock))
    code = 1
    try:
        warden.run()
        code = 0
    finally:
        # No handler that the main module has left, and no thread to be waited for.
        os._exit(code)


def _forget_standard_input() -> None:
    """Have nothing on standard input, as the workers' parent would have."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
