"""``concurrent.futures.ProcessPoolExecutor``."""

from __future__ import annotations

import multiprocessing
import platform

from benchmarks.model import Feature
from benchmarks.peers.contract import ExecutorPool, Peer, Pool

__all__ = ["PEERS"]


class _ConcurrentFutures(Peer):
    module = "concurrent.futures"
    offers = frozenset({Feature.POOL})

    def __init__(self, method: str) -> None:
        self.method = method
        self.name = "futures" if method == "fork" else f"futures_{method}"
        self.title = "ProcessPoolExecutor" + ("" if method == "fork" else f", {method}")

    def probe(self) -> str:
        multiprocessing.get_context(self.method)
        return platform.python_version()

    def pool(self, workers: int) -> Pool:
        from concurrent.futures import ProcessPoolExecutor

        return ExecutorPool(ProcessPoolExecutor(workers, multiprocessing.get_context(self.method)))


PEERS = (_ConcurrentFutures("fork"),)
