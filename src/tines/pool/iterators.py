"""``imap`` and ``imap_unordered``: input is read on demand, a bounded window ahead of the consumer.

Who reads the input: where reading cannot block (lists, ranges and the like), the consumer in
``next()``; otherwise one thread of the iterator's own, so that a slow generator holds up neither the
consumer nor anything else. Either way reading stops where the consumer stops. Results wait undecoded
in ``_ready`` until they are asked for.

How far ahead: ``buffersize`` items, or as many as the consumer lately took in ``HORIZON`` seconds, so
that quick tasks keep the workers busy and a slow consumer holds little.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tines._arguments import deadline_after
from tines.errors import WaitTimeout
from tines.pool.chunk import Chunk, ExpressChunk, encode_items
from tines.pool.options import DEFAULT, TaskOptions
from tines.pool.pressure import weight
from tines.pool.results import Waitable, decoded
from tines.progress.contract import Counts
from tines.wire import messages, pickling
from tines.wire.pickling import encode

if TYPE_CHECKING:
    from tines.pool.facade import Pool

__all__ = ["IMapIterator", "IMapUnorderedIterator", "opened"]

T = TypeVar("T")

HORIZON = 0.01
LARGEST_WINDOW = 1024
BATCH = 32
SMALLEST_WINDOW = 4
"""Per worker: one item running, and enough waiting to bridge the consumer's turn."""

_LOCAL = -1
"""In place of a kind: the data is an exception that was made here."""

# Reading these runs no code of the user's and cannot block.
_IMMEDIATE = (list, tuple, range, str, bytes, dict, set, frozenset, deque)

# How many items, then kind, data and buffers of a message.
Entry = tuple[int, int, Any, Any]


