"""Pools of worker processes; the names of ``multiprocessing.pool``.

``ThreadPool`` is the standard library's. Each name is imported on first use: a worker imports this
package too, and needs next to none of it.
"""

from __future__ import annotations

from tines._lazy import on_first_use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.pool import ThreadPool
    from typing import Any

    from tines.pool.facade import Pool
    from tines.pool.failures import MaybeEncodingError
    from tines.pool.iterators import IMapIterator, IMapUnorderedIterator
    from tines.pool.maps import MapResult
    from tines.pool.options import PoolOptions, TaskOptions
    from tines.pool.results import ApplyResult, AsyncResult
    from tines.pool.shown import watch
    from tines.pool.statistics import PoolStatistics, WorkerStatistics
    from tines.transport.contract import Transport

__all__ = [
    "ApplyResult",
    "AsyncResult",
    "IMapIterator",
    "IMapUnorderedIterator",
    "MapResult",
    "MaybeEncodingError",
    "Pool",
    "PoolOptions",
    "PoolStatistics",
    "TaskOptions",
    "ThreadPool",
    "WorkerStatistics",
    "watch",
]

_ours, __dir__ = on_first_use(
    __name__,
    {
        "ApplyResult": "tines.pool.results",
        "AsyncResult": "tines.pool.results",
        "IMapIterator": "tines.pool.iterators",
        "IMapUnorderedIterator": "tines.pool.iterators",
        "MapResult": "tines.pool.maps",
        "MaybeEncodingError": "tines.pool.failures",
        "Pool": "tines.pool.facade",
        "PoolOptions": "tines.pool.options",
        "PoolStatistics": "tines.pool.statistics",
        "RemoteTraceback": "tines.wire.tracebacks",
        "TaskOptions": "tines.pool.options",
        "WorkerStatistics": "tines.pool.statistics",
        "watch": "tines.pool.shown",
    },
)

_STANDARD = frozenset(("ThreadPool", "TimeoutError"))


def needed_by_workers(transport: Transport) -> tuple[str, ...]:
    """Return the modules that a worker imports before its first task."""
    return (
        "tines.pool.worker",
        "tines.pool.startup",
        type(transport).__module__,
        "tines.engines.child",
        "tines.process.box",
    )


def __getattr__(name: str) -> Any:
    if name not in _STANDARD:
        return _ours(name)
    from tines._std import standard

    value = globals()[name] = getattr(standard("pool"), name)
    return value
