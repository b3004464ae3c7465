"""Shared values and arrays: the standard library's own; their locks suit our processes."""

from __future__ import annotations

from tines._std import mirrored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.sharedctypes import (
        Array,
        RawArray,
        RawValue,
        Value,
        copy,
        synchronized,
    )

__all__ = [
    "Array",
    "RawArray",
    "RawValue",
    "Value",
    "copy",
    "synchronized",
]

__getattr__ = mirrored(__name__)
