"""mpire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks.model import Feature
from benchmarks.peers.contract import Function, Peer, Pool, StandardPool

__all__ = ["PEERS"]


class _MpirePool(StandardPool):
    """``keep_alive`` keeps the workers from one call to the next."""

    def map(self, function: Function, items: Sequence[Any], chunksize: int | None) -> list[Any]:
        results: list[Any] = self.pool.map(
            function, items, chunk_size=chunksize, concatenate_numpy_output=False
        )
        return results

    def imap(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return iter(self.pool.imap(function, items, chunk_size=1))

    def imap_unordered(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return iter(self.pool.imap_unordered(function, items, chunk_size=1))

    def close(self) -> None:
        self.pool.stop_and_join()


class _Mpire(Peer):
    name = title = module = distribution = "mpire"
    offers = frozenset({Feature.POOL})

    def pool(self, workers: int) -> Pool:
        import mpire

        return _MpirePool(mpire.WorkerPool(workers, start_method="fork", keep_alive=True))


PEERS = (_Mpire(),)
