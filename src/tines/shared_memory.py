"""Shared memory with a name: the standard library's own."""

from __future__ import annotations

from tines._std import mirrored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.shared_memory import (
        ShareableList,
        SharedMemory,
    )

__all__ = [
    "ShareableList",
    "SharedMemory",
]

__getattr__ = mirrored(__name__)
