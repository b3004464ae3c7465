"""Pickling between processes: the standard library's own; what is registered here, tines uses."""

from __future__ import annotations

import multiprocessing.reduction as _std
from multiprocessing.reduction import (
    ForkingPickler,
    dump,
    register,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "ForkingPickler",
    "dump",
    "register",
]


def __getattr__(name: str) -> Any:
    return getattr(_std, name)
