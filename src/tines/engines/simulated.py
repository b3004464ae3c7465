"""``simulated:N``: N nodes simulated on this machine, for tests and for trying things out.

Each is an agent in a process of its own, which shares neither memory nor descriptors with this program,
as if it were on another machine.
"""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

from tines.engines.names import count_in
from tines.engines.remote.engine import RemoteEngine
from tines.engines.remote.hosting import Agent

if TYPE_CHECKING:
    from tines.transport.contract import Transport

__all__ = ["SimulatedNodes", "engine"]


def engine(given: str, method: str, here: Transport, context: object) -> RemoteEngine:
    """Return the engine.

    Args:
        given: ``"simulated"``, which has two nodes, or ``"simulated:N"``.
        method: The start method for workers.
        here: The transport, here and there.
        context: What the pool says its context is.

    Raises:
        ValueError: N is not a whole number from 1 to 64.
        NotImplementedError: This system has no sockets that write several buffers at once (Windows).
    """
    if not hasattr(socket.socket, "sendmsg"):
        raise NotImplementedError(
            f"engine={given!r} does not work on {sys.platform} yet: leave engine= out"
        )
    return RemoteEngine(SimulatedNodes(count_in(given, 2)), method, here, context)


class SimulatedNodes:
    """See :class:`tines.engines.remote.engine.Placement`.

    Args:
        nodes: How many.
    """

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes
        self._agents: list[Agent] = []

    def host(self) -> str:
        """See the protocol."""
        return "127.0.0.1"

    def begin(self, address: tuple[str, int], key: bytes) -> None:
        """See the protocol."""
        for number in range(self.nodes):
            self._agents.append(Agent(address, key, f"simulated-{number}"))

    def failed(self) -> str | None:
        """See the protocol."""
        return next(filter(None, (agent.problem() for agent in self._agents)), None)

    def end(self) -> None:
        """See the protocol."""
        for agent in self._agents:
            agent.end()
        self._agents = []
