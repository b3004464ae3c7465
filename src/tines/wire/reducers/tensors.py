"""PyTorch: tensors on the CPU travel like NumPy arrays, instead of by a file of torch's own each.

torch's reducers move a tensor's memory into a file in ``/dev/shm`` and send its descriptor, which costs
both sides system calls and fresh pages for each tensor, and leaves them looking at the same numbers.
Here a tensor's bytes go out of band: copied once, into a block that the receiver then owns. So what
arrives is writable and nobody else's, needs no descriptor and no ``/dev/shm``, and outlives its sender.

* The bytes that a dense or expanded tensor spans travel as they are, with its strides, so channels-last
  and transposed tensors keep their layout. What has gaps is copied together first.
* Tensors that are views of one another arrive as tensors of their own, as arrays of NumPy do.
* Conjugated and negated views arrive as what they show.
* Left to torch: other devices and layouts, quantised and nested tensors, subclasses, what has hooks or a
  history, and what ``is_shared()``, whose meaning is to be shared.
* ``TINES_TENSORS=off`` leaves all tensors to torch.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from importlib import import_module
from pickle import PickleBuffer
from weakref import WeakValueDictionary

from tines import _config
from tines.wire.reducers.contract import Reducers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any, TypeAlias

    Tensor: TypeAlias = Any  # torch need not be there to check types

__all__ = ["lent", "rebuild_leaf", "rebuild_parameter", "rebuild_tensor", "reducers"]

torch: Any = import_module("torch")  # whoever has a tensor has it

lent: WeakValueDictionary[int, Tensor] = WeakValueDictionary()
"""Blocks that tensors of this process lie in, by their address; they go as they are where they may."""

_strided = torch.strided
_parameter = torch.nn.Parameter


def reducers(library: ModuleType) -> Reducers:
    """Return reducers for ``torch.multiprocessing.reductions``, whose own they fall back to."""
    torchs_own: Callable[[object], Any] = library.reduce_tensor
    if _config.tensors() is _config.Tensors.OFF:
        return Reducers()

    def reduce_tensor(tensor: Tensor) -> Tensor:
        return _reduce(tensor) if _is_plain(tensor) else torchs_own(tensor)

    return Reducers(instead={torchs_own: reduce_tensor})


def _is_plain(tensor: Tensor) -> bool:
    """Return whether a tensor is bytes in ordinary memory of this process, and no more than that."""
    if (
        not tensor.is_cpu
        or tensor.layout is not _strided
        or tensor.is_quantized
        or tensor.is_nested
        or (tensor.requires_grad and not tensor.is_leaf)
        or tensor._backward_hooks
    ):
        return False
    try:
        return not tensor.untyped_storage().is_shared()
    except (NotImplementedError, RuntimeError):  # a wrapper of functorch's: it has no memory
        return False


def _reduce(tensor: Tensor) -> Tensor:
    data = tensor.detach()
    if data.is_conj() or data.is_neg():
        data = data.resolve_conj().resolve_neg()
    content = _content(data)
    if type(tensor) is _parameter:
        return rebuild_parameter, (tensor.requires_grad, *content)
    return (rebuild_leaf if tensor.requires_grad else rebuild_tensor), content


def _content(data: Tensor) -> tuple[object, ...]:
    """Return the arguments of :func:`rebuild_tensor`: bytes, and how they are to be read."""
    shape = tuple(data.shape)
    if data.is_contiguous():
        if not data.numel():
            return None, data.dtype, shape
        block = lent.get(data.data_ptr()) if lent else None
        if block is not None and len(block) == data.nbytes:
            return PickleBuffer(block), data.dtype, shape
        flat = data if len(shape) == 1 else data.view(-1)
        return PickleBuffer(_bytes_of(flat)), data.dtype, shape
    strides = tuple(data.stride())
    span = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides))
    if span > data.numel():
        return _content(data.contiguous())
    flat = data.as_strided((span,), (1,))
    return PickleBuffer(_bytes_of(flat)), data.dtype, shape, strides


def _bytes_of(flat: Tensor) -> Tensor:
    """Return a buffer over a tensor's bytes, which keeps the tensor."""
    flat = flat.view(torch.uint8)
    try:
        return flat.numpy()
    except RuntimeError:  # there is no NumPy
        view = _bytes_type(flat.numel()).from_address(flat.data_ptr())
        view.tensor = flat
        return view


@lru_cache(64)
def _bytes_type(size: int) -> Tensor:
    """Return a type of so many bytes; a subclass, as its instances may have attributes."""

    class Bytes(ctypes.c_ubyte * size):  # type: ignore[misc]
        pass

    return Bytes


def rebuild_tensor(
    buffer: Any, dtype: object, shape: tuple[int, ...], strides: tuple[int, ...] | None = None
) -> Tensor:
    """Return the tensor that lies in a buffer of this process's own."""
    if buffer is None:
        return torch.empty(shape, dtype=dtype)
    flat = torch.frombuffer(buffer, dtype=torch.uint8).view(dtype)
    return flat.view(shape) if strides is None else flat.as_strided(shape, strides)


def rebuild_leaf(*content: Any) -> Tensor:
    """Return the same for one that requires a gradient."""
    return rebuild_tensor(*content).requires_grad_()


def rebuild_parameter(requires_grad: bool, *content: Any) -> Tensor:
    """Return the same for a parameter."""
    return _parameter(rebuild_tensor(*content), requires_grad)
