"""A task, as the state machine sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tines.pool.options import DEFAULT, TaskOptions

__all__ = ["Task"]


class Task:
    """What the machine knows of a task, and of a chunk: a range of items that travel together.

    The defaults live in the class, because most tasks never have anything else.

    Attributes:
        tag: Number of the latest dispatch; 0 before the first.
        kind: Kind of the message that carries it.
        data: The encoded task, then its encoded result; ``None`` where it is encoded on sending.
        buffers: The large buffers that belong to ``data``.
        ticket: What the tasks channel returned for it.
        start: First item of the range; a call is a range of one.
        stop: End of the range.
        reported: How many items from ``start`` on have their result.
        attempt: Number of the current attempt, from 1.
        history: How the earlier attempts ended.
        unbegun: How many workers died holding it without having begun.
        express: Any thread may deliver its result: nothing but to store it is to be done.
    """

    tag: int = 0
    kind: int = 0
    data: Any = None
    buffers: Sequence[Any] = ()
    ticket: int = -1
    options: TaskOptions = DEFAULT
    start: int = 0
    stop: int = 1
    reported: int = 0
    attempt: int = 1
    history: tuple[str, ...] = ()
    unbegun: int = 0
    express: bool = False
    heavy: bool = False
    """Its bytes are counted; see ``jobs/back_pressure.py``."""
    job: Any = None
    """The map or iterator it is a chunk of."""

    def split(self, start: int, stop: int) -> Task:
        """Return a task for a part of the range; itself where that is the whole."""
        raise NotImplementedError
