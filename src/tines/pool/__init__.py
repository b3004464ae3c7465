"""Pools of worker processes; the names of ``multiprocessing.pool``.

Each name is imported on first use: a worker imports this package too, and needs next to none of it.

To read it, bottom-up; each room opens with a map of its own::

    options     what a pool and a call can be asked for
    scheduler/  every decision, as one state machine without clock, thread or process
    worker/     what runs in a worker, or travels to one
    events      what a pool tells of itself to whoever subscribes
    ports       what the parts of a pool ask of each other
    jobs/       what callers hold: results, maps, iterators
    runtime/    threads and effects: sending, collecting, watching over workers, the end
    progress    how calls are shown
    calls       how maps and iterators begin
    insides     names of the standard library's that programs reach for
    facade      ``Pool``: what can be asked of a pool, and when
    threadpool  ``ThreadPool``: the standard library's, and an instance of ``Pool``

A task's way: ``facade`` -> ``runtime/dispatcher`` -> ``worker/main`` -> ``runtime/collector`` ->
``runtime/arrivals`` -> ``jobs/result``.
"""

from __future__ import annotations

from tines._lazy import on_first_use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tines.pool.facade import Pool
    from tines.pool.jobs.imap import IMapIterator, IMapUnorderedIterator
    from tines.pool.jobs.map import MapResult
    from tines.pool.jobs.result import ApplyResult, AsyncResult
    from tines.pool.options import PoolOptions, TaskOptions
    from tines.pool.progress import watch
    from tines.pool.runtime.statistics import PoolStatistics, WorkerStatistics
    from tines.pool.threadpool import ThreadPool
    from tines.pool.worker.unsendable import MaybeEncodingError

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

_HOMES = {
    "ApplyResult": "tines.pool.jobs.result",
    "AsyncResult": "tines.pool.jobs.result",
    "IMapIterator": "tines.pool.jobs.imap",
    "IMapUnorderedIterator": "tines.pool.jobs.imap",
    "MapResult": "tines.pool.jobs.map",
    "MaybeEncodingError": "tines.pool.worker.unsendable",
    "Pool": "tines.pool.facade",
    "PoolOptions": "tines.pool.options",
    "PoolStatistics": "tines.pool.runtime.statistics",
    "RemoteTraceback": "tines.wire.tracebacks",
    "TaskOptions": "tines.pool.options",
    "ThreadPool": "tines.pool.threadpool",
    "WorkerStatistics": "tines.pool.runtime.statistics",
    "watch": "tines.pool.progress",
}

_ours, __dir__ = on_first_use(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return _ours(name)
    # ``from tines.pool import worker`` asks the package first, and is to find the submodule.
    from importlib.machinery import PathFinder

    if name.startswith("__") or PathFinder.find_spec(f"{__name__}.{name}", __path__):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # ``RUN``, ``mapstar`` and what else programs have found in the standard library's module.
    from tines._std import standard

    return getattr(standard("pool"), name)
