"""billiard: Celery's fork of multiprocessing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.model import Feature
from benchmarks.peers.contract import Peer, Pool, Queue, StandardPool

__all__ = ["PEERS"]


class _Billiard(Peer):
    name = title = module = distribution = "billiard"
    offers = frozenset({Feature.QUEUE, Feature.SHARED_QUEUE, Feature.PROCESS, Feature.POOL})

    @property
    def context(self) -> Any:
        import billiard

        return billiard.get_context("fork")

    def queue(self, *, max_items: int = 0, max_bytes: int = 0) -> Queue:
        return Queue(self.context.Queue(max_items))

    def process(self, target: Callable[..., Any], args: tuple[Any, ...] = ()) -> Any:
        return self.context.Process(target=target, args=args)

    def forked(self, target: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        return self.process(target, args)

    def pool(self, workers: int) -> Pool:
        return StandardPool(self.context.Pool(workers))


PEERS = (_Billiard(),)
