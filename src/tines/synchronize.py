"""Locks and their kin: the standard library's own; they need a context, as there."""

from __future__ import annotations

import multiprocessing.synchronize as _std
from multiprocessing.synchronize import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    RLock,
    Semaphore,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "RLock",
    "Semaphore",
]


def __getattr__(name: str) -> Any:
    return getattr(_std, name)
