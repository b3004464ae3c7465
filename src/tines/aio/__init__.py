"""Pools, queues and processes for asyncio: what would block is awaited instead.

Everything here is a front for the object of the same name in :mod:`tines`; no thread is made for a call.
The pool's collector hands results over through one ``Bridge`` for each event loop (``bridge.py``), which
wakes the loop once for as many results as have come. Queues and processes are waited for by their
descriptors, which the loop watches.

Objects may be used from several loops, one after another or in several threads at once; what is
awaited in a loop is delivered to that loop. Cancelling a task that awaits a call cancels the call.
"""

from __future__ import annotations

from tines._lazy import on_first_use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tines.aio.pool import Pool, outcome
    from tines.aio.processes import Process
    from tines.aio.queues import Queue
    from tines.aio.stream import ResultIterator

__all__ = ["Pool", "Process", "Queue", "ResultIterator", "outcome"]

__getattr__, __dir__ = on_first_use(
    __name__,
    {
        "Pool": "tines.aio.pool",
        "Process": "tines.aio.processes",
        "Queue": "tines.aio.queues",
        "ResultIterator": "tines.aio.stream",
        "outcome": "tines.aio.pool",
    },
)
