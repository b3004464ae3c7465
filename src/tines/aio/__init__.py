"""Pools, queues and processes for asyncio: what would block is awaited instead.

Everything here is a front for the object of the same name in :mod:`tines`; no thread is made for a call.
The pool's collector hands results over through one ``Bridge`` for each event loop (``bridge.py``), which
wakes the loop once for as many results as have come. Queues and processes are waited for by their
descriptors, which the loop watches.

Objects may be used from several loops, one after another or in several threads at once; what is
awaited in a loop is delivered to that loop. Cancelling a task that awaits a call cancels the call.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tines.aio.pool import Pool, outcome
    from tines.aio.processes import Process
    from tines.aio.queues import Queue
    from tines.aio.stream import ResultIterator

__all__ = ["Pool", "Process", "Queue", "ResultIterator", "outcome"]

_HOMES = {
    "Pool": "pool",
    "Process": "processes",
    "Queue": "queues",
    "ResultIterator": "stream",
    "outcome": "pool",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
