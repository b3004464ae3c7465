"""A chunk: a range of a job's items that travels as one task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from tines.errors import EncodeError
from tines.pool.options import TaskOptions
from tines.pool.scheduler.task import Job, Task
from tines.pool.worker.functions import Reference
from tines.wire import messages
from tines.wire.pickling import short_repr

if TYPE_CHECKING:
    from tines.pool.ports import Room
    from tines.transport.contract import Buffer
    from tines.wire.pickling import Encoded

__all__ = ["Chunk", "ChunkedJob", "encode_items"]


class ChunkedJob(Job, Protocol):
    """A job, to its chunks."""

    pressure: Room

    def encode(self, chunk: Chunk) -> Encoded:
        """Return ``(kind, data, buffers)`` of the message for a chunk."""

    def arrived(self, chunk: Chunk, kind: int, data: Buffer, buffers: Sequence[Buffer]) -> None:
        """Take results of a chunk as they came; they begin at its first unreported item."""

    def failed(self, chunk: Chunk, error: BaseException) -> None:
        """Take an error for every unreported item of a chunk."""


class Chunk(Task):
    """See the module. Items that are already reported are no longer its own."""

    settled = False
    """Its job takes nothing more for it, nor for its parts."""
    items: Sequence[object] | None = None
    """The items themselves, where the job does not keep them."""
    landed = 0
    """How many of its items a stream has: a message that is handled twice counts once."""

    job: ChunkedJob

    def __init__(self, job: ChunkedJob, start: int, stop: int, options: TaskOptions) -> None:
        self.job = job
        self.start = start
        self.stop = stop
        self.options = options

    def split(self, start: int, stop: int) -> Task:
        """Return a chunk for a part of the range."""
        if (start, stop) == (self.start, self.stop) and not self.reported:
            return self
        part = type(self)(self.job, start, stop, self.options)
        part.settled = self.settled
        if self.items is not None:
            part.items = self.items[start - self.start : stop - self.start]
        self._weigh_no_more()
        return part

    def encoded(self) -> Encoded:
        """Return the message that carries it."""
        return self.job.encode(self)

    def settle(self, kind: int, data: Buffer, buffers: Sequence[Buffer]) -> None:
        """Hand the outcome to the job."""
        self.job.arrived(self, kind, data, buffers)
        if self.heavy and kind != messages.PART:
            self._weigh_no_more()

    def settle_error(self, error: BaseException) -> None:
        """Hand a failure to the job."""
        self.job.failed(self, error)
        self._weigh_no_more()

    def _weigh_no_more(self) -> None:
        """It is over, or its parts go on without it."""
        if self.heavy:
            self.job.pressure.done(id(self))


def encode_items(
    reference: Reference, kind: int, timed: bool, measure: bool, items: Sequence[object]
) -> Encoded:
    """Encode a chunk.

    A single item travels as a call, whose result needs no list around it, unless its duration is
    wanted (``measure``), which only chunks report.
    """
    if len(items) == 1 and not measure:
        arguments = _arguments(items[0]) if kind in _STARRED else (items[0],)
        data, buffers = reference.encode(arguments)
        return (messages.CALL | messages.TIMED if timed else messages.CALL), data, buffers
    data, buffers = reference.encode(items)
    return kind, data, buffers


_STARRED = (messages.STAR, messages.STAR_EACH)


def _arguments(item: object) -> tuple[object, ...]:
    try:
        return tuple(item)  # type: ignore[arg-type]
    except TypeError as error:
        raise EncodeError(
            f"the item {short_repr(item)} is not a sequence of arguments: for a single one, write "
            f"({short_repr(item)},)"
        ) from error
