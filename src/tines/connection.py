"""Connections between processes: the standard library's own."""

from __future__ import annotations

import multiprocessing.connection as _std
from multiprocessing.connection import (
    Client,
    Connection,
    Listener,
    Pipe,
    wait,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "Client",
    "Connection",
    "Listener",
    "Pipe",
    "wait",
]


def __getattr__(name: str) -> Any:
    return getattr(_std, name)
