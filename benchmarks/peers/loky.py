"""loky: the executor behind joblib."""

from __future__ import annotations

from benchmarks.model import Feature
from benchmarks.peers.contract import ExecutorPool, Peer, Pool

__all__ = ["PEERS"]


class _LokyPool(ExecutorPool):
    def terminate(self) -> None:
        self.executor.shutdown(wait=True, kill_workers=True)


class _Loky(Peer):
    name = title = module = distribution = "loky"
    offers = frozenset({Feature.POOL})

    def pool(self, workers: int) -> Pool:
        import loky

        return _LokyPool(loky.ProcessPoolExecutor(workers))


PEERS = (_Loky(),)
