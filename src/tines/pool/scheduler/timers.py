"""What falls due, and when: retries that wait out their back-off, and the steps of stopping a task.

Nothing is taken out before its time. An entry that has lapsed meanwhile (its task was cancelled, say)
is passed over when it comes up.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

__all__ = ["Timers"]

T = TypeVar("T")


class Timers(Generic[T]):
    """See the module. Part of the state machine, and called as that is: under its owner's lock.

    Args:
        holds: Whether an entry has not lapsed.
    """

    def __init__(self, holds: Callable[[T], bool]) -> None:
        self._holds = holds
        self._heap: list[tuple[float, int, T]] = []
        self._numbers = itertools.count()  # entries of one time keep their order

    def add(self, when: float, entry: T) -> None:
        """Have an entry fall due."""
        heapq.heappush(self._heap, (when, next(self._numbers), entry))

    def next(self) -> float | None:
        """Return when the next entry falls due; ``None``: there is none."""
        heap = self._heap
        while heap and not self._holds(heap[0][2]):
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now: float) -> Iterator[T]:
        """Take out what is due by ``now``, also what is added on the way."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            entry = heapq.heappop(heap)[2]
            if self._holds(entry):
                yield entry

    def clear(self) -> None:
        """Forget everything."""
        self._heap.clear()
