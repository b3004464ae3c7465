"""faster-fifo: a ring in shared memory behind one lock and a condition variable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.model import Feature
from benchmarks.peers.contract import Peer, Queue

__all__ = ["PEERS"]

LEAST = 1_000_000
"""Bytes; the size of its own examples."""

FOREVER = 1e6
"""Its timeouts default to 10 seconds."""

BATCH = 100


class _FasterFifoQueue(Queue):
    """``max_bytes`` is set aside beforehand; ``put`` waits when the ring is full."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def put(self, item: Any) -> None:
        self.inner.put(item, True, FOREVER)

    def get(self) -> Any:
        return self.inner.get(True, FOREVER)

    def put_many(self, items: Sequence[Any]) -> None:
        self.inner.put_many(items, True, FOREVER)

    def get_many(self) -> Sequence[Any]:
        batch: Sequence[Any] = self.inner.get_many(True, FOREVER, BATCH)
        return batch


class _FasterFifo(Peer):
    name = module = "faster_fifo"
    title = distribution = "faster-fifo"
    offers = frozenset({Feature.QUEUE, Feature.SHARED_QUEUE, Feature.BATCHES, Feature.BURST})

    def queue(self, *, max_items: int = 0, max_bytes: int = 0) -> Queue:
        import faster_fifo
        import faster_fifo_reduction  # noqa: F401  (registers the queue's reducer)

        return _FasterFifoQueue(faster_fifo.Queue(max(LEAST, max_bytes + max_bytes // 8)))


PEERS = (_FasterFifo(),)
