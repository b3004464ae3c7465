"""A worker on a node, as the supervisor of a pool sees it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Protocol

from tines.engines.contract import Exit, Usage

if TYPE_CHECKING:
    from tines.engines.remote.looks import Look

__all__ = ["Messenger", "Place", "RemoteWorker"]


class Messenger(Protocol):
    """Who passes on to a worker's node what the pool asks of the worker: the hub."""

    def order(self, worker: RemoteWorker, order: bytes, /) -> bool:
        """Interrupt a worker."""

    def terminate(self, worker: RemoteWorker, /) -> None:
        """Ask a worker to end."""

    def kill(self, worker: RemoteWorker, /) -> None:
        """End a worker."""

    def look_at(self, slot: int, /) -> Look | None:
        """Return what the worker in a slot is doing now; ``None``: there is none."""


class Place(Protocol):
    """Where a worker is: a node."""

    @property
    def name(self) -> str:
        """What it is called."""


class RemoteWorker:
    """See :class:`tines.engines.contract.Running`.

    Attributes:
        slot: Its slot in the pool, by which its node knows it.
        node: Where it is.
        pid: Its process id there.
        name: Its name.
        was_ready: Whether it has said that it is ready.
        returned: What it has returned, if it is a process of the program's own.
    """

    def __init__(self, messenger: Messenger, slot: int, name: str) -> None:
        self._messenger = messenger
        self.slot = slot
        self.name = name
        self.node: Place | None = None
        self.pid: int | None = None
        self.was_ready = False
        self.returned: tuple[int, int, list[bytes]] | None = None
        self._exit: Exit | None = None
        self._lock = threading.Lock()
        self._reader, self._writer = os.pipe()

    @property
    def node_name(self) -> str | None:
        """See the contract."""
        return None if self.node is None else self.node.name

    @property
    def sentinel(self) -> int:
        """Readable once the worker has ended."""
        return self._reader

    @property
    def exit(self) -> Exit | None:
        """How it ended; ``None`` while it runs."""
        return self._exit

    def ended(self, exit: Exit, returned: tuple[int, int, list[bytes]] | None = None) -> None:
        """Note how it ended: all that it had sent was dealt with. The hub's thread."""
        with self._lock:
            if self._exit is None:
                self.returned = returned
                self._exit = exit
                if self._reader >= 0:
                    os.write(self._writer, b"x")

    @property
    def accounts(self) -> bool:
        """Whether it was lost with its node, and what may have begun there is on its account."""
        return self._exit is not None and bool(self._exit.dispatches)

    def interrupt(self, order: bytes) -> bool:
        """See the contract."""
        return self._messenger.order(self, order)

    def terminate(self) -> None:
        """See the contract."""
        self._messenger.terminate(self)

    def kill(self) -> None:
        """See the contract."""
        self._messenger.kill(self)

    def usage(self) -> Usage:
        """See the contract; ask its node."""
        look = self._messenger.look_at(self.slot)
        return Usage() if look is None else Usage(look.memory, look.cpu_seconds)

    def outcome(self) -> Exit:
        """See the contract."""
        self.discard()
        return self._exit or Exit(self.pid, None)

    def discard(self) -> None:
        """Close what it has here."""
        with self._lock:
            reader, self._reader = self._reader, -1
            if reader >= 0:
                os.close(reader)
                os.close(self._writer)

    # What programs look for in a process, by ``pool._pool``.

    @property
    def ident(self) -> int | None:
        """Its process id."""
        return self.pid

    @property
    def exitcode(self) -> int | None:
        """How it ended; ``None`` while it runs."""
        return None if self._exit is None else self._exit.exitcode

    def is_alive(self) -> bool:
        """Return whether it is not known to have ended."""
        return self._exit is None

    def __repr__(self) -> str:
        where = "" if self.node is None else f" on {self.node.name}"
        state = "" if self._exit is None else f" {self._exit.description}"
        return f"<{type(self).__name__} {self.name!r} pid={self.pid}{where}{state}>"
