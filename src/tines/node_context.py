"""The context of an engine: its processes are started on nodes, its queues are reached by all of them.

``tines.get_context(engine="simulated:2")`` is one. Its nodes begin when the first process or queue is made,
and end with the program, by :meth:`NodeContext.close`, or at the end of ``with``. A pool has nodes of its
own, as every pool has. What lives in the memory of one machine is made here as always, for what runs on this
machine, and refused where it is sent to another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tines import engines
from tines._threads import check_interpreter
from tines.context import BaseContext
from tines.engines.remote import queues
from tines.engines.remote.cluster import Cluster
from tines.engines.remote.engine import RemoteEngine
from tines.engines.remote.processes import NodeProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import NoReturn

    from tines.engines.contract import NodeInfo
    from tines.pool import Pool
    from tines.process.base import ManagedProcess

__all__ = ["NodeContext"]


class NodeContext(BaseContext):
    """See the module.

    Args:
        engine: Says where the nodes are, as for :class:`tines.pool.Pool`.
        context: Says how processes are started there.

    Raises:
        ValueError: there is no such engine.
        TypeError: it is no engine, or one that has no nodes.
        ImportError: the engine's library is not installed.
    """

    def __init__(self, engine: object, context: BaseContext) -> None:
        made = engines.named(engine, context, None)
        if not isinstance(made, RemoteEngine):
            raise TypeError(
                f"engine={engine!r} has no nodes for processes: pass the name of an engine that has, such as "
                "'simulated:2'"
            )
        self._engine = engine
        self._inner = context
        self._name = context.get_start_method()
        self._cluster = Cluster(made)
        namespace = {"_cluster": self._cluster, "__doc__": NodeProcess.__doc__}
        self.Process: type[ManagedProcess] = type("NodeProcess", (NodeProcess,), namespace)  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} engine={self._engine!r}>"

    def nodes(self) -> tuple[NodeInfo, ...]:
        """Return the nodes of the processes, as ``Pool.nodes()`` does those of a pool."""
        return self._cluster.nodes()

    def close(self) -> None:
        """End the nodes, and with them the processes that still run there. Queues stay."""
        self._cluster.end()

    def __enter__(self) -> NodeContext:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def get_context(  # type: ignore[override]
        self, method: str | None = None, *, engine: object = None
    ) -> BaseContext:
        """Return the context of a start method on this machine, or of another engine; this one without."""
        if method is None and engine is None:
            return self
        return self._inner.get_context(method, engine=engine)

    def Queue(  # type: ignore[override]  # noqa: N802
        self, maxsize: int = 0, *, max_bytes: int = 0
    ) -> queues.Queue[Any]:
        """Return a queue for any processes on any nodes; the program has what is in it."""
        return queues.Queue(maxsize, max_bytes=max_bytes, ctx=self, transport=self._transport())

    def JoinableQueue(  # type: ignore[override]  # noqa: N802
        self, maxsize: int = 0, *, max_bytes: int = 0
    ) -> queues.JoinableQueue[Any]:
        """Return such a queue with ``task_done()`` and ``join()``."""
        return queues.JoinableQueue(
            maxsize, max_bytes=max_bytes, ctx=self, transport=self._transport()
        )

    def SimpleQueue(self) -> queues.SimpleQueue[Any]:  # type: ignore[override]  # noqa: N802
        """Return such a queue with ``put()``, ``get()`` and ``empty()`` only."""
        return queues.SimpleQueue(ctx=self, transport=self._transport())

    def _transport(self) -> Any:
        check_interpreter()
        return self._cluster.transport()

    def Pool(  # type: ignore[override]  # noqa: N802
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[object] = (),
        maxtasksperchild: int | None = None,
        **options: Any,
    ) -> Pool:
        """Return a pool on nodes of its own of this engine."""
        options.setdefault("engine", self._engine)
        return self._inner.Pool(processes, initializer, initargs, maxtasksperchild, **options)

    def Manager(self) -> Any:  # noqa: N802
        """Return a manager whose server runs on this machine and is reached by all nodes."""
        check_interpreter()
        from tines.managers import SyncManager

        manager = SyncManager((self._cluster.host(), 0), ctx=self._inner)
        manager.start()
        return manager

    def Value(self, *args: Any, **options: Any) -> Any:  # noqa: N802
        """Return a value for processes of this machine; towards a node it is refused."""
        return self._inner.Value(*args, **options)

    def Array(self, *args: Any, **options: Any) -> Any:  # noqa: N802
        """Return an array for processes of this machine; towards a node it is refused."""
        return self._inner.Array(*args, **options)

    def _refuse(self, *args: object, **options: object) -> NoReturn:
        """Refuse a primitive: those of tines live in the memory of one machine.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "locks, events, conditions, semaphores and barriers live in the memory of one machine, and this "
            f"context is for several: use those of a manager, as in get_context(engine={self._engine!r})"
            ".Manager().Lock(), which all nodes reach"
        )

    Lock: Any = _refuse
    RLock: Any = _refuse
    Condition: Any = _refuse
    Semaphore: Any = _refuse
    BoundedSemaphore: Any = _refuse
    Event: Any = _refuse
    Barrier: Any = _refuse
