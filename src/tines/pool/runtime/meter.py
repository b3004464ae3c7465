"""Stops workers whose running task takes more memory than it may (``max_memory_hard``).

The supervisor's thread looks at the memory of every worker that holds a task, every ``INTERVAL``
seconds, for as long as the pool has tasks under way, and not at all while it has none. So a pool
without the option pays nothing, and an idle one with it sleeps.

Other ways, and why not: ``RLIMIT_AS`` counts what is merely reserved, and the transport reserves a
lot; ``RLIMIT_DATA`` makes allocations fail inside libraries that do not expect it; a cgroup needs
rights that a program seldom has; a thread in the worker does not run while the task holds the GIL.

What this can not see is a task that takes all there is within ``INTERVAL``; the kernel ends that one,
and the error says so.

Between ``busy``, which any thread calls, and the supervisor holds: a task is pending *before* its
sender looks whether somebody is ``looking``, and ``looking`` is false *before* the supervisor looks
whether a task is pending. So one of the two sees the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tines import _clock
from tines.pool.scheduler.state import PoolState

if TYPE_CHECKING:
    from collections.abc import Callable

    from tines.engines.contract import Running
    from tines.pool.runtime.machine import Machine
    from tines.transport.contract import Channel

__all__ = ["INTERVAL", "MemoryMeter"]

INTERVAL = 0.05


class MemoryMeter:
    """See the module.

    Args:
        limit: Bytes that a worker may have.
        machine: Is told of a worker that has more.
        tasks: The tasks channel, with the leases.
        workers: The workers, by slot.
        wake: Has the supervisor's thread look.
    """

    def __init__(
        self,
        limit: int,
        machine: Machine,
        tasks: Channel,
        workers: dict[int, Running],
        wake: Callable[[], None],
    ) -> None:
        self._limit = limit
        self._machine = machine
        self._tasks = tasks
        self._workers = workers
        self._wake = wake
        self._looking = False

    def busy(self) -> None:
        """A task was sent. Any thread."""
        if not self._looking:
            self._looking = True
            self._wake()

    def look(self) -> float | None:
        """Look at all workers; return when to look again. The supervisor's thread."""
        if not self._looking:
            return None
        state = self._machine.state
        if not state.has_pending:
            self._looking = False
            if not state.has_pending:
                return None
            self._looking = True
        for slot, running in list(self._workers.items()):
            lease = self._tasks.lease(slot)
            if lease is None:
                continue
            memory = running.usage().memory
            if memory > self._limit:
                self._machine.event(PoolState.over_memory, slot, lease.tag, memory)
        return _clock.monotonic() + INTERVAL
