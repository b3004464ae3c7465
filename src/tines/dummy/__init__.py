"""The interface of processes over threads: the standard library's own."""

from __future__ import annotations

from tines._std import mirrored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.dummy import (
        Barrier,
        BoundedSemaphore,
        Condition,
        Event,
        JoinableQueue,
        Lock,
        Manager,
        Pipe,
        Process,
        Queue,
        RLock,
        Semaphore,
        active_children,
        current_process,
        freeze_support,
    )

    from tines.pool import ThreadPool

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "JoinableQueue",
    "Lock",
    "Manager",
    "Pipe",
    "Pool",
    "Process",
    "Queue",
    "RLock",
    "Semaphore",
    "active_children",
    "current_process",
    "freeze_support",
]

__getattr__ = mirrored(__name__)


def Pool(  # noqa: N802
    processes: int | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: Iterable[object] = (),
) -> ThreadPool:
    """Return a pool of threads."""
    from tines.pool import ThreadPool

    return ThreadPool(processes, initializer, initargs)
