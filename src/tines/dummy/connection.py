"""Connections between threads: the standard library's own."""

from __future__ import annotations

from tines._std import mirrored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.dummy.connection import (
        Client,
        Connection,
        Listener,
        Pipe,
    )

__all__ = [
    "Client",
    "Connection",
    "Listener",
    "Pipe",
]

__getattr__ = mirrored(__name__)
