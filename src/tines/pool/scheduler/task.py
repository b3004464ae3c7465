"""A task, as the state machine sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from tines.pool.options import DEFAULT, TaskOptions

if TYPE_CHECKING:
    from tines.progress.contract import Counts
    from tines.transport.contract import Buffer
    from tines.wire.pickling import Encoded

__all__ = ["Job", "Task"]


class Job(Protocol):
    """What sends chunks and takes their results: a map, or an iterator.

    A chunk is a ``Task``; what it asks of its job is in ``jobs/chunk.py``.
    """

    options: TaskOptions
    item_size: int
    """Bytes of an item, going by the last chunk that was heavy; 0 before one was."""
    retried: int
    """How many further attempts its items had; the state machine counts them."""
    earliest: int
    latest: int
    """Between which numbers its dispatches are, both included; the state machine keeps them."""
    withdrawn: bool
    """It was cancelled: what of it was just being sent again, and so not seen, is cancelled then."""

    def counts(self) -> Counts:
        """Return how far it is; see :class:`tines.progress.contract.Source`."""

    def feed(self) -> None:
        """Begin to send chunks."""

    def refill(self) -> None:
        """Results have arrived: send more chunks, if the job wants that now."""

    def feed_all(self) -> None:
        """Send all that is left, however long: a closed pool that is joined has to finish it."""

    def abandon(self, error: BaseException) -> None:
        """The pool has ended: nothing more will be sent."""


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
    data: Buffer = None
    buffers: Sequence[Buffer] = ()
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
    job: Job | None = None
    """The map or iterator it is a chunk of."""

    def split(self, start: int, stop: int) -> Task:
        """Return a task for a part of the range; itself where that is the whole."""
        raise NotImplementedError

    def encoded(self) -> Encoded:
        """Return ``(kind, data, buffers)`` of the message that carries it."""
        raise NotImplementedError

    def settle(self, kind: int, data: Buffer, buffers: Sequence[Buffer]) -> None:
        """Take the outcome as it came. Idempotent: a collector may be interrupted anywhere."""
        raise NotImplementedError

    def settle_error(self, error: BaseException) -> None:
        """Take a failure of the pool's own."""
        raise NotImplementedError
