"""``Lock``, ``RLock``, ``Semaphore``, ``BoundedSemaphore``, ``Condition``, ``Event``, ``Barrier``.

The standard library's interface. On the ring transport they are ours
(:mod:`tines.synchronize.native`): a process that dies while it holds a lock, or waits for something,
does not block the others. The next one gets the lock and goes on; if it wants to know, it asks
``lock.recovered``. On the pipe transport they are the standard library's
(:mod:`tines.synchronize.standard`), and a dead holder's lock stays held.

Both have the same attributes, and both are derived from the standard library's classes.
"""

from __future__ import annotations

from tines import _std, transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tines.synchronize.native import (
        Barrier,
        BoundedSemaphore,
        Condition,
        Event,
        Lock,
        RLock,
        Semaphore,
    )
elif transport.chosen().has_primitives:
    from tines.synchronize.native import (
        Barrier,
        BoundedSemaphore,
        Condition,
        Event,
        Lock,
        RLock,
        Semaphore,
    )
else:
    from tines.synchronize.standard import (
        Barrier,
        BoundedSemaphore,
        Condition,
        Event,
        Lock,
        RLock,
        Semaphore,
    )

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "RLock",
    "Semaphore",
]


def __getattr__(name: str) -> Any:
    # Not imported by name: a submodule called ``standard`` would take its place.
    return getattr(_std.standard("synchronize"), name)
