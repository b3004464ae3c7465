"""``simulated:N``: N nodes simulated on this machine, for tests and for trying things out.

Each is an agent in a process of its own, which shares neither memory nor descriptors with this program,
as if it were on another machine.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tines.engines.remote.engine import RemoteEngine
from tines.process.start import interpreter

if TYPE_CHECKING:
    from tines.transport.contract import Transport

__all__ = ["SimulatedNodes", "engine"]

END_SECONDS = 5.0
"""How long an agent may take to end when its stream has."""

MOST = 64


def engine(count: str, method: str, here: Transport, context: Any) -> RemoteEngine:
    """Return the engine.

    Args:
        count: How many nodes; two if empty.
        method: The start method for workers.
        here: The transport, here and there.
        context: What the pool says its context is.

    Raises:
        ValueError: ``count`` is not a whole number from 1 to :data:`MOST`.
        NotImplementedError: This system has no sockets that write several buffers at once (Windows).
    """
    if not hasattr(socket.socket, "sendmsg"):
        raise NotImplementedError(
            f"engine='simulated:{count}' does not work on {sys.platform} yet: leave engine= out"
        )
    if not (count or "2").isdecimal() or not 1 <= int(count or 2) <= MOST:
        raise ValueError(
            f"engine='simulated:{count}': say how many nodes, from 1 to {MOST}, as in 'simulated:2'"
        )
    return RemoteEngine(SimulatedNodes(int(count or 2)), method, here, context)


class SimulatedNodes:
    """See :class:`tines.engines.remote.engine.Placement`.

    Args:
        nodes: How many.
    """

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes
        self._agents: list[subprocess.Popen[bytes]] = []

    def begin(self, address: tuple[str, int], key: bytes) -> None:
        """See the protocol. What is secret goes through a pipe, and nobody sees it in a list of processes."""
        command = interpreter.command("tines.agent.main", "main")
        for number in range(self.nodes):
            told = {"address": address, "key": key.hex(), "name": f"simulated-{number}"}
            reader, writer = os.pipe()
            with open(reader, "rb") as stdin:
                # Before there is an agent that may end: nobody can be told by SIGPIPE that it has.
                with open(writer, "wb") as file:
                    file.write(json.dumps(told).encode() + b"\n")
                agent = subprocess.Popen(
                    command,
                    stdin=stdin,
                    # Ctrl-C is the program's business, not the nodes'.
                    start_new_session=sys.platform != "win32",
                )
            self._agents.append(agent)

    def failed(self) -> str | None:
        """See the protocol."""
        for agent in self._agents:
            code = agent.poll()
            if code is not None:
                return f"agent {agent.pid} ended with code {code}; what it printed says why"
        return None

    def end(self) -> None:
        """See the protocol."""
        for agent in self._agents:
            try:
                agent.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                agent.kill()
                agent.wait()
        self._agents = []
