"""Where iterators and streams keep what has arrived until it is asked for: in order, or as it comes.

Who delivers puts, the consumer takes out, each in a thread of its own; every step is one operation
on a container of C. The single items of a plain ``imap``, which are most of what ever arrives, know
their store and go there themselves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from tines.pool.jobs.chunk import Chunk, ChunkedJob
from tines.pool.jobs.entries import ENDED, Entry, entry_of
from tines.wire.messages import ERROR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tines.pool.ports import Rings
    from tines.transport.contract import Buffer

__all__ = ["AsTheyCome", "InOrder"]


class _Keeper(ChunkedJob, Protocol):
    """The job of single items, to them."""

    store: Any
    _waiters: list[Rings] | None

    def wake(self) -> None:
        """Tell those who wait."""


class _Single(Chunk):
    """One item of a plain ``imap``. Any thread may deliver its outcome: all there is to do is here.

    Its items are a tuple, which is also the arguments of the call that it travels as.
    """

    express = True
    job: _Keeper

    def __init__(self, job: _Keeper, start: int, items: tuple[object]) -> None:
        self.job = job
        self.start = start
        self.stop = start + 1
        self.items = items

    def split(self, start: int, stop: int) -> Chunk:
        """Return itself: one item is not divisible."""
        return self

    def settle(self, kind: int, data: Buffer, buffers: Sequence[Buffer]) -> None:
        """Put the outcome in its place."""
        job = self.job
        if not self.settled:
            entry = 1, kind, data, buffers
            job.store[self.start] = entry if kind != ERROR else entry_of(self, *entry[1:])
            self.settled = True
        if job._waiters:
            job.wake()
        if self.heavy:
            self._weigh_no_more()


class _UnorderedSingle(_Single):
    def settle(self, kind: int, data: Buffer, buffers: Sequence[Buffer]) -> None:
        """Put the outcome behind those that came before."""
        job = self.job
        if not self.settled:
            entry = 1, kind, data, buffers
            job.store.append(entry if kind != ERROR else entry_of(self, *entry[1:]))
            self.settled = True
        if job._waiters:
            job.wake()
        if self.heavy:
            self._weigh_no_more()


class InOrder(dict[int, Entry]):
    """Entries by their first item."""

    single = _Single

    def put(self, first: int, entry: Entry) -> None:
        """Keep an entry that begins with this item."""
        self[first] = entry

    def is_ready(self, position: int) -> bool:
        """Whether there is one to take for a consumer that has had so many items."""
        return position in self

    def in_line(self, position: int) -> Iterator[Entry]:
        """Take out what such a consumer is to have next, and so on, as far as it is there."""
        while (entry := self.pop(position, None)) is not None:
            yield entry
            position += entry[0]

    def entries(self) -> list[Entry]:
        """Return what is there, in any thread."""
        return list(self.copy().values())


class AsTheyCome(deque[Entry]):
    """The same for a consumer that takes them in the order in which they were put.

    But what ended the input comes last, behind the results of all items before it: it takes no time,
    and would otherwise be ahead of what those items have already cost.
    """

    single = _UnorderedSingle
    _length = 0
    """How many items come before what ended the input."""

    def put(self, first: int, entry: Entry) -> None:
        """See :meth:`InOrder.put`."""
        if entry[1] == ENDED:
            self._length = first
        self.append(entry)

    def is_ready(self, position: int) -> bool:
        """See :meth:`InOrder.is_ready`."""
        if position >= self._length or len(self) != 1:
            return bool(self)
        return all(kind != ENDED for _, kind, _, _ in self.copy())

    def in_line(self, position: int) -> Iterator[Entry]:
        """See :meth:`InOrder.in_line`."""
        while self:
            entry = self.popleft()
            if entry[1] == ENDED and position < self._length:
                self.append(entry)
                if self[0] is entry:
                    return
                continue
            yield entry
            position += entry[0]

    def entries(self) -> list[Entry]:
        """See :meth:`InOrder.entries`."""
        return list(self.copy())
