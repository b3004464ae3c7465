"""``Queue``, ``JoinableQueue`` and ``SimpleQueue``: the standard library's, on a channel.

A queue is a channel plus pickling: ``put`` encodes in the caller, so an object that cannot be pickled
is an error there and then, and returns once the message is with the transport. There is no feeder
thread: nothing is left to flush when a process ends, and ``put`` then ``join`` then ``get`` cannot
deadlock. ``close`` and ``join_thread`` keep their meaning for the caller; ``cancel_join_thread`` has
nothing left to cancel.

A closed queue takes and gives nothing more in this process, but goes on answering how it stands, and
counts what was done: it lets go of its channel when the object goes, as the standard library's does.

A queue may be inherited, passed to ``Process``, sent through another queue, or given to a pool.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pickle import loads
from queue import Empty, Full
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from tines import _watchers
from tines import transport as transports
from tines._arguments import check_iterable, whole_number
from tines.errors import DecodeError, QueueShutDown
from tines.wire.again import Again, Kept, is_out_of_memory
from tines.wire.ends import Reader, Writer
from tines.wire.pickling import PICKLED, decode, decode_error, encode

if TYPE_CHECKING:
    from tines.transport.contract import Channel, Message, Transport
    from tines.transport.statistics import ChannelStatistics

__all__ = ["Empty", "Full", "JoinableQueue", "Queue", "QueueClosedError", "SimpleQueue"]

T = TypeVar("T")

_LARGEST_BOUND = 2**63 - 1
_MOST = 2**31 - 1


class QueueClosedError(ValueError, OSError):
    """The queue is closed in this process.

    The standard library raises the one from ``put`` and ``get``, and the other from the rest.
    """


class _ChannelQueue(Generic[T]):
    """What the three queues share: a channel, and its life in this process."""

    _channel: Channel
    _kept: Kept | None = None

    def __init__(self, channel: Channel) -> None:
        self._closed = False
        self._bind(channel)
        _watchers.tell_made(self)

    def _bind(self, channel: Channel) -> None:
        self._channel = channel
        self._put_message = channel.send
        self._take_message = channel.recv

    def __getstate__(self) -> tuple[object, ...]:
        # Not whether it is closed: that is a matter of the process that closed it.
        return (self._channel,)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        (channel,) = state
        self._closed = False
        self._bind(channel)

    def __repr__(self) -> str:
        state = " closed" if self._closed else f" holding {self._channel.qsize()}"
        return f"<{type(self).__name__}{state} in process {os.getpid()}>"

    def _check_open(self) -> None:
        if self._closed:
            raise QueueClosedError(f"Queue {self!r} is closed")

    def fileno(self) -> int:
        """Return a descriptor for ``select`` that is readable while there may be something to get.

        Where no other process gets from the queue it is exact: a ``get`` would return.
        """
        self._check_open()
        number = self._channel.fileno()
        # From now on what is taken here is seen by the descriptor at once.
        self._take_message = self._take_kept if self._kept else self._channel.recv
        return number

    def _not_decoded(self, message: Message, error: Exception) -> NoReturn:
        """Raise what a ``get`` raises for a message that was taken; ``error`` is why it has no object."""
        if is_out_of_memory(error) and type(message) is not Again:
            self._keep([message])
            raise MemoryError(
                f"there is no memory for a received object of {len(message[2])} bytes: the next get has it"
            ) from error
        raise (
            error if isinstance(error, DecodeError) else decode_error(message[2], error)
        ) from error

    def _keep(self, messages: list[Message]) -> None:
        """Keep what was taken, of which the first was tried and the others were not."""
        if self._kept is None:
            self._kept = Kept()
        self._kept.add(messages)
        self._take_message = self._take_kept

    def _take_kept(self, timeout: float | None = None, lease: int = -1) -> Message | None:
        """What takes a message as long as there are some that were kept."""
        message = self._kept.take() if self._kept is not None else None
        if message is not None:
            return message
        self._take_message = self._channel.recv
        return self._channel.recv(timeout, lease)

    def qsize(self) -> int:
        """Return how many items it holds: exact at this moment, on every system, also after :meth:`close`."""
        return self._channel.qsize() + (len(self._kept) if self._kept is not None else 0)

    @cached_property
    def _reader(self) -> Reader:
        """What programs that know the standard library's insides wait for."""
        return Reader(self._channel, self.fileno, closed=self._closed)

    @cached_property
    def _writer(self) -> Writer:
        return Writer(self._channel, closed=self._closed)

    @property
    def _poll(self) -> Callable[..., bool]:
        return self._reader.poll

    def statistics(self) -> ChannelStatistics:
        """Return depth, bytes, totals and who waits, as one frozen record."""
        self._check_open()
        return self._channel.statistics()

    def close(self) -> None:
        """Stop using the queue in this process. What was put stays, for the others."""
        if not self._closed:
            _watchers.tell_ending(self)
            self._closed = True
            for end in ("_reader", "_writer"):
                if end in self.__dict__:
                    self.__dict__[end].close()
            self._channel.unwatch()

    # As in the standard library: not Generic's own, whose aliases leave a mark in every instance.
    def __class_getitem__(cls, item: object) -> GenericAlias:
        return GenericAlias(cls, item)


