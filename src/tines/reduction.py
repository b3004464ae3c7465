"""Pickling between processes: the standard library's own; what is registered here, tines uses."""

from __future__ import annotations

from tines._std import mirrored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.reduction import (
        ForkingPickler,
        dump,
        register,
    )

__all__ = [
    "ForkingPickler",
    "dump",
    "register",
]

__getattr__ = mirrored(__name__)
