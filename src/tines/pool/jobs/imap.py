"""``imap`` and ``imap_unordered``: input is read on demand, a bounded window ahead of the consumer.

Who reads the input: where reading cannot block (lists, ranges and the like), the consumer in
``next()``; otherwise one thread of the iterator's own, so that a slow generator holds up neither the
consumer nor anything else. Either way reading stops where the consumer stops.

Results wait undecoded in ``store`` until they are asked for. Who asks finds many there where tasks are
quick: then some small ones are decoded at once, into ``_current``, from where a consumer takes the
next at the cost of a ``popleft``, without the lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tines import _clock
from tines.errors import WaitTimeout
from tines.pool.jobs.chunk import Chunk, encode_items
from tines.pool.jobs.entries import (
    ENDED,
    LOCAL,
    Outcome,
    entry_of,
    note,
    outcome_of,
    outcomes_of,
    size_of,
    tally,
)
from tines.pool.jobs.insides import IteratorInsides
from tines.pool.jobs.result import Waitable
from tines.pool.jobs.stores import AsTheyCome, InOrder
from tines.pool.jobs.window import Window
from tines.pool.options import DEFAULT, TaskOptions
from tines.progress.contract import Counts
from tines.wire import messages
from tines.wire.pickling import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tines.pool.ports import Links, Room
    from tines.transport.contract import Buffer
    from tines.wire.pickling import Encoded

__all__ = ["IMapIterator", "IMapUnorderedIterator"]

T = TypeVar("T")

BATCH = 32
"""How many chunks are read and sent, and how many results are decoded, in one go."""

SMALL = 1024
"""Bytes of a result that may be decoded before it is asked for."""

# Reading these runs no code of the user's and cannot block.
_IMMEDIATE = (list, tuple, range, str, bytes, dict, set, frozenset, deque)


class IMapIterator(Waitable, IteratorInsides, Generic[T]):
    """The results of ``imap``, in order. Made by the pool.

    Its lock orders consumers in several threads, and whoever reads the input. What was read is counted
    under a second one, below it, as the input may be abandoned from anywhere and at any time.
    """

    retried = earliest = latest = 0
    withdrawn = False

    def __init__(
        self,
        links: Links,
        pool: object = None,
        func: Any = None,
        iterable: Iterable[object] = (),
        chunksize: int = 1,
        buffersize: int | None = None,
        options: TaskOptions = DEFAULT,
        *,
        star: bool = False,
    ) -> None:
        if pool is None:  # a program makes it, with nothing but the pool: see ``take_over``
            self._maker = links
            return
        self._star = star
        self._pool: object = pool  # held until the last result was taken
        self._collector = links.collector
        self._cancelling = links.cancelling
        self._dispatcher = links.dispatcher
        self._feeding = links.feeding
        self.pressure: Room = links.pressure
        self.item_size = 0
        self.options = options
        self._input: Iterator[object] | None = iter(iterable)
        if options.timeout is not None or options.retry_on:
            chunksize = 1
        self._chunksize = chunksize
        self._window = Window(links.registry, links.pressure, chunksize, buffersize)
        self.express = options is DEFAULT and chunksize == 1 and not star
        self._lock = threading.Lock()
        # Guards what follows. Reentrant, as a signal handler may terminate the pool anywhere.
        self._counting = threading.RLock()
        self._accepting = False
        self._abandoned: BaseException | None = None
        self._filled_up = threading.Lock()  # taken once, by whoever does it
        self._pulled = 0
        self._room: threading.Event | None = None
        self.store: InOrder | AsTheyCome = self._new_store()
        # Decoded items that are next in line, and how many ever came in there. First it comes in, then
        # it is counted: who looks in between takes the consumer to be further behind than it is.
        self._current: deque[Outcome] = deque()
        self._decoded = 0
        self._waiting: list[int] = []  # threads of consumers
        self._reference, self._shared = links.functions.refer_many(func)
        if type(iterable) not in _IMMEDIATE:
            self._room = threading.Event()

    def __iter__(self) -> IMapIterator[T]:
        return self

    def __next__(self) -> T:
        try:
            outcome = self._current.popleft() if self._current else None
        except IndexError:  # a consumer in another thread was faster
            outcome = None
        if outcome is None:
            return self.next()
        good, value = outcome
        if good:
            return value  # type: ignore[no-any-return]
        try:
            raise value
        finally:
            del outcome, value, self  # the traceback refers to this frame

    def next(self, timeout: float | None = None) -> T:
        """Return the next result, or raise what its task raised.

        Raises:
            StopIteration: there are no more.
            multiprocessing.TimeoutError: it is not there after ``timeout`` seconds.
        """
        deadline = _clock.deadline_after(timeout)
        try:
            while (outcome := self._look()) is None:
                seconds = None if deadline is None else deadline - _clock.monotonic()
                if not self._wait(seconds):
                    raise WaitTimeout(f"the next result did not arrive within {timeout} s")
        except (StopIteration, WaitTimeout):
            raise
        except BaseException:
            self.withdraw()
            raise
        good, value = outcome
        if good:
            return value  # type: ignore[no-any-return]
        try:
            raise value
        finally:
            del outcome, value, self

    def withdraw(self) -> None:
        """Who waited was interrupted: have the rest cancelled, by a thread that nothing interrupts."""
        self._collector.call_later(lambda: self._cancelling.cancel_job(self))

    def _look(self) -> Outcome | None:
        """Return what is next in line, if it is there; see that more is read where that is due."""
        if not self._current:
            with self._lock:
                if self._input is not None and self._window.is_due(self._ahead):
                    self._make_room()
                if self.store and not self._current:
                    self._advance()
                no_more = self._input is None and self._decoded >= self._pulled
                if over := no_more and not self._current:
                    self._close()
            if no_more and self._waiting:
                # They may have looked while the last results were on their way from here to there.
                self.wake()
                self._collector.nudge()
            if over:
                raise StopIteration
        try:
            return self._current.popleft() if self._current else None
        except IndexError:
            return None

    def _wait(self, timeout: float | None) -> bool:
        """Wait until a look is worthwhile; ``False``: it is not, after so long."""
        me = threading.get_ident()
        self._waiting.append(me)
        try:
            return self._collector.wait(self, timeout)
        finally:
            self._waiting.remove(me)

    @property
    def _consumed(self) -> int:
        """How many items the consumer has taken."""
        return self._decoded - len(self._current)

    @property
    def _ahead(self) -> int:
        """How many items were read that the consumer has not taken."""
        return self._pulled - self._decoded + len(self._current)

    @property
    def settled(self) -> bool:
        """Whether :meth:`next` has something to do."""
        # In the order in which results pass through.
        return self.store.is_ready(self._decoded) or bool(self._current) or self._over()

    def counts(self) -> Counts:
        """Return how many items are over, for a display; of failures those not yet consumed."""
        done, failed = tally(self._current.copy(), self.store.entries())
        done += self._consumed
        total = self._pulled if self._input is None else None
        return Counts(done, failed, self.retried, total)

    # What the pool calls.

    def feed(self) -> None:
        """Begin to read the input."""
        if self._room is not None:
            name = f"{type(self).__name__} input"
            threading.Thread(target=self._read_on, name=name, daemon=True).start()
        else:
            with self._lock:
                self._fill()

    def refill(self) -> None:
        """Nothing: the consumer's pace decides, not that of the results."""

    def feed_all(self) -> None:
        """Read all of the input, however long: a closed pool that is joined has to finish it."""
        with self._lock:
            self._window.open()
            if self._input is not None:
                self._make_room()

    def encode(self, chunk: Chunk) -> Encoded:
        """Encode a chunk."""
        assert chunk.items is not None
        if self.express:
            _, data, buffers = encode(chunk.items)
            if type(data) is bytes:
                return messages.CALL, data + self._reference.trailer, buffers
        timed = self.options.timeout is not None
        kind = messages.STAR_EACH if self._star else messages.EACH
        return encode_items(self._reference, kind, timed, False, chunk.items)

    def arrived(self, chunk: Chunk, kind: int, data: Buffer, buffers: Sequence[Buffer]) -> None:
        """Keep results as they came. Idempotent for whole outcomes."""
        if chunk.settled:
            return
        entry = entry_of(chunk, kind, data, buffers)
        self.store.put(chunk.start + chunk.reported, entry)
        note(chunk, entry)
        if self._waiters:
            self.wake()

    def failed(self, chunk: Chunk, error: BaseException) -> None:
        """Keep an error for every unreported item."""
        self.arrived(chunk, LOCAL, error, ())

    def abandon(self, error: BaseException) -> None:
        """The pool has ended: the rest of the input becomes this error, also what is being read."""
        with self._counting:
            if self._abandoned is None:
                self._abandoned = error
            if not self._accepting:
                self._fill_up()
        if self._room is not None:
            self._room.set()
        self.wake()

    def _fill_up(self) -> None:
        """Put the error in place of what is left of the input. While counting."""
        if (
            self._input is not None
            and self._abandoned is not None
            and self._filled_up.acquire(blocking=False)
        ):
            # In this order: a consumer that sees no more input must find the error counted.
            self.store.put(self._pulled, (1, ENDED, self._abandoned, ()))
            self._pulled += 1
            self._input = None

    def _new_store(self) -> InOrder | AsTheyCome:
        return InOrder()

    # Consuming; under the lock.

    def _over(self) -> bool:
        return self._input is None and self._decoded >= self._pulled and not self._current

    def _advance(self) -> None:
        """Decode what is next in line, if it is there; of what is small, several at once."""
        current = self._current
        window = self._window
        returned = self.options.return_exceptions
        most = min(BATCH, window.size // 4)
        for entry in self.store.in_line(self._decoded):
            count, kind, data, buffers = entry
            plain = kind == messages.VALUE and not returned
            if plain and count == 1 and len(data) <= SMALL and not buffers:
                current.append(outcome_of(kind, data, buffers))
                self._decoded += 1
                window.result_size = 0
                if len(current) < most:
                    continue
            else:
                window.result_size = size_of(entry, self.pressure.heavy)
                current.extend(outcomes_of(entry, returned=returned))
                self._decoded += count
            break

    def _close(self) -> None:
        self._pool = None
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    # Reading.

    def _make_room(self) -> None:
        """The consumer has come halfway through the window: have more read. Under the lock."""
        self._window.move(self._consumed)
        if self._room is None:
            self._fill()
        elif not self._room.is_set():
            self._room.set()

    def _may_pull(self) -> bool:
        return self._input is not None and self._window.has_room(self._ahead)

    def _fill(self) -> None:
        """Read and send as far as the window goes. Under the lock; reading cannot block."""
        while self._may_pull():
            room = self._window.size - self._ahead
            # One by one where items are heavy, which only their sending shows.
            heavy = self.item_size or self._window.result_size
            most = 1 if heavy else min(BATCH, self._pulled // 2 + 1)
            self._send(self._pull(min(-(-room // self._chunksize), most)))
        if self._input is None:
            self._feeding.exhausted(self)

    def _send(self, chunks: list[Chunk]) -> None:
        """Send what was read. If all was cancelled meanwhile, so is this, which came too late to be seen."""
        self._dispatcher.send_chunks(chunks)
        if self._abandoned is not None:
            self._cancelling.cancel(chunks)

    def _read_on(self) -> None:
        """Read and send whenever there is room: the body of the reading thread."""
        room = self._room
        assert room is not None
        try:
            while self._input is not None:
                while self._may_pull():
                    # What was read goes at once: the next item may be long in coming.
                    self._send(self._pull(1))
                if self._input is not None:
                    room.wait()
                    room.clear()
        except BaseException as error:
            # No memory, or what the input or an item raised that is no ``Exception``: nothing more
            # is read, and the consumer gets it.
            self.abandon(error)
        self._feeding.exhausted(self)
        # A consumer may be waiting for a result that is not to come.
        self._collector.post(self.wake)

    def _pull(self, count: int) -> list[Chunk]:
        """Read so many chunks; an exception of the input takes a place, as in the standard library.

        What was read of a chunk before that goes with it.
        """
        source = self._input
        if source is None:
            return []
        wanted = count * self._chunksize
        items: list[object] = []
        failure = None
        try:
            items.extend(islice(source, wanted))  # keeps what came before an exception
        except Exception as error:
            failure = error
            del items[len(items) // self._chunksize * self._chunksize :]
        with self._counting:
            if self._input is None:
                return []  # it was abandoned meanwhile, and that was the last
            self._accepting = True
            try:
                return self._accept(items, failure, failure is not None or len(items) < wanted)
            finally:
                self._accepting = False
                self._fill_up()

    def _accept(self, items: list[object], failure: Exception | None, over: bool) -> list[Chunk]:
        """Number what was read. While counting."""
        first = self._pulled
        chunks: list[Chunk]
        if self.express:
            single = self.store.single
            chunks = [single(self, start, each) for start, each in enumerate(zip(items), first)]
        else:
            chunks = []
            for start in range(0, len(items), self._chunksize):
                part = items[start : start + self._chunksize]
                chunk = Chunk(self, first + start, first + start + len(part), self.options)
                chunk.items = part
                chunks.append(chunk)
        self._pulled += len(items)
        if failure is not None:
            self.store.put(self._pulled, (1, ENDED, failure, ()))
            self._pulled += 1
        if over:
            self._input = None
        return chunks


class IMapUnorderedIterator(IMapIterator[T]):
    """The results of ``imap_unordered``, as they come. Made by the pool."""

    def _new_store(self) -> InOrder | AsTheyCome:
        return AsTheyCome()
