"""What a transport promises; everything above this room talks to these names only.

A *channel* is a many-producer, many-consumer queue of messages between any processes of one
program. A *transport* makes channels. There are two: ``ring`` (shared memory, Linux) and ``pipe``
(pure Python, anywhere). One conformance suite, ``tests/conformance``, runs over both.

Guarantees, for both:

* ``send`` returns once the message is with the transport: the sender may exit or be killed at
  once, and nothing that ``send`` returned from is lost. A message becomes visible whole or never.
* Exactly one ``recv`` gets each message. Messages of one producer arrive in the order sent.
* A process that is killed at any moment, inside any call, blocks nobody else and corrupts nothing.
  What it had received, but not dealt with, is known to be its own where it received under a lease.
* No call blocks beyond its timeout (seconds, monotonic clock; ``None`` waits for ever, ``0`` or
  less never waits), and every wait returns to Python for signals.
* A channel object works in the process that made it, in forked children, and, by pickling, in any
  process of the program. All methods may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from tines.transport.statistics import ChannelStatistics

__all__ = [
    "Buffer",
    "Channel",
    "Lease",
    "Lent",
    "Message",
    "Outgoing",
    "Shared",
    "Transport",
    "check_bounds",
    "check_kind_and_tag",
]

# Anything with the buffer protocol; ``collections.abc.Buffer`` is 3.12 and later.
Buffer = Any

# (kind, tag, data, buffers). ``kind`` (0..255) and ``tag`` (0 <= tag < 2**64) are the caller's own and
# travel untouched. ``data`` is bytes-like; ``buffers`` are the out-of-band buffers of pickle
# protocol 5, writable and owned by the receiver alone.
Message = tuple[int, int, Buffer, Sequence[Buffer]]

# What ``send_many`` takes: the same fields; any buffers that can be read will do.
Outgoing = Message


def check_kind_and_tag(kind: int, tag: int) -> None:
    """Refuse what does not fit a message.

    Raises:
        ValueError: ``kind`` or ``tag`` is out of range.
    """
    if not 0 <= kind <= 255:
        raise ValueError(f"kind={kind} is not in 0..255")
    if not 0 <= tag < 2**64:
        raise ValueError(f"tag={tag} is not in 0..2**64-1")


def check_bounds(max_items: int, max_bytes: int, leases: int) -> None:
    """Refuse bounds that no channel can have.

    Raises:
        ValueError: one of them is negative.
    """
    for name, value in (("max_items", max_items), ("max_bytes", max_bytes), ("leases", leases)):
        if value < 0:
            raise ValueError(f"{name}={value!r} must not be negative; 0 means none")


class Lease(NamedTuple):
    """What the holder of one lease slot was doing: read by a supervisor after the holder's death.

    Attributes:
        tag: Tag of the message that was taken.
        progress: The last value that :meth:`Channel.ticking` recorded: how many items of the
            message were begun. 0 before the first.
        since: ``time.monotonic()`` when the message was taken.
    """

    tag: int
    progress: int
    since: float


class Channel(Protocol):
    """A queue of messages between processes. See the module's guarantees."""

    def send(
        self,
        data: Buffer,
        buffers: Sequence[Buffer] = (),
        kind: int = 0,
        tag: int = 0,
        timeout: float | None = None,
    ) -> int:
        """Append one message.

        Args:
            data: Bytes-like; copied before the call returns.
            buffers: Out-of-band buffers (any contiguous objects with the buffer protocol), copied.
            kind: The caller's own small number, 0 to 255.
            tag: The caller's own number, 64 bits.
            timeout: How long to wait while the channel is full.

        Returns:
            The message's ticket (>= 0), for :meth:`revoke`; -1 if it stayed full, and nothing was sent.

        Raises:
            QueueShutDown: after :meth:`shutdown`.
            MemoryError: the message does not fit in what memory is left; nothing was sent.
            TransportError: the transport is gone.
        """

    def send_many(
        self,
        messages: Sequence[Outgoing],
        timeout: float | None = None,
        tickets: list[int] | None = None,
    ) -> int:
        """Append messages in order, at less cost than one by one; return how many were sent.

        Fewer than all only if the channel stayed full until the timeout. Each message is sent whole
        and by itself: whoever dies in the middle has sent some from the first on. ``tickets`` is
        given the ticket of each that was sent, also where an exception ends the call.
        """

    def recv(self, timeout: float | None = None, lease: int = -1) -> Message | None:
        """Take the oldest message, or ``None`` if none came in time.

        With ``lease`` >= 0, that the holder of this slot took this message is recorded in the same
        atomic step that takes it.

        Raises:
            QueueShutDown: the channel was shut down and has drained.
            TransportError: the transport is gone.
        """

    def recv_many(self, limit: int, timeout: float | None = None) -> list[Message]:
        """Take up to ``limit`` messages; wait only for the first. Empty list on timeout."""

    def revoke(self, ticket: int) -> bool:
        """Take a sent message back. True: nobody received it, and nobody will. False: too late."""

    def lease(self, index: int) -> Lease | None:
        """Return what the holder of a slot has taken and not yet released, if anything.

        Exact once the holder is dead. Called by the process that created the channel.
        """

    def held(self, index: int) -> float:
        """Return for how many seconds in all a slot has been held, up to now, by whomever."""

    def release(self, index: int) -> None:
        """Declare the slot's message dealt with. Called by the holder, or for a dead one."""

    def ticking(self, iterable: Iterable[object], index: int) -> Iterator[object]:
        """Iterate over ``iterable``, recording progress in the lease slot.

        It is 1 before the first item is handed out, 2 before the second, and so on. Costs
        nanoseconds an item on the ring.
        """

    def qsize(self) -> int:
        """Messages sent and not yet received; exact at the moment it is taken."""

    def full(self) -> bool:
        """Whether a ``send`` of one small message would have to wait."""

    def task_done(self) -> None:
        """Count one received message as dealt with.

        Those that were revoked, or dropped by an immediate shutdown, count by themselves.

        Raises:
            ValueError: called more often than there were messages.
        """

    def join(self, timeout: float | None = None) -> bool:
        """Wait until every message sent has been counted by :meth:`task_done`."""

    def shutdown(self, immediate: bool = False) -> None:
        """No more sends, from any process. What is queued can still be received, unless ``immediate``.

        Every blocked ``send`` and, once drained, every blocked ``recv`` raises ``QueueShutDown``.
        """

    def fileno(self) -> int:
        """A descriptor that is readable while there may be a message (a hint, level-triggered).

        Made on first use, valid in this process, closed by :meth:`unwatch` and :meth:`close`. From
        then on look ``recv`` and ``recv_many`` up anew, and what is taken here is seen by it before
        they return. With several processes that consume, another may be faster: follow it with
        ``recv(0)``.
        """

    def unwatch(self) -> None:
        """Close the descriptor of :meth:`fileno`, if there is one."""

    def statistics(self) -> ChannelStatistics:
        """Return a :class:`ChannelStatistics`."""

    def close(self) -> None:
        """Let go of this process's hold. The channel lives while any process or message holds it.

        Calls after that raise ``ValueError`` or ``OSError``.
        """

    def end(self) -> None:
        """Let go of the channel for everybody: it is over. For the maker only.

        A process that was killed on its way to a channel may have left a hold behind that nobody
        gives up.
        """


