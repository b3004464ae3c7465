"""pebble."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks.model import Feature
from benchmarks.peers.contract import ExecutorPool, Function, Peer, Pool

__all__ = ["PEERS"]


class _PebblePool(ExecutorPool):
    def apply(self, function: Function, item: Any) -> Any:
        return self.submit(function, item).result()

    def submit(self, function: Function, item: Any) -> Any:
        return self.executor.schedule(function, args=(item,))

    def map(self, function: Function, items: Sequence[Any], chunksize: int | None) -> list[Any]:
        options = {} if chunksize is None else {"chunksize": chunksize}
        return list(self.executor.map(function, items, **options).result())

    def imap(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return iter(self.executor.map(function, items).result())

    def close(self) -> None:
        self.executor.close()
        self.executor.join()

    def terminate(self) -> None:
        self.executor.stop()
        self.executor.join()


class _Pebble(Peer):
    name = title = module = "pebble"
    distribution = "Pebble"
    offers = frozenset({Feature.POOL})

    def pool(self, workers: int) -> Pool:
        import pebble

        context = multiprocessing.get_context("fork")
        return _PebblePool(pebble.ProcessPool(workers, context=context))


PEERS = (_Pebble(),)
