"""``MapResult``: what ``map``, ``starmap`` and their asynchronous forms return.

The input is there as a whole, as in the standard library. It is sent a few chunks at a time: when some
have come back, the collector thread calls ``refill``, which sends the next, sized by what was measured
so far (``sizing.py``).

As in the standard library, the map is over when all chunks are, and raises the first exception that
arrived; a chunk ends at its first exception.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from tines.pool.jobs.chunk import Chunk, encode_items
from tines.pool.jobs.insides import MapInsides
from tines.pool.jobs.result import ApplyResult, Callbacks, decoded, may_be_returned
from tines.pool.jobs.sizing import Guide
from tines.pool.options import TaskOptions
from tines.progress.contract import Counts
from tines.wire import messages, pickling
from tines.wire.pickling import encode

if TYPE_CHECKING:
    from tines.pool.ports import Links, Room
    from tines.transport.contract import Buffer
    from tines.wire.pickling import Encoded

__all__ = ["MapResult"]

T = TypeVar("T")

AHEAD = 512
"""How many chunks of a size the caller chose are on their way at once."""

SHARES = 8
"""A chunk of heavy items takes at most this part of the bytes that may be under way."""

BATCH = 32
"""How many chunks are made and sent in one go."""


class MapResult(MapInsides, ApplyResult[list[T]]):
    """The result of a map. Made by the pool.

    Its lock orders the collector thread with whoever cancels, fails or first feeds the map.
    """

    retried = earliest = latest = 0
    withdrawn = False

    def __init__(
        self,
        links: Links,
        pool: object,
        func: Callable[..., object],
        items: Sequence[object],
        kind: int,
        chunksize: int | None,
        options: TaskOptions,
        callbacks: Callbacks | None,
    ) -> None:
        super().__init__(links, pool)
        self.configure(options, callbacks)
        # Those that it needs until its last chunk is back, also when it has its outcome.
        self._collector = links.collector
        self._dispatcher = links.dispatcher
        self._feeding = links.feeding
        self._cancelling = links.cancelling
        self.pressure: Room = links.pressure
        self.item_size = 0
        self._items: Sequence[object] = items
        self._values: list[object] = [None] * len(items)
        self._next = 0
        self._sent = 0
        # Items with a value, and chunks back: only the collector thread counts these ...
        self._done = 0
        self._back = 0
        # ... and these are counted under the lock.
        self._failed_items = 0
        self._bad = 0  # items that are done, and whose value is an exception
        self._failed_chunks = 0
        self._finished = False
        self._abandoned = False
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._asked, self._workers = chunksize, links.registry.target
        if options.timeout is not None or options.retry_on:
            chunksize = 1
        self._guide = Guide(links.registry.target, chunksize)
        self._least_ahead = AHEAD if chunksize else 0
        self.measures = self._guide.measures
        self._reference, self._shared = links.functions.refer_many(func)
        self._returned = options.return_exceptions
        if self._returned:  # a chunk goes on behind an exception
            kind = messages.STAR_EACH if kind == messages.STAR else messages.EACH
        self._kind = kind
        # What most maps with chunksize=1 are: every message is a plain call.
        self._singly = (
            chunksize == 1 and kind in (messages.CHUNK, messages.EACH) and options.timeout is None
        )

    def feed(self) -> None:
        """Send chunks until as many as wanted are on their way."""
        while self._next < len(self._items) and self._on_the_way < self._ahead:
            if self._on_the_way and not self.pressure.has_room():
                return
            self._send_some()
        if self._next >= len(self._items):
            self._feeding.exhausted(self)

    def refill(self) -> None:
        """Chunks have come back: finish, or send more once half of what was wanted is back."""
        if self._is_over() or self._next >= len(self._items):
            return
        if self._on_the_way * 2 <= self._ahead:
            self.feed()

    def feed_all(self) -> None:
        """Nothing: its input is there as a whole, and is sent as results come back."""

    def _is_over(self) -> bool:
        """Whether every item has its value or error; if so, the map is finished.

        The collector thread counts values before it looks at the errors, all others the other way
        round, so one of them sees the end.
        """
        over = self._done + self._failed_items >= len(self._items)
        if over:
            self._finish()
        return over

    @property
    def _ahead(self) -> int:
        """How many chunks are to be on their way at once."""
        return max(self._least_ahead, self._guide.ahead)

    @property
    def _on_the_way(self) -> int:
        return self._sent - self._back - self._failed_chunks

    def _send_some(self) -> None:
        with self._lock:
            total = len(self._items)
            start = self._next
            options = self.options
            # One by one where items are heavy, which only their sending shows.
            most = 1 if self.item_size else min(BATCH, max(1, self._sent))
            room = max(0, min(most, self._ahead - self._on_the_way))
            if self._singly:
                stop = min(start + room, total)
                chunks = [Chunk(self, each, each + 1, options) for each in range(start, stop)]
                start = stop
            else:
                chunks = []
                fitting = total
                if self.item_size and self._guide.measures:
                    fitting = max(1, self.pressure.limit // SHARES // self.item_size)
                while start < total and len(chunks) < room:
                    stop = start + min(self._guide.size(total - start), fitting)
                    chunks.append(Chunk(self, start, stop, options))
                    start = stop
            self._sent += len(chunks)
            self._next = start
        self._dispatcher.send_chunks(chunks)
        if self._abandoned:  # while they were on their way, and so perhaps not seen
            self._cancelling.cancel(chunks)

    def encode(self, chunk: Chunk) -> Encoded:
        """Encode a chunk."""
        if self._singly:
            _, data, buffers = encode((self._items[chunk.start],))
            if type(data) is bytes:
                return messages.CALL, data + self._reference.trailer, buffers
        return encode_items(
            self._reference,
            self._kind,
            self.options.timeout is not None,
            self._guide.measures,
            self._items[chunk.start : chunk.stop],
        )

    def arrived(self, chunk: Chunk, kind: int, data: Buffer, buffers: Sequence[Buffer]) -> None:
        """Take results of a chunk. Only the collector thread calls this; ``refill`` follows."""
        if chunk.settled:
            return
        if kind <= messages.LAST_PLAIN:  # the outcome of a single item
            good, value = decoded(kind, data, buffers, chunk)
            if good:
                self._values[chunk.start] = value
                self._done += 1
                self._back += 1
            else:
                self.failed(chunk, value)
            return
        first = chunk.start + chunk.reported
        try:
            seconds, values, errors = pickling.decode(pickling.PICKLED, data, buffers)
        except BaseException as error:
            # Of a part as well: how many items it is about is not known. What follows is not taken.
            self.failed(chunk, error)
            chunk.settled = True
            return
        count = len(values)
        self._guide.measured(count, seconds)
        for index, remote in (errors or {}).items():
            values[index] = remote.revive(first, chunk.attempt)
            self._bad += 1
        self._values[first : first + count] = values
        self._done += count
        if kind == messages.PART:
            chunk.reported += count
        else:
            self._back += 1

    def failed(self, chunk: Chunk, error: BaseException) -> None:
        """Take an error for the rest of a chunk."""
        if chunk.settled:
            return
        first = chunk.start + chunk.reported
        with self._lock:
            if self._returned and may_be_returned(error):
                self._values[first : chunk.stop] = [error] * (chunk.stop - first)
            elif self._error is None:
                self._error = error
            self._failed_items += chunk.stop - first
            self._failed_chunks += 1
        if not self._is_over() and self._next < len(self._items):
            self._collector.call_later(self.refill)

    def abandon(self, error: BaseException) -> None:
        """Fail what was not sent yet."""
        with self._lock:
            self._abandoned = True
            if self._error is None:
                self._error = error
            self._failed_items += len(self._items) - self._next
            self._next = len(self._items)
        self._is_over()

    def cancel(self) -> bool:
        """Cancel the whole map; items that are running are interrupted."""
        if not self.settled:
            self._cancelling.cancel_job(self)
        return self.cancelled()

    def counts(self) -> Counts:
        """Return how many items are over; see :meth:`ApplyResult.counts`."""
        failed = self._failed_items
        return Counts(self._done + failed, failed + self._bad, self.retried, len(self._values))

    def running(self) -> bool:
        """Whether some of it is on its way."""
        return not self.settled and self._on_the_way > 0

    def empty(self) -> None:
        """Settle a map without items."""
        self._finish()

    def _asked_for(self, outcome: tuple[bool, object]) -> tuple[bool, object]:
        return outcome  # what can be returned is among the values

    def _finish(self) -> None:
        with self._lock:
            if self._finished:
                return
            self._finished = True
        if self._shared is not None:
            self._shared.close()
            self._shared = None
        if self._error is not None:
            self.settle_error(self._error)
            return
        self._outcome = (True, self._values)
        self._conclude_or_call()