class IMapIterator(Waitable, Generic[T]):
    """The results of ``imap``, in order. Made by the pool.

    Its lock orders consumers in several threads, and whoever reads the input. What was read is counted
    under a second one, below it, as the input may be abandoned from anywhere and at any time.
    """

    retried = 0

    def __init__(
        self,
        pool: Pool,
        func: Any,
        iterable: Iterable[Any],
        chunksize: int,
        buffersize: int | None,
        options: TaskOptions,
    ) -> None:
        self._pool: Pool | None = pool
        self._core = core = pool._core
        self._dispatcher = core.dispatcher
        self.pressure = core.pressure
        self.item_size = 0
        self.options = options
        self._input: Iterator[Any] | None = iter(iterable)
        self._chunksize = chunksize
        self._buffersize = buffersize
        self._window = buffersize or SMALLEST_WINDOW * core.state.target * chunksize
        if options.timeout is not None or options.retry_on:
            self._chunksize = chunksize = 1
        self.express = options is DEFAULT and chunksize == 1
        self._new_chunk = ExpressChunk if self.express else Chunk
        self._lock = threading.Lock()
        # Guards what follows. Reentrant, as a signal handler may terminate the pool anywhere.
        self._counting = threading.RLock()
        self._accepting = False
        self._abandoned: BaseException | None = None
        self._filled_up = threading.Lock()  # taken once, by whoever does it
        self._pulled = 0
        self._consumed = 0
        self._since = (time.monotonic(), 0)
        # Reading stopped for bytes, not for items.
        self._held_back = False
        # Bytes of a result, going by the last one that was taken; 0 if that was small.
        self._result_size = 0
        self._room: threading.Event | None = None
        self._ready: Any = self._new_ready()
        # Decoded items, each (whether good, value or exception), that are next in line.
        self._current: deque[tuple[bool, Any]] = deque()
        self._reference, self._shared = core.functions.refer_many(func)
        if type(iterable) not in _IMMEDIATE:
            self._room = threading.Event()

    def __iter__(self) -> IMapIterator[T]:
        return self

    def __next__(self) -> T:
        return self.next()

    def next(self, timeout: float | None = None) -> T:
        """Return the next result, or raise what its task raised.

        Raises:
            StopIteration: there are no more.
            multiprocessing.TimeoutError: it is not there after ``timeout`` seconds.
        """
        deadline = deadline_after(timeout)
        while True:
            with self._lock:
                if self._input is not None and (
                    self._held_back or 2 * (self._pulled - self._consumed) <= self._window
                ):
                    self._make_room()
                found = self._current.popleft() if self._current else self._advance()
                if found is not None:
                    good, value = found
                    self._consumed += 1
                    break
                if self._over():
                    self._close()
                    raise StopIteration
            remaining = None if deadline is None else deadline - time.monotonic()
            if not self._core.collector.wait(self, remaining):
                raise WaitTimeout(f"the next result was not there within {timeout} s")
        if good:
            return value  # type: ignore[no-any-return]
        try:
            raise value
        finally:
            del value, self

    @property
    def settled(self) -> bool:
        """Whether :meth:`next` has something to do."""
        return bool(self._current) or self._is_ready() or self._over()

    def counts(self) -> Counts:
        """Return how many items are over, for a display; of failures those not yet consumed."""
        done = self._consumed
        failed = 0
        for good, _ in self._current.copy():
            done += 1
            failed += not good
        for count, kind, _, _ in self._arrived():
            done += count
            if kind in (_LOCAL, messages.ERROR):
                failed += count
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
            self._buffersize = self._window = 1 << 62
            if self._input is not None:
                self._make_room()

    def encode(self, chunk: Chunk) -> tuple[int, Any, Any]:
        """Encode a chunk."""
        assert chunk.items is not None
        if self.express:
            _, data, buffers = encode((chunk.items[0],))
            if type(data) is bytes:
                return messages.CALL, data + self._reference.trailer, buffers
        timed = self.options.timeout is not None
        return encode_items(self._reference, messages.EACH, timed, False, chunk.items)

    def arrived(self, chunk: Chunk, kind: int, data: Any, buffers: Any) -> None:
        """Keep results as they came. Idempotent for whole outcomes."""
        if chunk.settled:
            return
        first = chunk.start + chunk.reported
        if kind == messages.PART:
            try:
                count = len(pickling.decode(pickling.PICKLED, data, buffers)[1])
            except BaseException as error:
                # How many items it is about is not known: it stands for all that are left.
                self.failed(chunk, error)
                return
            chunk.reported += count
            self._put(first, (count, kind, data, buffers))
        else:
            self._put(first, (chunk.stop - first, kind, data, buffers))
            chunk.settled = True
        if self._waiters:
            self.wake()

    def failed(self, chunk: Chunk, error: BaseException) -> None:
        """Keep an error for every unreported item."""
        self.arrived(chunk, _LOCAL, error, ())

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
            self._put(self._pulled, (1, _LOCAL, self._abandoned, ()))
            self._pulled += 1
            self._input = None

    # The order of the results; the unordered iterator differs here.

    def _new_ready(self) -> Any:
        return {}

    def _put(self, first: int, entry: Entry) -> None:
        self._ready[first] = entry

    def _arrived(self) -> list[Entry]:
        # Copied first: the collector adds to it meanwhile.
        return list(self._ready.copy().values())

    def _is_ready(self) -> bool:
        return self._consumed in self._ready

    def _take(self) -> Entry | None:
        entry: Entry | None = self._ready.pop(self._consumed, None)
        return entry

    # Consuming; under the lock.

    def _over(self) -> bool:
        return self._input is None and self._consumed >= self._pulled

    def _advance(self) -> tuple[bool, Any] | None:
        """Decode the entry that is next in line, if it is there; return its first item."""
        entry = self._take()
        if entry is None:
            return None
        count, kind, data, buffers = entry
        self._result_size = 0
        if kind != _LOCAL and (buffers or len(data) > self.pressure.heavy):
            self._result_size = weight(data, buffers) // count
        if kind == _LOCAL:
            self._current.extend([(False, data)] * count)
        elif kind > messages.LAST_PLAIN:
            self._current.extend(opened(count, data, buffers))
        elif count == 1:
            return decoded(kind, data, buffers)
        else:
            self._current.extend([decoded(kind, data, buffers)] * count)
        return self._current.popleft()

    def _close(self) -> None:
        self._pool = None
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    # Reading.

    def _make_room(self) -> None:
        """The consumer has come halfway through the window: have more read. Under the lock."""
        self._held_back = False
        if self._buffersize is None:
            self._measure()
        if self._room is None:
            self._fill()
        elif not self._room.is_set():
            self._room.set()

    def _measure(self) -> None:
        """Work out the window from how fast the consumer takes items."""
        now = time.monotonic()
        then, before = self._since
        if now - then > HORIZON:
            wanted = int((self._consumed - before) / (now - then) * HORIZON)
            smallest = SMALLEST_WINDOW * self._core.state.target
            self._window = min(max(wanted, smallest), LARGEST_WINDOW) * self._chunksize
            self._since = (now, self._consumed)

    def _may_pull(self) -> bool:
        """Whether there is room for one more chunk, in items and in bytes."""
        if self._input is None or self._pulled - self._consumed >= self._window:
            return False
        if not (self.pressure.total or self._result_size):
            return True
        # First the mark, then the look: a consumer that comes in between sees the mark.
        self._held_back = True
        ahead = self._pulled - self._consumed
        return not ahead or self.pressure.has_room(ahead * self._result_size)

    def _fill(self) -> None:
        """Read and send as far as the window goes. Under the lock; reading cannot block."""
        while self._may_pull():
            room = self._window - self._pulled + self._consumed
            # One by one where items are heavy, which only their sending shows.
            most = 1 if self.item_size or self._result_size else min(BATCH, self._pulled // 2 + 1)
            self._dispatcher.send_chunks(self._pull(min(-(-room // self._chunksize), most)))
        if self._input is None:
            self._core.exhausted(self)

    def _read_on(self) -> None:
        """Read and send whenever there is room: the body of the reading thread."""
        room = self._room
        assert room is not None
        try:
            while self._input is not None:
                while self._may_pull():
                    # What was read goes at once: the next item may be long in coming.
                    self._dispatcher.send_chunks(self._pull(1))
                if self._input is not None:
                    room.wait()
                    room.clear()
        except BaseException as error:
            # No memory, or what the input or an item raised that is no ``Exception``: nothing more
            # is read, and the consumer gets it.
            self.abandon(error)
        self._core.exhausted(self)
        # A consumer may be waiting for a result that is not to come.
        self._core.collector.post(self.wake)

    def _pull(self, count: int) -> list[Chunk]:
        """Read so many chunks; an exception of the input takes a place, as in the standard library.

        What was read of a chunk before that goes with it.
        """
        source = self._input
        if source is None:
            return []
        wanted = count * self._chunksize
        items: list[Any] = []
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

    def _accept(self, items: list[Any], failure: Exception | None, over: bool) -> list[Chunk]:
        """Number what was read. While counting."""
        size = self._chunksize
        chunks = []
        first = self._pulled
        for start in range(0, len(items), size):
            part = items[start : start + size]
            chunk = self._new_chunk(self, first + start, first + start + len(part), self.options)
            chunk.items = part
            chunks.append(chunk)
        self._pulled += len(items)
        if failure is not None:
            self._put(self._pulled, (1, _LOCAL, failure, ()))
            self._pulled += 1
        if over:
            self._input = None
        return chunks


class IMapUnorderedIterator(IMapIterator[T]):
    """The results of ``imap_unordered``, as they come. Made by the pool."""

    def _new_ready(self) -> Any:
        return deque()

    def _put(self, first: int, entry: Entry) -> None:
        self._ready.append(entry)

    def _arrived(self) -> list[Entry]:
        return list(self._ready.copy())

    def _is_ready(self) -> bool:
        return bool(self._ready)

    def _take(self) -> Entry | None:
        return self._ready.popleft() if self._ready else None


def opened(count: int, data: Any, buffers: Any) -> list[tuple[bool, Any]]:
    """Decode the results of several items."""
    try:
        _, values, errors = pickling.decode(pickling.PICKLED, data, buffers)
    except Exception as error:
        return [(False, error)] * count
    items = [(True, value) for value in values]
    for index, remote in (errors or {}).items():
        items[index] = (False, remote.revive())
    return items
