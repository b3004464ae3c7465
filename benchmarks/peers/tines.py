"""tines: each start method over the native ring, and over the pipe transport."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.model import Feature
from benchmarks.peers.contract import Peer, Pool, Queue, StandardPool

__all__ = ["PEERS"]

BATCH = 100


class _TinesQueue(Queue):
    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.inner = inner

    def put_many(self, items: Sequence[Any]) -> None:
        self.inner.put_many(items)

    def get_many(self) -> Sequence[Any]:
        batch: Sequence[Any] = self.inner.get_many(BATCH)
        return batch


class Tines(Peer):
    """One start method over one transport."""

    module = "tines"
    distribution = "tines"

    def __init__(self, method: str, transport: str) -> None:
        self.method, self.transport = method, transport
        marks = [mark for mark in (method, transport) if mark not in ("fork", "ring")]
        self.name = "_".join(["tines", *marks])
        self.title = ", ".join(["tines", *marks])
        self.environment = {"TINES_NATIVE": "require" if transport == "ring" else "off"}
        self.offers = frozenset({Feature.PROCESS, Feature.POOL, Feature.LOADER})
        if method == "fork":
            self.offers |= {
                Feature.QUEUE,
                Feature.SHARED_QUEUE,
                Feature.BATCHES,
                Feature.BURST,
            }
            if transport == "ring":
                self.offers |= {Feature.IMPORT}

    @property
    def context(self) -> Any:
        import tines

        return tines.get_context(self.method)

    def probe(self) -> str:
        version = super().probe()
        if self.method not in multiprocessing.get_all_start_methods():
            raise ImportError(f"this system has no start method {self.method!r}")
        from tines import transport

        in_use = transport.choice()
        if in_use.name != self.transport:
            raise ImportError(f"the transport would be {in_use.name!r} ({in_use.reason})")
        for name in ("Queue", "Process", "Pool"):
            getattr(self.context, name)
        return version

    def queue(self, *, max_items: int = 0, max_bytes: int = 0) -> Queue:
        return _TinesQueue(self.context.Queue(max_items))

    def process(self, target: Callable[..., Any], args: tuple[Any, ...] = ()) -> Any:
        return self.context.Process(target=target, args=args)

    def forked(self, target: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        return self.process(target, args)

    def pool(self, workers: int) -> Pool:
        return StandardPool(self.context.Pool(workers))


PEERS = (
    Tines("fork", "ring"),
    Tines("spawn", "ring"),
    Tines("forkserver", "ring"),
    Tines("fork", "pipe"),
)
