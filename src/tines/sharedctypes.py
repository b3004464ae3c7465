"""Shared values and arrays: the standard library's own; their locks suit our processes."""

from __future__ import annotations

import multiprocessing.sharedctypes as _std
from multiprocessing.sharedctypes import (
    Array,
    RawArray,
    RawValue,
    Value,
    copy,
    synchronized,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "Array",
    "RawArray",
    "RawValue",
    "Value",
    "copy",
    "synchronized",
]


def __getattr__(name: str) -> Any:
    return getattr(_std, name)
