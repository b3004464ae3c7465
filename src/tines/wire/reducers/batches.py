"""PyTorch's DataLoader: its workers lay each batch together in the block that it will travel in.

torch's own way is a fresh file in ``/dev/shm`` for each batch. Here ``default_collate`` fills a block of
the ring, and the message that carries the batch takes the block over: no copy after the one that lays
the samples together, and blocks are used again while their pages are hot.

A block may only go as it is if nobody in the worker uses it after that, or the worker and whoever
receives the batch would see what the other writes. So just before a batch is put, the references to
each of its tensors are counted: by the interpreter, by torch to the tensor, and to its memory. If they
are those that the DataLoader's own loop has, which drops them behind ``put``, the block goes; otherwise
it is copied like anything else. How many there are in the first case is measured once, on a tensor made
the same way, not assumed.

All of it concerns the workers of a DataLoader only. Where the DataLoader's parts are not as expected,
or tensors are left to torch, nothing is changed.
"""

from __future__ import annotations

import sys
from importlib import import_module

from tines import _config
from tines.wire.pickling import OUT_OF_BAND
from tines.wire.reducers import tensors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from tines.transport.contract import Lent, Transport

__all__ = ["prepare"]

torch = tensors.torch

_PUTS_INTO = 3
"""Which argument of the DataLoader's loop is the queue that batches go into."""


def prepare(process: Any) -> None:
    """Have a process that is about to run the DataLoader's loop make its batches in blocks."""
    if _config.tensors() is _config.Tensors.OFF:
        return
    from tines import transport as transports

    transport = transports.chosen()
    try:
        collate = import_module("torch.utils.data._utils.collate")
        known = collate.default_collate_fn_map
        if known[torch.Tensor] is collate.collate_tensor_fn:
            known[torch.Tensor] = _collating(collate.collate_tensor_fn, transport)
        arguments = list(process._args)
        arguments[_PUTS_INTO] = _Outbox(arguments[_PUTS_INTO], transport)
        process._args = tuple(arguments)
    except (AttributeError, ImportError, IndexError, KeyError) as error:
        from multiprocessing import util

        util.info("tines leaves the batches of the DataLoader to torch: %s", error)


def _collating(torchs_own: Callable[..., object], transport: Transport) -> Callable[..., object]:
    """Return what ``default_collate`` does with tensors, with a block in the place of a file."""

    def collate_tensors(batch: Any, *, collate_fn_map: object = None) -> object:
        first = batch[0]
        plain = type(first) is torch.Tensor and first.is_cpu and first.layout is torch.strided
        if not plain or first.is_nested or first.is_quantized or first.requires_grad:
            return torchs_own(batch, collate_fn_map=collate_fn_map)
        alike = all(each.shape == first.shape for each in batch)
        size = first.nbytes * len(batch)
        # Of what is not alike torch says in which way. What is small is copied in any case.
        block = transport.lend(size) if alike and size >= OUT_OF_BAND else None
        out = None if block is None else _in_block(block, first.dtype, (len(batch), *first.shape))
        return torch.stack(batch, 0, out=out)

    return collate_tensors


def _in_block(block: Lent, dtype: object, shape: tuple[int, ...]) -> Any:
    tensor = tensors.rebuild_tensor(block, dtype, shape)
    tensors.lent[tensor.data_ptr()] = block
    return tensor


class _Outbox:
    """The queue that a worker puts its batches into, which sees what of them may go as it is.

    Raises:
        AttributeError: torch does not tell how often something is referred to.
    """

    def __init__(self, queue: Any, transport: Transport) -> None:
        self._queue = queue
        self._put = queue.put
        # How often a tensor is referred to if nobody else has it: the batch itself, one in the batch.
        self._alone = self._measure(transport, lambda tensor: tensor)
        self._alone |= self._measure(transport, lambda tensor: [tensor])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    def put(self, item: Any) -> None:
        """Put ``(number, batch)``, which the caller has the batch of in one more variable."""
        going = [block for block, counts in _counts(item[1], True) if counts in self._alone]
        for block in going:
            block.yields = True
        try:
            self._put(item)
        finally:
            for block in going:
                block.yields = False

    def _measure(
        self, transport: Transport, wrap: Callable[[object], object]
    ) -> set[tuple[int, ...]]:
        block = transport.lend(OUT_OF_BAND)
        if block is None:
            return set()
        data = wrap(_in_block(block, torch.uint8, (OUT_OF_BAND,)))
        item = (0, data)  # both as in the DataLoader's loop
        return {counts for _, counts in _counts(item[1], True)}


def _counts(batch: Any, whole: bool) -> Iterator[tuple[Lent, tuple[int, ...]]]:
    """Find the tensors in a batch that are in blocks, and how many references there are to each."""
    if type(batch) is torch.Tensor:
        block = tensors.lent.get(batch.data_ptr())
        if block is not None and len(block) == batch.nbytes:
            memory = torch._C._storage_Use_Count(batch.untyped_storage()._cdata)
            yield block, (whole, sys.getrefcount(batch), batch._use_count(), memory)
    elif isinstance(batch, (list, tuple)):
        for each in batch:
            yield from _counts(each, False)
    elif isinstance(batch, dict):
        for each in batch.values():
            yield from _counts(each, False)
