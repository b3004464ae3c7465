"""An engine whose workers are on nodes: each has an agent, which starts workers and carries their messages.

Where agents run, and how they are started, is the business of a :class:`Placement`. It hands each agent
the address of this program and the pool's key; the agents call back. Everything from there on is the
same for all.
"""

from __future__ import annotations

import contextlib
import copy
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tines import _clock, _sockets
from tines.engines.contract import NodeInfo
from tines.engines.remote.borders import check
from tines.engines.remote.channel import RelayTransport
from tines.engines.remote.frames import Arguments, Receiver, Word, pack_word, send_all
from tines.engines.remote.handshake import new_key, set_up, verify
from tines.engines.remote.hosting import versions
from tines.engines.remote.hub import Hub
from tines.engines.remote.node import Node
from tines.engines.remote.workers import RemoteWorker
from tines.errors import NodeMismatchError, StartError, TransportError
from tines.process.lifecycle import launch
from tines.wire import pickling

if TYPE_CHECKING:
    from tines.engines.contract import Running
    from tines.transport.contract import Buffer, Transport

__all__ = ["JOIN_SECONDS", "Placement", "RemoteEngine"]

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


class RemoteEngine:
    """See the module, and :class:`tines.engines.contract.Engine`. It serves one pool.

    Args:
        placement: Starts agents.
        method: The start method that agents use for workers.
        here: The transport of this machine; the nodes use the one of that name as well.
        context: What the pool says its context is.
    """

    copies = False

    def __init__(self, placement: Placement, method: str, here: Transport, context: object) -> None:
        self.method = method
        self.warm = method != "spawn"
        self.context = context
        self._placement = placement
        self._here = here
        self._hub = Hub()
        self._transport: RelayTransport | None = None
        self._begun = False
        self._ended = False
        self._all: list[Node] = []
        self._streams: dict[Node, tuple[socket.socket, Receiver]] = {}

    def transport(self) -> Transport:
        """See the contract.

        Raises:
            ValueError: the engine serves a pool already.
        """
        if self._transport is not None:
            raise ValueError("this engine has a pool already: make another engine for another pool")
        self._transport = RelayTransport(self._hub, self._here, self._end)
        return self._transport

    def expect(self, modules: Iterable[str]) -> None:
        """See the contract: agents import what workers need anyway."""

    def watch(self) -> None:
        """See the contract: the agents watch."""

    def nodes(self, workers: Iterable[Running]) -> tuple[NodeInfo, ...]:
        """See the contract."""
        pids: dict[Node, list[int]] = {node: [] for node in self._all}
        for worker in workers:
            node = getattr(worker, "node", None)
            if isinstance(node, Node) and node.alive and worker.pid is not None:
                pids[node].append(worker.pid)
        return tuple(
            NodeInfo(
                node.name,
                node.address,
                node.pid,
                tuple(pids[node]),
                "alive" if node.alive else "lost",
            )
            for node in self._all
        )

    def start(
        self,
        name: str,
        target: Callable[..., object],
        args: tuple[Any, ...],
        environment: Mapping[str, str],
    ) -> RemoteWorker:
        """See the contract. What is started has to be a pool's worker."""
        if not self._begun:
            self._begin()
        (spec,) = args
        sent = copy.copy(spec)
        sent.tasks = sent.results = None  # the node's own take their places
        _, data, buffers = pickling.encode((name, target, sent, dict(environment)))
        data = bytes(data)
        check(data, buffers)
        beside = [bytes(buffer) for buffer in buffers]
        while True:
            worker = RemoteWorker(self._hub, spec.slot, f"{name}-{spec.slot}")
            try:
                answer = self._hub.place(worker, data, beside)
            except BaseException:
                worker.discard()
                raise
            if isinstance(answer, int):
                return worker
            worker.discard()
            if answer is not None:
                raise answer

    def _begin(self) -> None:
        """Start the agents, wait for them, and have them make ready."""
        self._begun = True
        transport = self._transport
        assert transport is not None
        main = launch.preparation("tines agent")
        main["authkey"] = bytes(main["authkey"])  # type: ignore[call-overload]  # it refuses to be pickled as it is
        key = new_key()
        with contextlib.closing(_sockets.new(socket.AF_INET)) as listener:
            listener.bind((self._placement.host(), 0))
            listener.listen(BACKLOG)
            self._placement.begin(listener.getsockname(), key)
            deadline = _clock.monotonic() + JOIN_SECONDS
            while len(self._streams) < self._placement.nodes:
                self._accept(listener, key, deadline)
        opening = pack_word(Word.OPEN, main, transport.slots, self.method, self._here.name)
        for sock, _ in self._streams.values():
            send_all(sock, opening)
        for node, (sock, receiver) in self._streams.items():
            sock.settimeout(max(0.001, deadline - _clock.monotonic()))
            (_, problem) = _one_word(node.name, receiver)
            if problem is not None:
                raise StartError(f"node {node.name} cannot be used: {problem}")
        self._hub.start(self._streams)

    def _accept(self, listener: socket.socket, key: bytes, deadline: float) -> None:
        """Take the next node that calls."""
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
            set_up(sock)
            verify(sock, key)
        except OSError:  # a stranger
            sock.close()
            return
        receiver = Receiver(sock, self._memory)
        (facts,) = _one_word("that has called", receiver)
        _check_versions(facts)
        node = Node(facts["name"], facts["address"], facts["pid"])
        self._all.append(node)
        self._streams[node] = sock, receiver

    def _memory(self, size: int) -> Buffer:
        """Return memory for a buffer that arrives."""
        return memory(self._here, size)

    def _end(self) -> None:
        """The pool is over."""
        if self._ended:
            return
        self._ended = True
        self._hub.end()
        for sock, _ in self._streams.values():
            sock.close()
        self._placement.end()


def memory(transport: Transport, size: int) -> Buffer:
    """Return memory in which a received buffer can stay."""
    with contextlib.suppress(MemoryError):
        block = transport.lend(size) if size else None
        if block is not None:
            block.yields = True
            return block
    return bytearray(size)


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
