"""The transport that works wherever CPython runs: pure Python, over sockets.

The process that makes a channel owns it: a broker, one daemon thread, serves it to all other
processes, and the owner's own threads use it directly. ``docs/design/pipe-transport.md`` says why,
and what is guaranteed when either side is killed.

    state       what a channel is, made of ``parcel`` and ``waiters``: pure logic, no I/O
    protocol    frames between processes, authentication
    ticks       how far the holders of leases are
    broker      the owner's side: sockets, lifetimes; ``peer`` is one connection of it
    door        where a broker listens, how it is reached, who is let in
    connection  the other end of such a connection
    local       a channel in its owner; ``client`` is one of another process
    registry    what one process has of all this, and what becomes of it at a fork
    channel     the handles that callers have; ``across``: those of other machines as well
"""

from __future__ import annotations

from collections.abc import Sequence

from tines.transport.contract import Buffer, check_bounds
from tines.transport.pipe import registry as _registry
from tines.transport.pipe.channel import PipeChannel, PipeShared, made, shared
from tines.transport.pipe.parcel import Parcel
from tines.transport.pipe.state import ChannelState

__all__ = ["PipeChannel", "PipeShared", "PipeTransport"]


class PipeTransport:
    """Makes channels that this process owns; see :class:`tines.transport.contract.Transport`."""

    name = "pipe"
    receives_at_once = False
    shares_memory = False
    has_primitives = False

    def channel(self, *, max_items: int = 0, max_bytes: int = 0, leases: int = 0) -> PipeChannel:
        """Make a channel; 0 means unbounded. It lives no longer than this process.

        Raises:
            ValueError: a negative bound.
            TransportError: this process cannot serve channels: no descriptors or threads left.
        """
        check_bounds(max_items, max_bytes, leases)
        registry = _registry.current()
        registry.sweep()
        broker = registry.broker()
        state = ChannelState(max_items=max_items, max_bytes=max_bytes, leases=leases)
        number = broker.open_channel(state)
        return made((broker.address, broker.pid, number), leases, registry)

    def share(self, data: Buffer, buffers: Sequence[Buffer] = ()) -> PipeShared:
        """Keep one payload for many readers: here once, and once in each process that opens it.

        Raises:
            TransportError: this process cannot serve channels.
        """
        broker = _registry.current().broker()
        parts = Parcel.copied(0, 0, data, buffers).parts
        return shared((broker.address, broker.pid, broker.keep(tuple(parts))))

    def retain(self, buffer: Buffer) -> None:
        """See the contract: a message copies whatever it is given."""

    def lend(self, size: int) -> None:
        """Return nothing: what is sent is copied in any case."""

    def reap(self, pid: int) -> None:
        """Take back now what a dead child held, instead of when the broker next runs."""
        _registry.current().reap(pid)
