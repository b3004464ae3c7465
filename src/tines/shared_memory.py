"""Shared memory with a name: the standard library's own."""

from __future__ import annotations

import multiprocessing.shared_memory as _std
from multiprocessing.shared_memory import (
    ShareableList,
    SharedMemory,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "ShareableList",
    "SharedMemory",
]


def __getattr__(name: str) -> Any:
    return getattr(_std, name)
