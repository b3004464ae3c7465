"""What a node says of a worker when it is asked."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Look"]


class Look(NamedTuple):
    """A worker at one moment.

    Attributes:
        tag: Of the dispatch that it holds, if it holds one.
        progress: How many of its items were begun.
        seconds: For how long it has held that.
        held: For how many seconds its slot on this node has held dispatches in all.
        memory: Resident bytes of its own.
        cpu_seconds: Processor time it has used.
    """

    tag: int | None
    progress: int
    seconds: float
    held: float
    memory: int
    cpu_seconds: float
