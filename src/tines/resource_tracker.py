"""The process that cleans up named resources: the standard library's own, one for the program."""

from __future__ import annotations

from tines._std import mirrored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.resource_tracker import (
        ensure_running,
        getfd,
        register,
        unregister,
    )

__all__ = [
    "ensure_running",
    "getfd",
    "register",
    "unregister",
]

__getattr__ = mirrored(__name__)
