"""The standard library's multiprocessing: the base of all ratios, with each start method."""

from __future__ import annotations

import multiprocessing
import platform
from collections.abc import Callable
from typing import Any

from benchmarks.model import Feature
from benchmarks.peers.contract import Peer, Pool, Queue, StandardPool

__all__ = ["PEERS", "Stdlib"]

METHODS = multiprocessing.get_all_start_methods()


class Stdlib(Peer):
    """``multiprocessing`` with one start method; queues are measured with ``fork`` only."""

    module = "multiprocessing"

    def __init__(self, method: str) -> None:
        self.method = method
        self.name = "stdlib" if method == "fork" else f"stdlib_{method}"
        self.title = "multiprocessing" if method == "fork" else f"multiprocessing, {method}"
        self.offers = frozenset({Feature.PROCESS, Feature.POOL, Feature.LOADER})
        if method == "fork":
            self.offers |= {
                Feature.QUEUE,
                Feature.SHARED_QUEUE,
                Feature.BATCHES,
                Feature.BURST,
                Feature.IMPORT,
            }

    @property
    def context(self) -> Any:
        return multiprocessing.get_context(self.method)

    def probe(self) -> str:
        if self.method not in METHODS:
            raise ImportError(f"this system has no start method {self.method!r}")
        return platform.python_version()

    def queue(self, *, max_items: int = 0, max_bytes: int = 0) -> Queue:
        return Queue(self.context.Queue(max_items))

    def process(self, target: Callable[..., Any], args: tuple[Any, ...] = ()) -> Any:
        return self.context.Process(target=target, args=args)

    def pool(self, workers: int) -> Pool:
        return StandardPool(self.context.Pool(workers))


class _Simple(Stdlib):
    def __init__(self) -> None:
        super().__init__("fork")
        self.name, self.title = "stdlib_simple", "multiprocessing.SimpleQueue"
        self.offers = frozenset({Feature.QUEUE, Feature.SHARED_QUEUE})

    def queue(self, *, max_items: int = 0, max_bytes: int = 0) -> Queue:
        return Queue(self.context.SimpleQueue())


class _PipeQueue(Queue):
    def __init__(self, reader: Any, writer: Any) -> None:
        self.put = writer.send
        self.get = reader.recv


class _Pipe(Stdlib):
    """One to one only: a connection has no lock."""

    def __init__(self) -> None:
        super().__init__("fork")
        self.name, self.title = "stdlib_pipe", "multiprocessing.Pipe"
        self.offers = frozenset({Feature.QUEUE})

    def queue(self, *, max_items: int = 0, max_bytes: int = 0) -> Queue:
        return _PipeQueue(*self.context.Pipe(duplex=False))


PEERS = (Stdlib("fork"), Stdlib("spawn"), Stdlib("forkserver"), _Simple(), _Pipe())
