"""torch.multiprocessing: tensors travel in shared memory, the rest as in the standard library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.model import Feature
from benchmarks.peers.contract import Peer, Pool, Queue, StandardPool

__all__ = ["PEERS"]


class _TorchQueue(Queue):
    def wrap(self, array: Any) -> Any:
        """A tensor that is not yet in shared memory, at no copy."""
        import torch

        return torch.from_numpy(array)

    def unwrap(self, received: Any) -> Any:
        return received.numpy()


class _Torch(Peer):
    name = "torch"
    title = "torch.multiprocessing"
    module = distribution = "torch"
    offers = frozenset(
        {
            Feature.QUEUE,
            Feature.SHARED_QUEUE,
            Feature.PROCESS,
            Feature.POOL,
            Feature.LOADER,
        }
    )

    @property
    def context(self) -> Any:
        import torch.multiprocessing

        return torch.multiprocessing.get_context("fork")

    def queue(self, *, max_items: int = 0, max_bytes: int = 0) -> Queue:
        return _TorchQueue(self.context.Queue(max_items))

    def process(self, target: Callable[..., Any], args: tuple[Any, ...] = ()) -> Any:
        return self.context.Process(target=target, args=args)

    def forked(self, target: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        return self.process(target, args)

    def pool(self, workers: int) -> Pool:
        return StandardPool(self.context.Pool(workers))


PEERS = (_Torch(),)
