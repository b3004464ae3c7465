"""How many items of a map travel together.

Nothing is known of the items at first, so the first chunks are single items. From then on a chunk is as
many items as take about ``TARGET`` seconds by what was measured: short tasks share a message, which
costs some ten microseconds, and long ones travel alone. Towards the end chunks shrink to a fraction
of what is left (guided self-scheduling, Polychronopoulos and Kuck 1987), so that all workers finish
together although some items take far longer than the mean.
"""

from __future__ import annotations

__all__ = ["Guide"]

TARGET = 2e-3
GROWTH = 32
SHARES = 3


class Guide:
    """Sizes the chunks of one map.

    ``size`` is called under the lock of that map, ``measured`` by the collector thread alone.

    Args:
        workers: How many workers the pool has.
        chunksize: What the caller wants; ``None`` or 0 measures.
    """

    def __init__(self, workers: int, chunksize: int | None = None) -> None:
        self._workers = workers
        self._fixed = chunksize or 0
        self._items = 0
        self._seconds = 0.0
        self._largest = 1

    def measured(self, items: int, seconds: float) -> None:
        """Note how long a worker took for so many items."""
        self._items += items
        self._seconds += seconds

    def size(self, remaining: int) -> int:
        """Return how many of the remaining items the next chunk has; at least 1."""
        if self._fixed:
            return min(self._fixed, remaining)
        fair = max(1, remaining // (SHARES * self._workers))
        if not self._items:
            return 1
        mean = max(self._seconds / self._items, 1e-9)
        wanted = min(int(TARGET / mean), self._largest * GROWTH, fair)
        size = max(1, wanted)
        self._largest = max(self._largest, size)
        return size

    @property
    def ahead(self) -> int:
        """How many chunks are to be on their way at once: one running, one waiting each."""
        return 2 * self._workers

    @property
    def measures(self) -> bool:
        """Whether it sizes by measurement."""
        return not self._fixed
