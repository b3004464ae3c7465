"""What runs in a worker, or travels to one.

Bottom-up::

    environment  variables of a slot: inner threads, devices
    constants    large constants of functions, sent once to all workers
    functions    which function a task calls: numbers for the ones that workers know
    setup        what a worker does before its first task
    unsendable   the error for a result that cannot be sent
    main         the worker: takes a task, runs it, sends what came of it

A worker imports ``main`` and ``setup`` before its first task, so what they import stays light.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tines.transport.contract import Transport

__all__ = ["needed_by_workers"]


def needed_by_workers(transport: Transport) -> tuple[str, ...]:
    """Return the modules that a worker imports before its first task."""
    return (
        "tines.pool.worker.main",
        "tines.pool.worker.setup",
        type(transport).__module__,
        "tines.engines.orders",
        "tines.process.lifecycle.box",
    )
