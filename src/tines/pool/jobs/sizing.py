"""How many items of a map travel together.

Nothing is known of the items at first, so the first chunks are single items. From then on a chunk is as
many items as take about ``TARGET`` seconds by what was measured: short tasks share a message, which
costs some ten microseconds, and long ones travel alone. Towards the end chunks shrink to a fraction
of what is left (guided self-scheduling, Polychronopoulos and Kuck 1987), so that all workers finish
together although some items take far longer than the mean. They do not shrink below what a message is
worth, ``FLOOR`` seconds, as nobody gains by waiting for shorter ones.

What was measured tells nothing of the items that come after: the first of many files may be small, and the
rest large. So no chunk is ever longer than the standard library's, which are a quarter of each worker's
equal share: whatever the items turn out to be, no worker is left with more of them than there. A map of
100 items that take nothing is ten chunks: one item for each of two workers, then eight of thirteen or less.
"""

from __future__ import annotations

__all__ = ["Guide"]

TARGET = 2e-3
FLOOR = 100e-6
GROWTH = 64
SHARES = 3

USUAL_SHARES = 4
"""How many chunks ``multiprocessing.Pool.map`` makes for each worker, unless it is told."""

FADING = 0.5

MEASURING = 1e-6
"""What the measurement itself adds to the time of a chunk; without it single items would tell little."""


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
        self._items = 0.0
        self._seconds = 0.0
        self._largest = 1
        # As many items as a chunk of the standard library has; known with the first question.
        self._usual = 0

    def measured(self, items: int, seconds: float) -> None:
        """Note how long a worker took for so many items.

        What came earlier counts less and less: a worker that the system stopped for a moment while it
        measured a single item must not have all that follow sent singly as well.
        """
        self._items = FADING * self._items + items
        self._seconds = FADING * self._seconds + max(0.0, seconds - MEASURING)

    def size(self, remaining: int) -> int:
        """Return how many of the remaining items the next chunk has; at least 1."""
        if self._fixed:
            return min(self._fixed, remaining)
        self._usual = self._usual or -(-remaining // (USUAL_SHARES * self._workers))
        if not self._items:
            return 1
        mean = max(self._seconds / self._items, 1e-9)
        fair = min(int(TARGET / mean), remaining // (SHARES * self._workers))
        wanted = min(max(fair, int(FLOOR / mean)), self._usual)
        size = min(max(1, wanted), self._largest * GROWTH, remaining)
        self._largest = max(self._largest, size)
        return size

    @property
    def ahead(self) -> int:
        """How many chunks are to be on their way at once: one running, one waiting each.

        Before anything was measured one each: single items that wait would be all overhead if they are
        short, and if they are long nobody misses them.
        """
        return 2 * self._workers if self._items or self._fixed else self._workers

    @property
    def measures(self) -> bool:
        """Whether it sizes by measurement."""
        return not self._fixed
