"""How far an iterator, or a stream of asyncio, reads ahead of its consumer, in items and in bytes.

In items: ``buffersize``, or as many as the consumer lately took in ``HORIZON`` seconds, so that quick
tasks keep the workers busy and a slow consumer holds little. In bytes: what the pool may have under
way, in which results count that the consumer has not taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tines import _clock

if TYPE_CHECKING:
    from tines.pool.ports import Registry, Room

__all__ = ["LARGEST_WINDOW", "Window"]

HORIZON = 0.01
GLANCE = HORIZON / 10
"""A consumer that takes a whole window in less is not kept to it for all of ``HORIZON``."""
LARGEST_WINDOW = 1024
SMALLEST_WINDOW = 4
"""Per worker: one item running, and enough waiting to bridge the consumer's turn."""


class Window:
    """The window of one iterator. Under its lock, or in the loop of a stream, but for :meth:`has_room`.

    Attributes:
        size: How many items may be ahead of the consumer.
        result_size: Bytes of a result, going by the last one that was taken; 0 if that was small.
    """

    result_size = 0
    # Reading stopped for bytes, not for items.
    _held_back = False

    def __init__(
        self, registry: Registry, pressure: Room, chunksize: int, buffersize: int | None
    ) -> None:
        self._registry = registry
        self._pressure = pressure
        self._chunksize = chunksize
        self._fixed = buffersize is not None
        self.size = buffersize or SMALLEST_WINDOW * registry.target * chunksize
        self._since = (_clock.monotonic(), 0)

    def is_due(self, ahead: int) -> bool:
        """Whether to read on: the consumer, so many items behind, has come halfway through it."""
        return self._held_back or 2 * ahead <= self.size

    def move(self, consumed: int) -> None:
        """Reading goes on: work out the size from how fast the consumer takes items."""
        self._held_back = False
        if self._fixed:
            return
        now = _clock.monotonic()
        then, before = self._since
        elapsed, taken = now - then, consumed - before
        if elapsed > HORIZON or (elapsed > GLANCE and taken >= self.size):
            smallest = SMALLEST_WINDOW * self._registry.target
            wanted = min(max(int(taken / elapsed * HORIZON), smallest), LARGEST_WINDOW)
            self.size = wanted * self._chunksize
            self._since = (now, consumed)

    def has_room(self, ahead: int) -> bool:
        """Whether there is room for one more chunk. Whoever reads."""
        if ahead >= self.size:
            return False
        if not (self._pressure.total or self.result_size):
            return True
        # First the mark, then the look: a consumer that comes in between sees the mark.
        self._held_back = True
        return not ahead or self._pressure.has_room(ahead * self.result_size)

    def open(self) -> None:
        """There is no limit in items any more: all of the input is to be read."""
        self._fixed = True
        self.size = 1 << 62
