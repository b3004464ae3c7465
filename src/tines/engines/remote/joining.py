"""How the agents of a placement become nodes: they call back, prove themselves, and are made ready.

Each makes two connections: its stream, which begins with what the node is, and its line (see
:mod:`tines.engines.remote.silence`), which says whose it is.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from tines import _clock, _sockets
from tines.engines.remote.frames import Arguments, Receiver, Word, pack_word, send_all
from tines.engines.remote.handshake import new_key, verify
from tines.engines.remote.hosting import versions
from tines.engines.remote.node import Node
from tines.engines.remote.streams import Stream
from tines.errors import NodeMismatchError, StartError, TransportError
from tines.process.lifecycle import launch

if TYPE_CHECKING:
    from tines.transport.contract import Buffer

__all__ = ["JOIN_SECONDS", "Joining", "Placement"]

JOIN_SECONDS = 60.0
"""How long nodes have to call back, and to import the main module."""

HANDSHAKE_SECONDS = 5.0

BACKLOG = 1024
"""How many nodes may call at once."""


class Placement(Protocol):
    """Where agents are."""

    nodes: int
    """How many it starts. Known when it has begun."""

    def host(self) -> str:
        """Return by which address of this machine the nodes reach it, connecting to the engine for that.

        Raises:
            StartError: the engine cannot be reached.
        """

    def begin(self, address: tuple[str, int], key: bytes) -> None:
        """Have agents started, each of which will connect to the address and know the key."""

    def failed(self) -> str | None:
        """Return why an agent will never call back; ``None`` while all may."""

    def end(self) -> None:
        """See that no agent is left; their streams have ended. Also if not all have begun."""


class Joining:
    """See the module.

    Args:
        placement: Starts agents.
        lend: Returns memory for a buffer that arrives.

    Attributes:
        streams: What leads to the nodes.
        host: By which address of this machine the nodes reach it. Known when they have joined.
    """

    host: str

    def __init__(self, placement: Placement, lend: Callable[[int], Buffer]) -> None:
        self._placement = placement
        self._lend = lend
        self._calling: dict[int, tuple[Node, socket.socket, Receiver]] = {}
        self.streams: dict[Node, Stream] = {}

    def join(self, *opening: object) -> None:
        """Start the agents, wait for them, and have them make ready.

        Args:
            opening: What comes with the word that opens a node, after what its main module is.

        Raises:
            StartError: not all agents came, or one cannot be used.
            TransportError: a node ended meanwhile.
        """
        main = launch.preparation("tines agent")
        main["authkey"] = bytes(main["authkey"])  # type: ignore[call-overload]  # it refuses to be pickled as it is
        key = new_key()
        with contextlib.closing(_sockets.new(socket.AF_INET)) as listener:
            self.host = self._placement.host()
            listener.bind((self.host, 0))
            listener.listen(BACKLOG)
            self._placement.begin(listener.getsockname(), key)
            deadline = _clock.monotonic() + JOIN_SECONDS
            while len(self.streams) < self._placement.nodes:
                self._accept(listener, key, deadline)
        word = pack_word(Word.OPEN, main, *opening)
        for stream in self.streams.values():
            send_all(stream.sock, word)
        for node, stream in self.streams.items():
            stream.sock.settimeout(max(0.001, deadline - _clock.monotonic()))
            (_, problem) = _one_word(node.name, stream.receiver)
            if problem is not None:
                raise StartError(f"node {node.name} cannot be used: {problem}")

    def close(self) -> None:
        """Close all connections."""
        for stream in self.streams.values():
            stream.close()
        for _, sock, _ in self._calling.values():
            sock.close()

    def _accept(self, listener: socket.socket, key: bytes, deadline: float) -> None:
        """Take the next connection of a node."""
        problem = self._placement.failed()
        if problem is None and _clock.passed(deadline):
            problem = f"they did not call back within {JOIN_SECONDS:g} s"
        if problem is not None:
            raise StartError(f"the nodes of the pool could not be started: {problem}")
        listener.settimeout(0.1)
        try:
            sock = _sockets.prepared(listener.accept()[0])
        except TimeoutError:
            return
        try:
            sock.settimeout(HANDSHAKE_SECONDS)
            _sockets.keep_alive(sock)
            verify(sock, key)
        except OSError:  # a stranger
            sock.close()
            return
        receiver = Receiver(sock, self._lend)
        (facts,) = _one_word("that has called", receiver)
        token = facts["token"]
        if token in self._calling:  # its second connection
            node, stream, receiver = self._calling.pop(token)
            self.streams[node] = Stream(stream, receiver, sock)
            return
        _check_versions(facts)
        node = Node(facts["name"], facts["address"], facts["pid"], token)
        self._calling[token] = node, sock, receiver


def _check_versions(facts: dict[str, Any]) -> None:
    here, there = versions(), facts["versions"]
    if here != there:
        differing = [each for each in here if here[each] != there.get(each)]
        raise NodeMismatchError(
            f"node {facts['name']} on {facts['address']} has "
            + " and ".join(f"{each} {there.get(each)}" for each in differing)
            + ", this program has "
            + " and ".join(f"{each} {here[each]}" for each in differing)
            + ": install the same versions"
        )


def _one_word(name: str, receiver: Receiver) -> Arguments:
    """Return the arguments of the next word of a node, which says nothing else now."""
    try:
        while not (frames := receiver.receive()):
            pass
    except (OSError, EOFError) as error:
        raise TransportError(f"node {name} ended before it could be used: {error}") from error
    word, *arguments = frames[0]
    assert word in (Word.HELLO, Word.ANSWER), word
    return tuple(arguments)
