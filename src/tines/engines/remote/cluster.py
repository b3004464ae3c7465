"""The nodes of a context, and the processes on them.

They are started when the first of them is needed, and end with the program, or when that lets go of them.
"""

from __future__ import annotations

import _thread
import itertools
import os
import threading
import weakref
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING

from tines.engines.remote.borders import check_message
from tines.engines.remote.workers import RemoteWorker
from tines.errors import StartError
from tines.transport.pipe.across import AcrossTransport

if TYPE_CHECKING:
    from tines.engines.contract import NodeInfo
    from tines.engines.remote.engine import RemoteEngine
    from tines.engines.remote.frames import Terms

__all__ = ["Cluster"]

_LAST = -20
"""At the program's end: behind the processes, which are waited for, and what they have returned."""


class Cluster:
    """See the module.

    Args:
        engine: Has the nodes; for nothing else.
    """

    def __init__(self, engine: RemoteEngine) -> None:
        self._engine = engine
        self._lock = threading.RLock()
        self._numbers = itertools.count()
        self._running: dict[int, RemoteWorker] = {}
        self._finalize: Finalize | None = None
        self._over = False
        self._pid = os.getpid()

    def begin(self) -> None:
        """See that the nodes are there.

        Raises:
            StartError: they cannot be started, or are over.
        """
        if os.getpid() != self._pid:  # and the lock may be held by a thread that is not here
            raise StartError(
                "the nodes of this context belong to the process that made it: make another context here"
            )
        with self._lock:
            if self._over:
                raise StartError("the nodes of this context have ended: make another context")
            if self._finalize is None:
                self._finalize = Finalize(None, self._engine.end, exitpriority=_LAST)
                dropped = weakref.finalize(self, _end_apart, self._finalize)
                dropped.atexit = False
                try:
                    self._engine.begin()
                except BaseException:
                    self.end()
                    raise

    def end(self) -> None:
        """End the nodes, and what still runs there. Safe to call twice."""
        with self._lock:
            self._over = True
            if self._finalize is not None:
                self._finalize()

    def host(self) -> str:
        """Return by which address of this machine the nodes reach it.

        Raises:
            StartError: there are no nodes.
        """
        self.begin()
        return self._engine.host

    def transport(self) -> AcrossTransport:
        """Return what makes channels that all nodes reach.

        Raises:
            StartError: there are no nodes.
        """
        return AcrossTransport(self.host(), check_message)

    def nodes(self) -> tuple[NodeInfo, ...]:
        """Return the nodes, with the processes that run there."""
        self.begin()
        self._forget()
        return self._engine.nodes(list(self._running.values()))

    def run(self, terms: Terms, kind: int, data: bytes, buffers: list[bytes]) -> RemoteWorker:
        """Start a process on the node that has the fewest.

        Raises:
            StartError: there are no nodes.
            TransportError: none is left.
            Exception: what starting it raised there.
        """
        self.begin()
        self._forget()
        worker = self._engine.run(next(self._numbers), terms.name, (terms, kind, data, buffers))
        self._running[worker.slot] = worker
        return worker

    def _forget(self) -> None:
        for slot, worker in list(self._running.items()):
            if worker.exit is not None:
                self._running.pop(slot, None)


def _end_apart(end: Finalize) -> None:
    """End nodes that nobody refers to any more, in a thread of its own.

    Garbage is collected in any thread: in one that holds a lock which ending takes, or in the hub's.
    """
    _thread.start_new_thread(end, ())
