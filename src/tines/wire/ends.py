"""The two ends of a queue as objects like ``multiprocessing.connection.Connection``.

Many programs reach for ``queue._reader``: they wait for several queues with ``select``, ``selectors``
or ``multiprocessing.connection.wait``, as the standard library's ``ProcessPoolExecutor`` does too. An
end is a view of the queue's channel. The reading one has a descriptor that is readable when there is
something to get; it is made when somebody first asks for it, and costs nothing before. The writing
one has a descriptor that is always ready: the bound of a queue is a matter of its own, there as here.
"""

from __future__ import annotations

import os
import pickle
import weakref

from tines import _clock
from tines._ready import ready_among
from tines.wire.pickling import PICKLED, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from tines.transport.contract import Buffer, Channel

__all__ = ["Reader", "Writer"]


class _End:
    """What both share: a channel, and whether this end of it was closed."""

    readable = writable = False

    def __init__(self, channel: Channel, *, closed: bool = False) -> None:
        self._channel = channel
        self.closed = closed

    def close(self) -> None:
        """Close this end in this process, and no more than that: the queue is not closed by it."""
        self.closed = True

    def _check_open(self) -> None:
        if self.closed:
            raise OSError("handle is closed")

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        self._check_open()
        return type(self), (self._channel,)


class Reader(_End):
    """The end that is read from.

    Args:
        channel: The channel.
        follow: The queue's own ``fileno``, which sees to it that what the queue takes is seen here. It is
            referred to weakly, as the queue has this end.
        closed: Whether the queue is closed.
    """

    readable = True

    def __init__(
        self,
        channel: Channel,
        follow: Callable[[], int] | None = None,
        *,
        closed: bool = False,
    ) -> None:
        super().__init__(channel, closed=closed)
        self._follow = None if follow is None else weakref.WeakMethod(follow)

    def fileno(self) -> int:
        """Return a descriptor that is readable while there is something to receive."""
        self._check_open()
        follow = None if self._follow is None else self._follow()
        return self._channel.fileno() if follow is None else follow()

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Return whether there is something to receive, now or within ``timeout`` seconds."""
        self._check_open()
        if self._channel.qsize():
            return True
        deadline = _clock.deadline_after(timeout)
        return not _clock.passed(deadline) and bool(ready_among([self.fileno()], deadline))

    def recv(self) -> Any:
        """Wait for the oldest object, take it and return it."""
        kind, data, buffers = self._take()
        return decode(kind, data, buffers)

    def recv_bytes(self, maxlength: int | None = None) -> bytes:
        """Wait for the oldest object, take it and return its pickle."""
        kind, data, buffers = self._take()
        if kind == PICKLED and not buffers:
            return bytes(data)
        return pickle.dumps(decode(kind, data, buffers))

    def close(self) -> None:
        """Close this end in this process; its descriptor goes."""
        if not self.closed:
            super().close()
            self._channel.unwatch()

    def _take(self) -> tuple[int, Buffer, Sequence[Buffer]]:
        self._check_open()
        message = None
        while message is None:
            message = self._channel.recv(None)
        kind, _, data, buffers = message
        return kind, data, buffers


class Writer(_End):
    """The end that is written to."""

    writable = True
    _descriptor: _Descriptor | None = None

    def fileno(self) -> int:
        """Return a descriptor that is ready to be written to. Not to be written to itself."""
        self._check_open()
        if self._descriptor is None:
            self._descriptor = _Descriptor()
        return self._descriptor.number

    def send(self, obj: object) -> None:
        """Put an object."""
        self._check_open()
        kind, data, buffers = encode(obj)
        self._channel.send(data, buffers, kind)

    def send_bytes(self, buf: Any, offset: int = 0, size: int | None = None) -> None:
        """Put the object of which this is the pickle."""
        self._check_open()
        view = memoryview(buf)[offset:]
        self._channel.send(bytes(view if size is None else view[:size]), (), PICKLED)

    def close(self) -> None:
        """Close this end in this process; its descriptor goes."""
        super().close()
        self._descriptor = None


class _Descriptor:
    """A descriptor that is always ready to be written to, for as long as this object lives."""

    def __init__(self) -> None:
        self._other, self.number = os.pipe()

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.number)
        close(self._other)
