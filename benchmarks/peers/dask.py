"""dask.distributed: a cluster of this machine alone, one thread per worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks.model import Feature
from benchmarks.peers.contract import Function, Peer, Pool

__all__ = ["PEERS"]


class _DaskPool(Pool):
    """One task per item always. ``pure=False``: otherwise equal calls would be computed once."""

    def __init__(self, cluster: Any, client: Any) -> None:
        self.cluster, self.client = cluster, client

    def apply(self, function: Function, item: Any) -> Any:
        return self.client.submit(function, item, pure=False).result()

    def submit(self, function: Function, item: Any) -> Any:
        return self.client.submit(function, item, pure=False)

    def result(self, handle: Any) -> Any:
        return handle.result()

    def map(self, function: Function, items: Sequence[Any], chunksize: int | None) -> list[Any]:
        results: list[Any] = self.client.gather(self.client.map(function, items, pure=False))
        return results

    def imap(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        for future in self.client.map(function, list(items), pure=False):
            yield future.result()

    def imap_unordered(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        from distributed import as_completed

        futures = self.client.map(function, list(items), pure=False)
        for _, result in as_completed(futures, with_results=True):
            yield result

    def close(self) -> None:
        self.client.close()
        self.cluster.close()


class _Dask(Peer):
    name = title = "dask"
    module = distribution = "distributed"
    offers = frozenset({Feature.POOL})
    environment = {"DASK_DISTRIBUTED__WORKER__DAEMON": "True"}

    def pool(self, workers: int) -> Pool:
        from distributed import Client, LocalCluster

        cluster = LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, memory_limit=0
        )
        return _DaskPool(cluster, Client(cluster))


PEERS = (_Dask(),)
