"""deadpool-executor."""

from __future__ import annotations

from benchmarks.model import Feature
from benchmarks.peers.contract import ExecutorPool, Peer, Pool

__all__ = ["PEERS"]


class _DeadpoolPool(ExecutorPool):
    def terminate(self) -> None:
        self.executor.shutdown(wait=False, cancel_futures=True)


class _Deadpool(Peer):
    name = title = module = "deadpool"
    distribution = "deadpool-executor"
    offers = frozenset({Feature.POOL})

    def pool(self, workers: int) -> Pool:
        import deadpool

        return _DeadpoolPool(deadpool.Deadpool(workers, mp_context="fork"))


PEERS = (_Deadpool(),)