class Transport(Protocol):
    """A maker of channels.

    Attributes:
        name: What it is called. Nobody decides by it; what differs is here:
        receives_at_once: Whether ``recv_many`` is one step to signal handlers: none of them can come
            between the taking of a message and its return.
        shares_memory: Whether what :meth:`share` keeps is there once, however many processes open it.
        has_primitives: Whether locks and the like can live where its channels do.
    """

    name: str
    receives_at_once: bool
    shares_memory: bool
    has_primitives: bool

    def channel(self, *, max_items: int = 0, max_bytes: int = 0, leases: int = 0) -> Channel:
        """Make a channel; 0 means unbounded. ``leases`` is how many lease slots it has.

        A message larger than ``max_bytes`` may pass when it would be alone.

        Raises:
            ValueError: a bound is negative.
            TransportError: no descriptors, threads or shared memory are left.
        """

    def share(self, data: Buffer, buffers: Sequence[Buffer] = ()) -> Shared:
        """Keep one payload for many readers (the constant arguments of a pool).

        The result pickles by reference and costs its memory once, however many processes open it.
        """

    def retain(self, buffer: Buffer) -> Retained | None:
        """Return a copy of a buffer for many messages: each that has it among its buffers refers to it.

        ``None`` where messages have nothing but bytes of their own. Its memory is there until it and all
        messages that refer to it are gone, with what was received of them.

        Raises:
            MemoryError: there is not so much left.
        """

    def lend(self, size: int) -> Lent | None:
        """Return memory to be filled and sent; ``None`` where a message copies whatever it is given.

        Raises:
            MemoryError: there is not so much left.
        """

    def reap(self, pid: int) -> None:
        """Say that a child is known to be dead, so that what it held is reclaimed now.

        Never required: deaths are noticed without it, only later.
        """


class Retained(Protocol):
    """A copy that messages refer to: a buffer that is not to be written to."""

    travels_beside: bool

    def holds(self, buffer: Buffer, /) -> bool:
        """Whether it has just these bytes."""

    def __buffer__(self, flags: int, /) -> memoryview:
        """Return its bytes, to be read."""


class Lent(Protocol):
    """Memory in which a message can go as it is: a writable buffer, whose bytes are not set.

    Attributes:
        yields: Whether the next message that has all of it among its buffers takes it over. Whoever
            sets that answers for it that nobody in this process will use the bytes after that.
    """

    yields: bool

    def __len__(self) -> int:
        """Return its size in bytes."""


@runtime_checkable
class Shared(Protocol):
    """A payload for many readers; lives until its maker closes it or exits."""

    def open(self) -> tuple[Buffer, Sequence[Buffer]]:
        """Return ``(data, buffers)``. The buffers are writable and private to this process."""

    def close(self) -> None:
        """Give the memory back; what was opened stays valid in its process. For the maker only."""
