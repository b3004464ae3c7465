"""``ray``, ``ray:N`` or ``ray://host:port``: each node of a Ray cluster is a node.

Ray places the agents and holds their CPUs; it sees nothing of calls and results. Its client is not in this
program but in a process beside it (:mod:`tines.engines.ray_sidecar`): a client of Ray's ends its own process
when the head of the cluster has been gone for a minute, and brings threads that do not go with forks.

    program --lines--> sidecar, Ray's client --Ray--> actor --starts--> agent --calls back--> program

The lines are JSON: this side says :class:`Where` to connect to and then :class:`Place`, and each is
answered by what is sent back for it, or by an error. After that the sidecar speaks when an agent has
ended. It ends, with all actors, when its standard input does: so it ends with the program. That it has
ended itself changes nothing for nodes that are there: their streams decide.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tines import _clock
from tines._ready import ready_among
from tines.engines.names import count_in
from tines.engines.remote.engine import RemoteEngine
from tines.engines.remote.hosting import END_SECONDS, let_go_in_children
from tines.errors import StartError
from tines.process.start import interpreter

if TYPE_CHECKING:
    from tines.transport.contract import Transport

__all__ = ["Place", "RayNodes", "Where", "engine"]

CONNECT_SECONDS = 60.0
"""How long it may take to reach a cluster, or to start one."""

PLACE_SECONDS = 60.0
"""How long Ray may take until it has the CPUs for the agents, and has started them."""


@dataclass(frozen=True)
class Where:
    """The first line: which cluster.

    Attributes:
        address: As for ``ray.init``; ``None``: whichever it finds, or one of its own.
        seconds: How long that may take.
    """

    address: str | None
    seconds: float


@dataclass(frozen=True)
class Place:
    """The second line: start agents.

    Attributes:
        address: Where they call.
        key: The pool's, in hexadecimal digits.
        nodes: On how many nodes; 0: on all that are there.
        seconds: How long that may take.
    """

    address: tuple[str, int]
    key: str
    nodes: int
    seconds: float


def engine(given: str, method: str, here: Transport, context: Any) -> RemoteEngine:
    """Return the engine.

    Args:
        given: ``"ray"``, ``"ray:N"``, or the address of a Ray client server.
        method: The start method for workers.
        here: The transport, here and there.
        context: What the pool says its context is.

    Raises:
        ImportError: Ray is not installed.
        NotImplementedError: the cluster wants TLS.
        ValueError: it is no address, and no number of nodes.
    """
    if sys.modules.get("ray", find_spec) is None or find_spec("ray") is None:
        raise ImportError(f"engine={given!r} needs Ray: install it with pip install 'tines[ray]'")
    _, _, rest = given.partition(":")
    if not rest.startswith("//"):
        count_in(given, 1)
    elif not rest[2:].rpartition(":")[0] or not rest.rpartition(":")[2].isdecimal():
        raise ValueError(
            f"engine={given!r} is not the address of a Ray cluster: use one like 'ray://host:10001'"
        )
    if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
        raise NotImplementedError(
            "this Ray cluster uses TLS (RAY_USE_TLS), and the stream between a pool and its nodes is not "
            "encrypted yet: what TLS should keep from others would cross the network in the clear"
        )
    return RemoteEngine(RayNodes(given), method, here, context)


class RayNodes:
    """See :class:`tines.engines.remote.joining.Placement`.

    Args:
        given: As for :func:`engine`.
    """

    def __init__(self, given: str) -> None:
        self.nodes = 0
        self._given = given
        self._sidecar: Sidecar | None = None

    def host(self) -> str:
        """See the protocol."""
        address = self._given if self._given.startswith("ray://") else None
        self._sidecar = Sidecar()
        answer = self._ask(Where(address, CONNECT_SECONDS), CONNECT_SECONDS)
        return str(answer["host"])

    def begin(self, address: tuple[str, int], key: bytes) -> None:
        """See the protocol."""
        wanted = 0 if self._given.startswith("ray://") else count_in(self._given, 0)
        place = Place(address, key.hex(), wanted, PLACE_SECONDS)
        self.nodes = int(self._ask(place, PLACE_SECONDS)["nodes"])

    def failed(self) -> str | None:
        """See the protocol."""
        assert self._sidecar is not None
        try:
            said = self._sidecar.next(_clock.monotonic())
        except EOFError:
            return self._sidecar.end()
        return None if said is None else str(said.get("ended") or said.get("problem"))

    def end(self) -> None:
        """See the protocol. If Ray does not answer, the agents are ended by the ends of their streams."""
        if self._sidecar is not None:
            self._sidecar.end()

    def _ask(self, what: Where | Place, seconds: float) -> dict[str, Any]:
        """Return what the sidecar answers.

        Raises:
            StartError: what it could not do.
        """
        assert self._sidecar is not None
        try:
            self._sidecar.say(what)
            # It watches the time itself, and says more.
            answer = self._sidecar.next(_clock.monotonic() + seconds + END_SECONDS)
            problem = f"no answer in {seconds:g} s" if answer is None else answer.get("problem")
        except (OSError, EOFError):
            answer, problem = None, self._sidecar.end()
        if answer is None or problem is not None:
            raise StartError(f"Ray cannot be used by engine={self._given!r}: {problem}")
        return answer


class Sidecar:
    """The process that is Ray's client."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            interpreter.command("tines.engines.ray_sidecar", "main"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=sys.platform != "win32",  # Ctrl-C is the program's business
        )
        self._unread = b""
        let_go_in_children(self)

    def say(self, what: Where | Place) -> None:
        """Send a line.

        Raises:
            OSError: it has ended.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(dataclasses.asdict(what)).encode() + b"\n")

    def next(self, deadline: float) -> dict[str, Any] | None:
        """Return the next that it says; ``None``: nothing until then.

        Raises:
            EOFError: it has ended.
        """
        assert self._process.stdout is not None
        while b"\n" not in self._unread:
            if not ready_among([self._process.stdout.fileno()], deadline):
                return None
            arrived = self._process.stdout.read(65536)
            if not arrived:
                raise EOFError("the process that is Ray's client has ended")
            self._unread += arrived
        line, _, self._unread = self._unread.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        return said

    def let_go(self) -> None:
        """Have it end, without waiting for that."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def end(self) -> str:
        """See that it is gone; return how it ended."""
        self.let_go()
        try:
            # It gives agents as long to end, and Ray some time.
            self._process.wait(2 * END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        code = self._process.returncode
        return f"its client, process {self._process.pid}, ended with code {code}"
