"""An engine whose workers are on nodes: each has an agent, which starts workers and carries their messages.

Where agents run, and how they are started, is the business of a :class:`Placement`. It hands each agent
the address of this program and the pool's key; the agents call back. Everything from there on is the
same for all.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tines.engines.contract import NodeInfo
from tines.engines.remote import silence
from tines.engines.remote.borders import check
from tines.engines.remote.channel import RelayTransport
from tines.engines.remote.frames import Word
from tines.engines.remote.hub import Hub
from tines.engines.remote.joining import Joining, Placement
from tines.engines.remote.node import Node
from tines.engines.remote.workers import RemoteWorker
from tines.wire import pickling

if TYPE_CHECKING:
    from tines.engines.contract import Running
    from tines.transport.contract import Buffer, Transport

__all__ = ["Placement", "RemoteEngine", "memory"]


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
        self._joining: Joining | None = None

    def transport(self) -> Transport:
        """See the contract.

        Raises:
            ValueError: the engine serves a pool already.
        """
        if self._transport is not None:
            raise ValueError("this engine has a pool already: make another engine for another pool")
        self._transport = RelayTransport(self._hub, self._here, self.end)
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
            self.begin()
        (spec,) = args
        sent = copy.copy(spec)
        sent.tasks = sent.results = None  # the node's own take their places
        _, data, buffers = pickling.encode((name, target, sent, dict(environment)))
        data = bytes(data)
        check(data, buffers)
        beside = [bytes(buffer) for buffer in buffers]
        return self._placed(spec.slot, name, (data, beside), Word.START)

    def run(self, number: int, name: str, what: tuple[object, ...]) -> RemoteWorker:
        """Start a process of the program's own; the engine serves no pool.

        Args:
            number: Of the process.
            name: What it is called.
            what: What its node is told: see :attr:`Word.RUN`.

        Raises:
            TransportError: there is no node any more.
            Exception: whatever starting it has raised there.
        """
        return self._placed(number, name, what, Word.RUN)

    def _placed(self, slot: int, name: str, what: tuple[object, ...], word: Word) -> RemoteWorker:
        while True:
            worker = RemoteWorker(self._hub, slot, f"{name}-{slot}")
            try:
                answer = self._hub.place(worker, what, word)
            except BaseException:
                worker.kill()
                worker.discard()
                raise
            if isinstance(answer, int):
                return worker
            worker.discard()
            if answer is not None:
                raise answer

    @property
    def host(self) -> str:
        """By which address of this machine the nodes reach it; known when it has begun."""
        assert self._joining is not None
        return self._joining.host

    def begin(self) -> None:
        """Have the nodes join. Once.

        Raises:
            StartError: they cannot be used.
        """
        self._begun = True
        slots = 0 if self._transport is None else self._transport.slots
        joining = self._joining = Joining(self._placement, self._memory)
        beat = silence.BEAT_SECONDS
        joining.join(slots, self.method, self._here.name, beat)
        self._all = list(joining.streams)
        self._hub.start(joining.streams, beat)

    def _memory(self, size: int) -> Buffer:
        """Return memory for a buffer that arrives."""
        return memory(self._here, size)

    def end(self) -> None:
        """End the nodes: the pool, or whatever they were for, is over."""
        if self._ended:
            return
        self._ended = True
        self._hub.end()
        if self._joining is not None:
            self._joining.close()
        self._placement.end()


def memory(transport: Transport, size: int) -> Buffer:
    """Return memory in which a received buffer can stay."""
    with contextlib.suppress(MemoryError):
        block = transport.lend(size) if size else None
        if block is not None:
            block.yields = True
            return block
    return bytearray(size)