class Queue(_ChannelQueue[T]):
    """A queue between any processes, with the standard library's signature and semantics.

    Args:
        maxsize: How many items it holds before ``put`` waits; 0 or less means unbounded.
        max_bytes: The same in bytes of the pickled items; 0 means unbounded. An item that is larger
            than the bound passes when it would be alone.
        ctx: The context it belongs to, as in the standard library.
        transport: ``"ring"`` or ``"pipe"``; by default the one that this program uses.

    Raises:
        TypeError: ``maxsize`` or ``max_bytes`` is not a whole number.
        ValueError: ``max_bytes`` is negative, or there is no such transport.
    """

    def __init__(
        self,
        maxsize: int = 0,
        *,
        max_bytes: int = 0,
        ctx: object = None,
        transport: str | Transport | None = None,
    ) -> None:
        # Below zero it is unbounded too, as in the standard library.
        items = min(max(whole_number("maxsize", maxsize), 0), _LARGEST_BOUND)
        limit = min(whole_number("max_bytes", max_bytes, least=0), _LARGEST_BOUND)
        maker = transports.meant(transport)
        # Of an unbounded queue it is what the standard library has: the most that a semaphore can count.
        self._maxsize = items or _MOST
        super().__init__(maker.channel(max_items=items, max_bytes=limit))

    def __getstate__(self) -> tuple[object, ...]:
        return (*super().__getstate__(), self._maxsize)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        channel, self._maxsize = state
        super().__setstate__((channel,))

    def put(self, obj: T, block: bool = True, timeout: float | None = None) -> None:
        """Put an object; return once the transport has it.

        Args:
            obj: Anything that pickle or cloudpickle can take.
            block: Wait while the queue is full.
            timeout: How long, in seconds; ``None`` waits forever.

        Raises:
            queue.Full: it stayed full.
            EncodeError: ``obj`` cannot be pickled; nothing was put.
            ValueError: the queue is closed here, or was shut down.
            MemoryError: there is no memory left for it; nothing was put.
        """
        if self._closed:
            self._check_open()
        kind, data, buffers = encode(obj)
        if self._put_message(data, buffers, kind, 0, timeout if block else 0) < 0:
            raise Full

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Get the oldest object.

        Raises:
            queue.Empty: nothing came in time.
            DecodeError: the object does not unpickle here; it is gone, and the queue goes on.
            MemoryError: there is no memory left for it; the next ``get`` of this process has it. If that
                fails as well, it is a ``DecodeError``.
            ValueError: the queue is closed here, or was shut down and has drained.
        """
        if self._closed:
            self._check_open()
        message = self._take_message(timeout if block else 0)
        if message is None:
            raise Empty
        try:
            kind, _, data, buffers = message
            if kind != PICKLED or buffers:
                return decode(kind, data, buffers)  # type: ignore[no-any-return]
            return loads(data)  # type: ignore[no-any-return]
        except Exception as error:
            self._not_decoded(message, error)

    def put_nowait(self, obj: T) -> None:
        """Put an object if there is room now; otherwise raise ``queue.Full``."""
        self.put(obj, False)

    def get_nowait(self) -> T:
        """Get an object if there is one now; otherwise raise ``queue.Empty``."""
        return self.get(False)

    def put_many(self, objects: Iterable[T], timeout: float | None = None) -> int:
        """Put several objects, in order; return how many were put before ``timeout`` ran out.

        All are pickled before the first is put, so one that cannot be is an error before anything
        has happened.
        """
        self._check_open()
        check_iterable("objects", objects)
        encoded = [encode(obj) for obj in objects]
        return self._channel.send_many(
            [(kind, 0, data, buffers) for kind, data, buffers in encoded], timeout
        )

    def get_many(self, max_items: int, timeout: float | None = None) -> list[T]:
        """Get up to ``max_items`` objects; wait, at most ``timeout`` seconds, only for the first.

        Raises:
            queue.Empty: nothing came in time.
            DecodeError: one of them does not unpickle; the others are in the error's ``received``.
            MemoryError: as in :meth:`get`, for the first of them.
        """
        self._check_open()
        max_items = whole_number("max_items", max_items, least=1)
        objects: list[T] = []
        failure: DecodeError | None = None
        done = 0
        again = self._kept.take() if self._kept is not None else None
        messages = [again] if again is not None else self._channel.recv_many(max_items, timeout)
        if not messages:
            raise Empty
        try:
            for kind, _, data, buffers in messages:
                try:
                    objects.append(decode(kind, data, buffers))
                except DecodeError as error:
                    if is_out_of_memory(error) and type(messages[done]) is not Again:
                        raise MemoryError from error
                    failure = error
                done += 1
        except MemoryError:
            self._keep(messages[done:])
            if not objects and failure is None:
                raise
        if failure is not None:
            failure.received = objects
            raise failure
        return objects

    def __iter__(self) -> Iterator[T]:
        """Iterate over what comes, until the queue is shut down and has drained."""
        while True:
            try:
                item = self.get()
            except QueueShutDown:
                return
            yield item

    def full(self) -> bool:
        """Return whether a ``put`` would have to wait at this moment."""
        return self._channel.full()

    def empty(self) -> bool:
        """Return whether there is nothing to get at this moment.

        Raises:
            OSError: the queue is closed, and there is something, which nobody can get here.
        """
        nothing = self.qsize() == 0
        if not nothing:
            self._check_open()
        return nothing

    def shutdown(self, immediate: bool = False) -> None:
        """End the queue for everybody, as ``queue.Queue.shutdown`` of Python 3.13.

        ``put`` raises :class:`~tines.errors.QueueShutDown` from now on, and ``get`` once the queue has
        drained; with ``immediate`` what it holds is dropped.
        """
        self._check_open()
        self._channel.shutdown(immediate)

    def join_thread(self) -> None:
        """Return at once: whatever ``put`` returned from is with the transport already.

        Raises:
            ValueError: the queue is still open, as in the standard library.
        """
        if not self._closed:
            raise ValueError(f"Queue {self!r} is not closed: call close() before join_thread()")

    def cancel_join_thread(self) -> None:
        """Do nothing: there is no thread to wait for at exit, and nothing is lost either way."""

    @property
    def _buffer(self) -> tuple[()]:
        """What the feeder thread still has to send: nothing, ever."""
        return ()


class JoinableQueue(Queue[T]):
    """A queue whose items are counted as dealt with: ``task_done`` and ``join``."""

    def task_done(self) -> None:
        """Count one item as dealt with.

        Raises:
            ValueError: called more often than there were items.
        """
        self._channel.task_done()

    def join(self) -> None:
        """Wait until every item that was put has been counted by :meth:`task_done`."""
        self._channel.join(None)


class SimpleQueue(_ChannelQueue[T]):
    """The standard library's ``SimpleQueue``: ``put``, ``get``, ``empty``, ``close``.

    Once closed it answers nothing more, and has let go of its channel.
    """

    def __init__(self, *, ctx: object = None, transport: str | Transport | None = None) -> None:
        maker = transports.meant(transport)
        super().__init__(maker.channel())

    def put(self, obj: T) -> None:
        """Put an object; return once the transport has it."""
        self._check_open()
        kind, data, buffers = encode(obj)
        self._put_message(data, buffers, kind)

    def get(self) -> T:
        """Wait for the oldest object and return it."""
        self._check_open()
        message = self._take_message(None)
        assert message is not None, "a wait without a timeout ended without a message"
        try:
            kind, _, data, buffers = message
            return decode(kind, data, buffers)  # type: ignore[no-any-return]
        except Exception as error:
            self._not_decoded(message, error)

    def empty(self) -> bool:
        """Return whether there is nothing to get at this moment."""
        self._check_open()
        return self.qsize() == 0

    def close(self) -> None:
        """Let go of the queue in this process. What was put stays, for the others."""
        super().close()
        self._channel.close()


def __getattr__(name: str) -> Any:
    # What programs have found in the standard library's module: ``_sentinel``, ``Finalize`` ...
    from tines._std import standard

    return getattr(standard("queues"), name)
