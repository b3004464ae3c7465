"""The transport of a pool whose workers are on other nodes: what the pool sends goes to the hub.

The tasks channel is the program's end of the channels that the nodes have; its leases are theirs. The
results channel is one of this machine's own, into which the hub puts what arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tines.engines.remote.borders import check
from tines.engines.remote.sharing import RelayShared
from tines.errors import QueueShutDown
from tines.transport.contract import check_bounds
from tines.transport.statistics import ChannelStatistics

if TYPE_CHECKING:
    from collections.abc import Callable

    from tines.engines.remote.hub import Hub
    from tines.transport.contract import Buffer, Channel, Lease, Message, Outgoing, Transport

__all__ = ["RelayTransport", "TasksChannel"]


class RelayTransport:
    """See the module, and :class:`tines.transport.contract.Transport`.

    Args:
        hub: Deals with the nodes.
        here: The transport of this machine.
        end: Is called when the pool lets go of its channels.
    """

    name = "relay"
    shares_memory = True
    has_primitives = False

    def __init__(self, hub: Hub, here: Transport, end: Callable[[], object]) -> None:
        self._hub = hub
        self._here = here
        self._end = end
        self.receives_at_once = here.receives_at_once
        self._slots = 0

    @property
    def slots(self) -> int:
        """How many leases the tasks channel has."""
        return self._slots

    def channel(self, *, max_items: int = 0, max_bytes: int = 0, leases: int = 0) -> Channel:
        """Return the tasks channel, which has leases, or the results channel, which has none."""
        check_bounds(max_items, max_bytes, leases)
        if not leases:
            self._hub.results = self._here.channel()
            return self._hub.results
        self._slots = leases
        tasks: Any = TasksChannel(self._hub, self._end)
        return tasks  # type: ignore[no-any-return]

    def share(self, data: Buffer, buffers: Sequence[Buffer] = ()) -> RelayShared:
        """See the contract: each node has it once.

        Raises:
            EncodeError: it holds something that belongs to this machine.
        """
        check(data, buffers)
        shared = RelayShared(data, buffers, self._hub.unshare)
        self._hub.share(shared)
        return shared

    def retain(self, buffer: Buffer) -> None:
        """See the contract: a message has nothing but bytes of its own."""
        return

    def lend(self, size: int) -> None:
        """See the contract."""
        return

    def reap(self, pid: int) -> None:
        """Do nothing: the node has seen to it."""


class TasksChannel:
    """See the module, and :class:`tines.transport.contract.Channel`, of which it has what a pool asks for."""

    def __init__(self, hub: Hub, end: Callable[[], object]) -> None:
        self._hub = hub
        self._end = end
        self._shut = False
        self._sent = 0
        self.revoke = hub.revoke
        self.lease: Callable[[int], Lease | None] = hub.lease
        self.release = hub.release
        self.held = hub.held

    def send(
        self,
        data: Buffer,
        buffers: Sequence[Buffer] = (),
        kind: int = 0,
        tag: int = 0,
        timeout: float | None = None,
    ) -> int:
        """See the contract; the ticket is the tag."""
        message = self._message(kind, tag, data, buffers)
        if self._shut:
            raise QueueShutDown("the pool has ended")
        self._sent += 1
        self._hub.post(message)
        return tag

    def send_many(
        self,
        messages: Sequence[Outgoing],
        timeout: float | None = None,
        tickets: list[int] | None = None,
    ) -> int:
        """See the contract."""
        for kind, tag, data, buffers in messages:
            ticket = self.send(data, buffers, kind, tag)
            if tickets is not None:
                tickets.append(ticket)
        return len(messages)

    def _message(self, kind: int, tag: int, data: Buffer, buffers: Sequence[Buffer]) -> Message:
        if type(data) is not bytes:
            data = bytes(data)
        check(data, buffers)
        return kind, tag, data, [bytes(buffer) for buffer in buffers] if buffers else ()

    def qsize(self) -> int:
        """See the contract."""
        return self._hub.depth()[0]

    def statistics(self) -> ChannelStatistics:
        """See the contract."""
        depth, size = self._hub.depth()
        return ChannelStatistics(depth, size, self._sent, self._sent - depth, 0, 0)

    def shutdown(self, immediate: bool = False) -> None:
        """See the contract."""
        self._shut = True
        self._hub.shut(immediate)

    def ticking(self, iterable: Iterable[object], index: int) -> Iterator[object]:
        """Only workers take tasks, and they have their node's channel."""
        raise NotImplementedError("tasks are taken on the nodes")

    def close(self) -> None:
        """Do nothing: this end is the pool's own."""

    def end(self) -> None:
        """See the contract: the nodes end."""
        self._shut = True
        self._end()
