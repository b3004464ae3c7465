"""Back-pressure in bytes: how much of what callers send may be under way at once.

Counted is what is *heavy*, from its sending until its outcome is there: the small rest is bounded by
windows of items. Who finds no room does what suits it:

* An ``imap`` stops reading its input, and a ``map`` stops sending chunks, until results come back.
  Each may always have one chunk under way, so nothing waits for ever, however large an item is.
* A call (``apply_async``) waits, in the thread of its caller; one that is larger than all there may be
  goes when nothing else is under way. In a callback it does not wait: the collector thread must go
  on, as it is the one that finds out that there is room. Nor does it in the thread of an event loop,
  which must go on as well: there ``tines.aio`` awaits room before it makes the call (``full``).

A call that waits holds up its caller, who may be the one that the running tasks wait for. So without a
limit of the user's, calls may fill a good part of the memory before that happens; maps and iterators,
where nobody notices, much less.

The lock is held for a few additions, and nothing is called under it.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tines._config import available_memory
from tines.pool.jobs.result import Waitable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tines.pool.jobs.result import ApplyResult
    from tines.pool.ports import Registry, Waits, Wakes
    from tines.pool.scheduler.task import Task
    from tines.transport.contract import Buffer

__all__ = ["Pressure", "weight"]

AHEAD = 256 << 20
"""Bytes that maps and iterators have under way, unless told otherwise."""

CALLS_SHARE = 4
"""Calls may take up to this part of the memory, unless told otherwise."""

HEAVY = 64 << 10


def weight(data: Buffer, buffers: Sequence[Buffer]) -> int:
    """Return the size of a message in bytes, without what it only refers to."""
    size = memoryview(data).nbytes
    for buffer in buffers:
        view = memoryview(buffer)
        if not hasattr(view.obj, "travels_beside"):
            size += view.nbytes
    return size


class Pressure:
    """The heavy messages of one pool.

    Args:
        limit: What the user wants; ``None`` takes the defaults.
        registry: Knows which tasks are open, and whether the pool is.
        collector: Whom calls that find no room wait with.
        refuse: Raises, for a call that waited until the pool was closed.

    Attributes:
        heavy: From how many bytes on a message counts.
        limit: How many bytes maps and iterators may have under way.
        total: How many are.
    """

    def __init__(
        self,
        limit: int | None,
        registry: Registry,
        collector: Waits,
        refuse: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._collector = collector
        self._refuse = refuse
        self.limit = limit or AHEAD
        self._given = limit
        self.heavy = min(HEAVY, max(1, self.limit // 64))
        self.total = 0
        # By the id of a task, which is in ``pending`` as long as it counts.
        self._weights: dict[int, int] = {}
        self._lock = threading.Lock()
        self._turns: list[Wakes] = []

    @functools.cached_property
    def _limit_of_calls(self) -> int:
        """Bytes that calls may have under way: to ask for it takes a while, and most pools never do."""
        return self._given or max(AHEAD, available_memory() // CALLS_SHARE)

    def admit(self, task: ApplyResult[object], data: Buffer, buffers: Sequence[Buffer]) -> None:
        """A call is about to be sent: count it; where there is no room, wait. Any thread."""
        size = weight(data, buffers)
        if size < self.heavy:
            return
        turn = None
        while not self._enter(task, size):
            if turn is None:
                self._forget_what_is_over()
                turn = _Turn(self, size)
            self._turns.append(turn)
            try:
                self._collector.wait(turn)
            finally:
                self._turns.remove(turn)
            if not self._registry.is_open:
                self._refuse()
        task.add_waiter(_Bell(self, id(task)))

    def sent(self, task: Task, data: Buffer, buffers: Sequence[Buffer]) -> None:
        """A chunk is sent, which never waits: count it. Any thread."""
        size = weight(data, buffers)
        if size >= self.heavy and task.job is not None:
            task.heavy = True
            task.job.item_size = size // (task.stop - task.start)
            with self._lock:
                self._add(id(task), size)

    def done(self, key: int) -> None:
        """The task with this id is over; whether or not it was counted. Any thread."""
        if key in self._weights:
            with self._lock:
                self.total -= self._weights.pop(key, 0)
            for turn in list(self._turns):
                turn.wake()

    def has_room(self, more: int = 0) -> bool:
        """Whether a map or iterator may send, if it holds so many bytes of results."""
        return self.total + more < self.limit

    def admits(self, size: int) -> bool:
        """Whether a call of this size may go, or need not wait any more."""
        return (
            not self.total or self.total + size <= self._limit_of_calls or self._registry.has_ended
        )

    @property
    def full(self) -> bool:
        """Whether calls, of whatever size, would have to wait."""
        return self.total >= self._limit_of_calls and not self._registry.has_ended

    def watch(self, turn: Wakes) -> None:
        """Have ``turn.wake()`` called, in any thread, whenever something is over."""
        self._turns.append(turn)

    def unwatch(self, turn: Wakes) -> None:
        """Undo :meth:`watch`."""
        self._turns.remove(turn)

    def _enter(self, task: Task, size: int) -> bool:
        with self._lock:
            if not (self.admits(size) or self._collector.is_current or _in_event_loop()):
                return False
            self._add(id(task), size)
            return True

    def _add(self, key: int, size: int) -> None:
        self.total += size - self._weights.get(key, 0)
        self._weights[key] = size

    def _forget_what_is_over(self) -> None:
        """Before anybody waits: make sure that what is waited for can come."""
        with self._lock:
            alive = {id(task) for task in self._registry.open_tasks()}
            for key in [key for key in self._weights if key not in alive]:
                self.total -= self._weights.pop(key)


class _Turn(Waitable):
    """A call that waits for room."""

    express = True

    def __init__(self, pressure: Pressure, size: int) -> None:
        self._pressure = pressure
        self._size = size

    @property
    def settled(self) -> bool:
        """Whether there is room."""
        return self._pressure.admits(self._size)


class _Bell:
    """Stands among those who wait for a call, as a lock would; holds no reference to the call."""

    def __init__(self, pressure: Pressure, key: int) -> None:
        self._pressure = pressure
        self._key = key

    def release(self) -> None:
        """The call is over."""
        self._pressure.done(self._key)


def _in_event_loop() -> bool:
    """Whether this thread runs a loop of asyncio."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
