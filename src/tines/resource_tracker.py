"""The process that cleans up named resources: the standard library's own, one for the program."""

from __future__ import annotations

import multiprocessing.resource_tracker as _std
from multiprocessing.resource_tracker import (
    ensure_running,
    getfd,
    register,
    unregister,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "ensure_running",
    "getfd",
    "register",
    "unregister",
]


def __getattr__(name: str) -> Any:
    return getattr(_std, name)
