"""``MapResult``: what ``map``, ``starmap`` and their asynchronous forms return.

The input is a list here, as in the standard library. It is sent a few chunks at a time: when a
chunk comes back, the collector thread calls ``feed``, which sends the next, sized by what was
measured so far (``chunks.py``).

As in the standard library, the map is over when all chunks are, and raises the first exception that
arrived; a chunk ends at its first exception.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

from tines.pool.chunk import Chunk, encode_items
from tines.pool.chunks import Guide
from tines.pool.options import TaskOptions
from tines.pool.results import ApplyResult, Callbacks, decoded
from tines.wire import messages, pickling

if TYPE_CHECKING:
    from tines.pool.facade import Pool

__all__ = ["MapResult"]

AHEAD = 512
"""How many chunks of a size the caller chose are on their way at once."""


class MapResult(ApplyResult):
    """The result of a map. Made by the pool.

    Its lock orders the collector thread with whoever cancels, fails or first feeds the map.
    """

    def __init__(
        self,
        pool: Pool,
        func: Any,
        items: list[Any],
        kind: int,
        chunksize: int | None,
        options: TaskOptions,
        callbacks: Callbacks | None,
    ) -> None:
        super().__init__(pool)
        self.configure(options, callbacks)
        self._core = core = pool._core
        self._items = items
        self._values: list[Any] = [None] * len(items)
        self._left = len(items)
        self._next = 0
        self._on_the_way = 0
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        if options.timeout is not None or options.retry_on:
            chunksize = 1
        self._guide = Guide(core.state.target, chunksize)
        self._ahead = max(AHEAD, self._guide.ahead) if chunksize else self._guide.ahead
        reference, self._shared = core.functions.refer_many(func)
        self._encode = functools.partial(
            encode_items,
            reference,
            kind,
            options.timeout is not None,
            self._guide.measures,
        )

    def feed(self) -> None:
        """Send more chunks where fewer than wanted are on their way."""
        if self._next >= len(self._items) or self._on_the_way * 2 > self._ahead:
            return
        self._send_some()
        while self._on_the_way == 0 and self._next < len(self._items):
            # None of them could be pickled, so none will come back and ask for more.
            self._send_some()

    def _send_some(self) -> None:
        core = self._core
        with self._lock:
            chunks = []
            total = len(self._items)
            on_the_way = self._on_the_way
            start = self._next
            options = self.options
            while start < total and on_the_way < self._ahead:
                stop = start + self._guide.size(total - start)
                chunks.append(Chunk(self, start, stop, options))
                on_the_way += 1
                start = stop
            self._on_the_way = on_the_way
            self._next = start
        core.send_chunks(chunks)
        if self._next >= total:
            core.exhausted(self)

    refill = feed

    def encode(self, chunk: Chunk) -> tuple[int, Any, Any]:
        """Encode a chunk."""
        return self._encode(self._items[chunk.start : chunk.stop])

    def arrived(self, chunk: Chunk, kind: int, data: Any, buffers: Any) -> None:
        """Take results of a chunk. Only the collector thread calls this."""
        first = chunk.start + chunk.reported
        if kind <= messages.LAST_PLAIN:
            good, value = decoded(kind, data, buffers)
            if not good:
                self.failed(chunk, value)
                return
            count = 1
            self._values[first] = value
        else:
            try:
                seconds, values, _ = pickling.decode(pickling.PICKLED, data, buffers)
            except Exception as error:
                self.failed(chunk, error)
                return
            count = len(values)
            self._guide.measured(count, seconds)
            self._values[first : first + count] = values
        with self._lock:
            if kind == messages.PART:
                chunk.reported += count
            else:
                self._on_the_way -= 1
            self._left -= count
            over = self._left == 0
        if over:
            self._finish()

    def failed(self, chunk: Chunk, error: BaseException) -> None:
        """Take an error for the rest of a chunk."""
        with self._lock:
            if self._error is None:
                self._error = error
            self._left -= chunk.stop - chunk.start - chunk.reported
            self._on_the_way -= 1
            over = self._left == 0
        if over:
            self._finish()

    def abandon(self, error: BaseException) -> None:
        """Fail what was not sent yet."""
        with self._lock:
            if self._error is None:
                self._error = error
            self._left -= len(self._items) - self._next
            self._next = len(self._items)
            over = self._left == 0 and not self.settled
        if over:
            self._finish()

    def cancel(self) -> bool:
        """Cancel the whole map; items that are running are interrupted."""
        pool = self._pool
        if pool is not None and not self.settled:
            pool._core.cancel_job(self)
        return self.cancelled()

    def running(self) -> bool:
        """Whether some of it is on its way."""
        return not self.settled and self._on_the_way > 0

    def empty(self) -> None:
        """Settle a map without items."""
        self._finish()

    def _finish(self) -> None:
        self._items = []
        if self._shared is not None:
            self._shared.close()
            self._shared = None
        if self._error is not None:
            self.settle_error(self._error)
            return
        self._outcome = (True, self._values)
        if self._callbacks is None:
            self.conclude()
        else:
            self._core.conclude(self)
