"""What an engine promises: it starts workers, says when they ended and how, and stops them.

An engine knows nothing of tasks: it runs ``target(*args)`` somewhere and watches over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tines._ready import Sentinel
    from tines.transport.contract import Transport

__all__ = ["Control", "Engine", "Exit", "NodeInfo", "Running", "Usage"]


@dataclass(frozen=True)
class Exit:
    """How a worker ended.

    Attributes:
        pid: Its process id.
        exitcode: As ``Process.exitcode``; negative for a signal.
        dump: The stacks it left when it crashed, if it did.
        out_of_memory: Whether the kernel killed it for memory.
        never_starts: Why no worker will ever start here; ``None``: another one may.
        description: All of that in words, as in "was killed by SIGKILL".
        node: The node that was lost, and the worker with it; ``None``: it ended by itself.
        dispatches: Tags of the messages that may have been begun on that node, on the account of all of
            its workers: one of them has them.
    """

    pid: int | None
    exitcode: int | None
    dump: str | None = None
    out_of_memory: bool = False
    never_starts: str | None = None
    description: str = "disappeared"
    node: str | None = None
    dispatches: tuple[int, ...] = ()


@dataclass(frozen=True)
class Usage:
    """What a worker costs at this moment; 0 where that cannot be known.

    Attributes:
        memory: Resident bytes of its own, without what it shares with others.
        cpu_seconds: Processor time it has used, for starting too.
    """

    memory: int = 0
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class NodeInfo:
    """A place where workers live, at this moment.

    Attributes:
        name: What it is called.
        address: Where it is; empty for this machine.
        pid: The process that starts its workers, there.
        workers: The process ids of its workers, there.
        state: ``"alive"`` or ``"lost"``.
    """

    name: str
    address: str
    pid: int
    workers: tuple[int, ...]
    state: str


class Control(Protocol):
    """The worker's end of what its orders arrive by."""

    def receive(self) -> bytes | None:
        """Return the next order, as it was given; ``None`` if there is none now. Never waits."""


class Running(Protocol):
    """A worker that was started. One thread uses it, except where noted."""

    pid: int | None

    @property
    def node_name(self) -> str | None:
        """The name of the node that it is on; ``None``: it is on this machine. Any thread."""

    @property
    def sentinel(self) -> Sentinel:
        """Something for ``multiprocessing.connection.wait``: ready once the worker has ended."""

    def interrupt(self, order: bytes) -> bool:
        """Give the worker an order and interrupt what it does; ``False``: not possible here."""

    def terminate(self) -> None:
        """Ask the worker, and whatever it started, to end; it is asked only once."""

    def kill(self) -> None:
        """End the worker, and whatever it started."""

    def usage(self) -> Usage:
        """Look what the worker costs. Any thread, also when it has just ended."""

    def outcome(self) -> Exit:
        """Reap a worker that has ended, and let go of everything that belonged to it."""


class Engine(Protocol):
    """A maker of workers.

    Attributes:
        method: How it makes them, in a word: the name of a start method, where it is one.
        copies: Whether workers begin as copies of this process: what it has in memory, they have too.
        warm: Whether workers begin with libraries that were loaded elsewhere.
    """

    method: str
    copies: bool
    warm: bool

    def transport(self) -> Transport:
        """Return what carries tasks and results to its workers, if a pool is given nothing else."""

    def expect(self, modules: Iterable[str]) -> None:
        """Workers will be started that import these modules before anything else."""

    def watch(self) -> None:
        """Whoever watches over the workers begins to, when the first have been started. Once."""

    def nodes(self, workers: Iterable[Running]) -> tuple[NodeInfo, ...]:
        """Return the nodes that there are, or were, and which of these workers are on them. Any thread."""

    def start(
        self,
        name: str,
        target: Callable[..., object],
        args: tuple[object, ...],
        environment: Mapping[str, str],
    ) -> Running:
        """Run ``target(control, *args)`` in a new worker.

        ``control`` is a :class:`Control`, where the orders of :meth:`Running.interrupt` arrive, or
        ``None``. The variables in ``environment`` are set as early as the engine can.

        Raises:
            Exception: whatever the start method raises where it cannot.
        """
