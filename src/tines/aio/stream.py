"""``imap`` and ``imap_unordered`` for asyncio: input is pulled on demand, from any iterable.

A ``Stream`` is a job of the pool, as maps and iterators are. Its state belongs to its loop: a task, the
*feeder*, pulls the input and sends chunks while fewer than a window of items are on their way or wait
for the consumer; results arrive in whatever thread collects, which posts them to the loop; the consumer
decodes them when it asks for them. So memory is bounded by the window, whatever the input.

The consumer holds a ``ResultIterator``. When it is left (closed, cancelled, collected), the feeder is
cancelled, and with it what is queued or running.
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from tines.aio.bridge import Bridge, wake
from tines.pool.jobs.chunk import Chunk, encode_items
from tines.pool.jobs.entries import (
    ENDED,
    LOCAL,
    Entry,
    Outcome,
    entry_of,
    note,
    outcomes_of,
    size_of,
    tally,
)
from tines.pool.jobs.stores import AsTheyCome, InOrder
from tines.pool.jobs.window import Window
from tines.pool.options import TaskOptions
from tines.progress.contract import Counts
from tines.wire import messages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tines.pool.ports import Links, Room
    from tines.progress.live import Bar
    from tines.transport.contract import Buffer
    from tines.wire.pickling import Encoded

__all__ = ["ResultIterator", "Stream"]

T = TypeVar("T")

AHEAD = 16
"""Items for each worker that are on their way or wait for the consumer, if nothing else is asked for."""

BATCH = 64
"""Chunks that are sent before other tasks of the loop get their turn."""


class Stream:
    """See the module. All methods run in the loop's thread, but for those that say otherwise."""

    retried = earliest = latest = 0
    withdrawn = False
    bar: Bar | None = None

    def __init__(
        self,
        links: Links,
        pool: object,
        func: Callable[..., object],
        source: Iterable[object] | AsyncIterable[object],
        options: TaskOptions,
        bridge: Bridge,
        *,
        ordered: bool,
        star: bool,
        chunksize: int,
        buffersize: int | None,
    ) -> None:
        self._pool: object = pool  # held until it is closed
        self._dispatcher = links.dispatcher
        self._feeding = links.feeding
        self._cancelling = links.cancelling
        self.pressure: Room = links.pressure
        self.item_size = 0
        self.options = options
        self._bridge = bridge
        timed = options.timeout is not None
        self._chunksize = 1 if timed or options.retry_on else chunksize
        ahead = buffersize or AHEAD * links.registry.target * self._chunksize
        self._window = Window(links.registry, links.pressure, self._chunksize, ahead)
        # An error for what can be iterated over in no way is due here, not in the feeder.
        self._source: Any = (
            source.__aiter__() if isinstance(source, AsyncIterable) else iter(source)
        )
        self._asynchronous = isinstance(source, AsyncIterable)
        self._pulled = self._consumed = self._failed = 0
        self._exhausted = self.closed = False
        self._store: InOrder | AsTheyCome = InOrder() if ordered else AsTheyCome()
        self._current: deque[Outcome] = deque()
        self._waiting: set[asyncio.Future[None]] = set()
        self._room: asyncio.Future[None] | None = None
        reference, self._shared = links.functions.refer_many(func)
        kind = messages.STAR_EACH if star else messages.EACH
        self._encode = functools.partial(encode_items, reference, kind, timed, False)
        self._feeder: asyncio.Task[None] | None = None

    # What the pool calls, in any thread.

    def feed(self) -> None:
        """Begin to read the input. In the loop's thread, as that is where streams begin."""
        self._feeder = asyncio.get_running_loop().create_task(self._feed(), name="tines input")

    def refill(self) -> None:
        """Nothing: the consumer's pace decides."""

    def feed_all(self) -> None:
        """A closed pool is joined: the rest of the input has to be read, unless the loop is gone."""
        if self._bridge.open:
            self._bridge.post(self._widen)
        else:
            self._feeding.exhausted(self)

    def encode(self, chunk: Chunk) -> Encoded:
        """Encode a chunk."""
        assert chunk.items is not None
        return self._encode(chunk.items)

    def arrived(self, chunk: Chunk, kind: int, data: Buffer, buffers: Sequence[Buffer]) -> None:
        """Hand results to the loop. What is posted twice is dropped there."""
        if chunk.settled:
            return
        entry = entry_of(chunk, kind, data, buffers)
        self._bridge.post(functools.partial(self._land, chunk, chunk.reported, entry))
        note(chunk, entry)

    def failed(self, chunk: Chunk, error: BaseException) -> None:
        """Hand an error for every unreported item to the loop."""
        self.arrived(chunk, LOCAL, error, ())

    def abandon(self, error: BaseException) -> None:
        """The pool has ended: the rest of the input becomes this error."""
        self._bridge.post(functools.partial(self._end_input, error))

    def counts(self) -> Counts:
        """Return how many items are over, for a display."""
        done, failed = tally(self._current.copy(), self._store.entries())
        done += self._consumed
        failed += self._failed
        return Counts(done, failed, self.retried, self._pulled if self._exhausted else None)

    # Input.

    async def _feed(self) -> None:
        error: BaseException | None = None
        try:
            while not self._exhausted:
                if not self._may_pull():
                    self._room = asyncio.get_running_loop().create_future()
                    await self._room
                else:
                    await self._send_some()
                    await asyncio.sleep(0)
        except BaseException as raised:
            # Also the ``CancelledError`` of an input: nobody but the consumer would ever see it.
            error = raised
            if not isinstance(raised, (Exception, asyncio.CancelledError)):
                raise
        finally:
            self._end_input(error)

    @property
    def _ahead(self) -> int:
        """How many items were read that the consumer has not taken."""
        return self._pulled - self._consumed

    def _may_pull(self) -> bool:
        return self._window.has_room(self._ahead)

    def _look_for_room(self) -> None:
        """Something came back, or was taken: have more read, if it is time for that."""
        if self._room is not None and self._window.is_due(self._ahead):
            self._window.move(self._consumed)
            wake(self._room)

    async def _send_some(self) -> None:
        """Pull as far as the window goes, from an asynchronous input one chunk; and send it."""
        chunks: list[Chunk] = []
        try:
            while not self._exhausted and self._may_pull():
                items: list[object] = []
                while len(items) < self._chunksize:
                    items.append(
                        await self._source.__anext__() if self._asynchronous else next(self._source)
                    )
                self._chunk(chunks, items)
                # The next item may be long in coming; that items are heavy, only their sending shows;
                # and others of the loop have to do something.
                most = 1 if self._asynchronous or self.item_size else min(BATCH, self._pulled)
                if len(chunks) >= most:
                    break
        except (StopIteration, StopAsyncIteration):
            self._chunk(chunks, items)
            self._exhausted = True
        finally:
            self._dispatcher.send_chunks(chunks)

    def _chunk(self, chunks: list[Chunk], items: list[object]) -> None:
        if items and not self.closed:
            chunk = Chunk(self, self._pulled, self._pulled + len(items), self.options)
            chunk.items = items
            self._pulled += len(items)
            chunks.append(chunk)

    def _end_input(self, error: BaseException | None) -> None:
        """No more comes: the input is exhausted, has raised, or is not wanted any more."""
        if self._source is None:
            return
        self._source = None
        self._exhausted = True
        if error is not None and not self.closed:
            self._store.put(self._pulled, (1, ENDED, error, ()))
            self._pulled += 1
        if self._feeder is not None and self._feeder is not asyncio.current_task():
            self._feeder.cancel()
        self._feeding.exhausted(self)
        self._wake()

    def _widen(self) -> None:
        self._window.open()
        if self._room is not None:
            wake(self._room)

    # Results.

    def _land(self, chunk: Chunk, begin: int, entry: Entry) -> None:
        """Take an entry that was posted: results of a chunk, from its item ``begin`` on."""
        if self.closed or begin < chunk.landed:
            return
        chunk.landed += entry[0]
        self._store.put(chunk.start + begin, entry)
        self._wake()
        self._look_for_room()

    def _wake(self) -> None:
        for future in self._waiting:
            wake(future)

    def _advance(self) -> None:
        """Decode the entry that is next in line, if it is there."""
        entry = next(self._store.in_line(self._consumed), None)
        if entry is not None:
            self._window.result_size = size_of(entry, self.pressure.heavy)
            self._current.extend(outcomes_of(entry, returned=self.options.return_exceptions))

    async def next(self) -> Outcome:
        """Return the next outcome: whether it is good, and the value or exception.

        Raises:
            StopAsyncIteration: there are no more.
        """
        while True:
            if not self._current:
                self._advance()
            if self._current:
                outcome = self._current.popleft()
                self._consumed += 1
                self._failed += not outcome[0]
                self._look_for_room()
                return outcome
            if self.closed or (self._exhausted and self._consumed >= self._pulled):
                self.close()
                raise StopAsyncIteration
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            try:
                await future
            finally:
                self._waiting.discard(future)

    async def fed(self) -> None:
        """Wait for the end of the feeder, unless this is it."""
        if self._feeder is not None and self._feeder is not asyncio.current_task():
            await asyncio.wait([self._feeder])

    def close(self) -> None:
        """Let go of everything: what was not sent will not be, the rest is cancelled."""
        if self.closed:
            return
        self.closed = True
        under_way = self._consumed + len(self._current) < self._pulled or not self._exhausted
        self._end_input(None)
        if under_way:
            self._cancelling.cancel_job(self)
        self._store.clear()
        self._current.clear()
        if self._shared is not None:
            self._shared.close()
            self._shared = None
        if self.bar is not None:
            self.bar.finish()
        self._pool = None
        self._wake()


class ResultIterator(AsyncIterator[T]):
    """The results of ``imap`` or ``imap_unordered``. Made by the pool.

    A task that raised does not end it: the next step returns the next result. Leaving it cancels what
    is under way: by :meth:`aclose`, by cancelling a task that waits in it, or by letting go of it.
    """

    def __init__(self, stream: Stream, bridge: Bridge) -> None:
        self._stream = stream
        self._left = weakref.finalize(self, bridge.post, stream.close)
        self._left.atexit = False

    def __aiter__(self) -> ResultIterator[T]:
        return self

    async def __anext__(self) -> T:
        value: Any
        try:
            good, value = await self._stream.next()
        except asyncio.CancelledError:
            self._stream.close()
            raise
        if good:
            return value  # type: ignore[no-any-return]
        try:
            raise value
        finally:
            del value, self  # the traceback refers to this frame

    async def aclose(self) -> None:
        """Leave it: what was not sent will not be, and what is queued or running is cancelled.

        When it returns, the input is not being read any more.
        """
        self._stream.close()
        await self._stream.fed()
