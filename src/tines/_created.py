"""Who is told of the queues and pools that this process makes: ``tines --stats``, ``tines top``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Listener(Protocol):
        """Somebody who wants to know; called in the thread where it happens."""

        def made(self, thing: object) -> None:
            """Hear of a new queue or pool."""

        def ending(self, thing: object) -> None:
            """Hear that this process is about to let go of a queue, or that a pool has ended."""


__all__ = ["listeners", "tell_ending", "tell_made"]

listeners: list[Listener] = []


def tell_made(thing: object) -> None:
    """Tell that there is a new queue or pool."""
    for listener in listeners:
        listener.made(thing)


def tell_ending(thing: object) -> None:
    """Tell that a queue is about to be closed in this process, or that a pool has ended."""
    for listener in listeners:
        listener.ending(thing)
