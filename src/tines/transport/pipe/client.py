"""A channel of another process: each call is a request to the owner, and waits for its reply."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from tines import _clock
from tines.errors import QueueShutDown, TransportError
from tines.transport.contract import Lease
from tines.transport.pipe.connection import Connection, Connections, NoAnswer
from tines.transport.pipe.parcel import Parcel
from tines.transport.pipe.protocol import (
    Frame,
    Op,
    pack_parcels,
    ticks,
    unpack_parcels,
    unpack_statistics,
)
from tines.transport.pipe.ticks import Numbers, opened
from tines.transport.statistics import ChannelStatistics

if TYPE_CHECKING:
    from tines.transport.pipe.door import Address

__all__ = ["Remote", "Watch", "closed"]

# One request carries at most this much of a batch.
_BATCH_ITEMS = 1000
_BATCH_BYTES = 4 * 1024 * 1024


def closed() -> TransportError:
    """Return the error for a channel that its owner no longer has."""
    return TransportError("this channel is gone: every process that held it has closed it")


class Watch:
    """A descriptor that the owner makes readable while a channel may have a message."""

    def __init__(self, connection: Connection, channel: int) -> None:
        self._connection = connection
        self._channel = channel
        connection.tell(Frame(Op.WATCH, channel))
        connection.busy = True  # for as long as it lives
        connection.sock.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._connection.sock.fileno()

    def settle(self) -> None:
        """The channel was seen empty: read what is there, and ask for more if that is wrong."""
        read = False
        with contextlib.suppress(OSError):
            while self._connection.sock.recv(4096):
                read = True
        if read:
            with contextlib.suppress(OSError):
                self._connection.sock.send(Frame(Op.REARM, self._channel).encoded()[0])

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    abandon = close


class Remote:
    """A channel of another process: the same methods as :class:`~.local.Local`."""

    __slots__ = ("_address", "_channel", "_connections", "_leases", "_page", "_pid")

    copies = False

    def __init__(
        self, connections: Connections, address: Address, channel: int, pid: int, leases: int
    ) -> None:
        self._connections = connections
        self._leases = leases
        # The numbers of lease slots; none where they have to travel as frames. Asked for when needed.
        self._page: Numbers | Literal[False] | None = False
        self._address = address
        self._channel = channel
        self._pid = pid

    def _connection(self, timeout: float) -> Connection:
        return self._connections.get(self._address, self._pid, timeout)

    def _ask(self, frame: Frame, timeout: float = math.inf) -> Frame:
        reply = self._connection(timeout).request(frame, timeout)
        if reply.op == Op.SHUT_DOWN:
            raise QueueShutDown("the channel was shut down")
        if reply.op == Op.GONE:
            raise closed()
        if reply.op == Op.INVALID:
            raise ValueError(bytes(reply.parts[0]).decode())
        return reply

    def _silent(self) -> TransportError:
        return TransportError(
            f"the process that owns this channel (pid {self._pid}) did not answer in time: it may "
            "be stopped, or its interpreter blocked; whether the message was sent is not known"
        )

    def send(self, parcels: Sequence[Parcel], timeout: float) -> int:
        """Send in order; return how many were, and set the ticket of the last of them."""
        sent = 0
        deadline = _clock.monotonic() + timeout
        for batch in _batches(parcels):
            count = self._send_batch(batch, max(0.0, deadline - _clock.monotonic()))
            sent += count
            if count < len(batch):
                break
        return sent

    def _send_batch(self, batch: Sequence[Parcel], timeout: float) -> int:
        if len(batch) == 1:
            one = batch[0]
            frame = Frame(
                Op.SEND, self._channel, tag=one.tag, kind=one.kind, timeout=timeout, parts=one.parts
            )
        else:
            frame = Frame(Op.SEND_MANY, self._channel, timeout=timeout, parts=pack_parcels(batch))
        try:
            reply = self._ask(frame, timeout)
        except NoAnswer as silence:
            if silence.written:
                raise self._silent() from None
            return 0
        if reply.number:
            batch[reply.number - 1].ticket = reply.tag
        return reply.number

    def receive(self, limit: int, timeout: float, lease: int) -> tuple[list[Parcel], int]:
        """Take up to ``limit`` parcels; also return how many remain."""
        if limit == 1:
            frame = Frame(Op.RECV, self._channel, number=lease, timeout=timeout)
        else:
            frame = Frame(Op.RECV_MANY, self._channel, number=limit, timeout=timeout)
        try:
            reply = self._ask(frame, timeout)
        except NoAnswer:
            return [], 0
        if reply.op == Op.MESSAGE:
            return [Parcel(reply.kind, reply.tag, reply.parts)], reply.number
        if reply.op == Op.MESSAGES:
            return unpack_parcels(reply.parts), reply.number
        return [], 0

    def revoke(self, ticket: int) -> bool:
        """See the contract."""
        return bool(self._ask(Frame(Op.REVOKE, self._channel, number=ticket)).number)

    def lease(self, index: int) -> Lease | None:
        """See the contract. From here what the holder has written may not have been read yet."""
        reply = self._ask(Frame(Op.LEASE, self._channel, number=index))
        return None if reply.op == Op.NOTHING else Lease(reply.tag, reply.number, reply.timeout)

    def held(self, index: int) -> float:
        """See the contract."""
        return self._ask(Frame(Op.HELD, self._channel, number=index)).timeout

    def release(self, index: int) -> None:
        """See the contract."""
        self._connection(math.inf).tell(Frame(Op.RELEASE, self._channel, number=index))

    def ticking(self, iterable: Iterable[object], index: int) -> Iterator[object]:
        """See the contract: one store an item, or else one frame, before the item is handed out."""
        page = self._page
        if page is False:
            place = bytes(self._ask(Frame(Op.PAGE, self._channel)).parts[0])
            page = self._page = opened(place, self._leases)
        if page is not None:
            for progress, item in enumerate(iterable, 1):
                page[index] = progress
                yield item
            return
        encoded = ticks(self._channel, index)
        for progress, item in enumerate(iterable, 1):
            self._connection(math.inf).tell_encoded(encoded(progress))
            yield item

    def task_done(self) -> None:
        """See the contract."""
        self._ask(Frame(Op.TASK_DONE, self._channel))

    def join(self, timeout: float) -> bool:
        """See the contract."""
        try:
            reply = self._ask(Frame(Op.JOIN, self._channel, timeout=timeout), timeout)
        except NoAnswer:
            return False
        return reply.op == Op.DONE

    def shutdown(self, immediate: bool) -> None:
        """See the contract."""
        self._ask(Frame(Op.SHUTDOWN, self._channel, number=immediate))

    def statistics(self) -> tuple[ChannelStatistics, bool]:
        """Return the statistics, and whether the channel is full."""
        reply = self._ask(Frame(Op.STATISTICS, self._channel))
        return unpack_statistics(reply.parts[0]), bool(reply.number)

    def watch(self) -> Watch:
        """Return a descriptor of this process's own for ``fileno``."""
        return Watch(self._connections.fresh(self._address, self._pid), self._channel)


def _batches(parcels: Sequence[Parcel]) -> Iterator[Sequence[Parcel]]:
    """Cut into runs of bounded count and size."""
    start = size = 0
    for index, parcel in enumerate(parcels):
        full = index - start >= _BATCH_ITEMS or size + parcel.size > _BATCH_BYTES
        if full and index > start:
            yield parcels[start:index]
            start, size = index, 0
        size += parcel.size
    if start < len(parcels):
        yield parcels[start:]
