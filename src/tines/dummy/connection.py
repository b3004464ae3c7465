"""Connections between threads: the standard library's own."""

from __future__ import annotations

import multiprocessing.dummy.connection as _std
from multiprocessing.dummy.connection import (
    Client,
    Connection,
    Listener,
    Pipe,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "Client",
    "Connection",
    "Listener",
    "Pipe",
]


def __getattr__(name: str) -> Any:
    return getattr(_std, name)
