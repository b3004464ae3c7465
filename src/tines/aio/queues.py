"""``aio.Queue``: a queue between processes whose ``get`` and ``put`` are awaited.

``get`` takes an item without waiting, or waits until the queue's descriptor is readable and tries again.
Between the taking and the return there is no ``await``, so a task that is cancelled has taken nothing.

``put`` to a queue that is full has no descriptor to wait for. While some wait, one thread for each queue
sends for them, in order, and lives no longer than that (``sending.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from queue import Empty
from typing import TYPE_CHECKING, Generic, TypeVar

from tines import queues
from tines.aio.bridge import current, wake
from tines.aio.sending import Sender
from tines.errors import QueueShutDown
from tines.wire.pickling import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from tines.transport.contract import Buffer

__all__ = ["Queue"]

T = TypeVar("T")


class Queue(Generic[T]):
    """A front for a :class:`tines.Queue`; what does not wait is the same.

    It belongs to this process. Pass the queue behind it to another one: ``args=(queue.queue,)``.

    Args:
        maxsize: How many items it holds before ``put`` waits; 0 means unbounded.
        max_bytes: The same in bytes of the pickled items.
        transport: ``"ring"`` or ``"pipe"``; by default the one that this program uses.

    Attributes:
        queue: The queue behind it.
    """

    queue: queues.Queue[T]
    _descriptor = -1

    def __init__(
        self, maxsize: int = 0, *, max_bytes: int = 0, transport: str | None = None
    ) -> None:
        self.queue = queues.Queue(maxsize, max_bytes=max_bytes, transport=transport)
        self._sender = Sender(self.queue)

    @classmethod
    def wrap(cls, queue: queues.Queue[T]) -> Self:
        """Return a front for a queue that exists."""
        if not isinstance(queue, queues.Queue):
            raise TypeError(f"queue must be a tines.Queue, not {queue!r}")
        front = cls.__new__(cls)
        front.queue = queue
        front._sender = Sender(queue)
        return front

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(
            "an aio.Queue belongs to one process: pass the queue that it wraps, its .queue"
        )

    async def get(self) -> T:
        """Get the oldest object; wait until there is one. Those who wait are served in order.

        Raises:
            DecodeError: the object does not unpickle here; it is gone, and the queue goes on.
            ValueError: the queue is closed here, or was shut down and has drained.
        """
        queue = self.queue
        place: int | None = None
        while True:
            try:
                return queue.get(False)
            except Empty:
                pass
            self._descriptor = descriptor = queue.fileno()
            place = await current().readable(descriptor).wait(place)

    async def put(self, obj: T) -> None:
        """Put an object; wait while the queue is full.

        For a task that is cancelled while it waits, it is settled when ``CancelledError`` is raised:
        either there was room just then, and somebody has taken the item, or it will never be put.

        Raises:
            EncodeError: ``obj`` cannot be pickled; nothing was put.
            ValueError: the queue is closed here, or was shut down.
        """
        queue = self.queue
        if not self._sender.busy:
            try:
                queue.put(obj, False)
                return
            except queues.Full:
                pass
        await self._put_later(*encode(obj))

    async def _put_later(self, kind: int, data: Buffer, buffers: Sequence[Buffer]) -> None:
        bridge = current()
        sent = asyncio.get_running_loop().create_future()
        letter = self._sender.give(kind, data, buffers, lambda: bridge.post(lambda: wake(sent)))
        try:
            await asyncio.shield(sent)
        except asyncio.CancelledError:
            if not self._sender.withdraw(letter):
                await _settled(sent)
            raise
        if letter.error is not None:
            raise letter.error

    async def put_many(self, objects: Iterable[T]) -> None:
        """Put several objects, in order."""
        for obj in objects:
            await self.put(obj)

    async def __aiter__(self) -> AsyncIterator[T]:
        """Iterate over what comes, until the queue is shut down and has drained."""
        while True:
            try:
                item = await self.get()
            except QueueShutDown:
                return
            yield item

    def get_nowait(self) -> T:
        """Get an object if there is one now; otherwise raise ``queue.Empty``."""
        return self.queue.get(False)

    def put_nowait(self, obj: T) -> None:
        """Put an object if there is room now; otherwise raise ``queue.Full``."""
        self.queue.put(obj, False)

    def empty(self) -> bool:
        """Return whether there is nothing to get at this moment."""
        return self.queue.empty()

    def full(self) -> bool:
        """Return whether a ``put`` would have to wait at this moment."""
        return self.queue.full()

    def qsize(self) -> int:
        """Return how many items it holds."""
        return self.queue.qsize()

    def shutdown(self, immediate: bool = False) -> None:
        """End the queue for everybody; see :meth:`tines.Queue.shutdown`."""
        self.queue.shutdown(immediate)

    def close(self) -> None:
        """Let go of the queue in this process. Those who wait for an item in this loop are told so."""
        if self._descriptor >= 0:
            try:
                current().release(self._descriptor)
            except RuntimeError:
                pass  # no loop is running here, so nobody waits in it
        self.queue.close()

    def __repr__(self) -> str:
        return f"<aio {self.queue!r}>"


async def _settled(future: asyncio.Future[None]) -> None:
    """Wait for a future that is sure to come soon, whoever cancels meanwhile."""
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError:
            pass
