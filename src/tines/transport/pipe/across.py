"""Channels that processes on other machines use as well: their owner listens on an address of the network.

Nothing else differs. Each thread of another machine has a connection of its own, so what is promised of a
process that is killed holds for one on a machine that is lost: its connections end as soon as the system
knows, or somebody says so (:func:`exclude`). Both sides prove that they know the program's ``authkey``, and
nothing that comes is unpickled before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from tines.transport.contract import Buffer, Outgoing, check_bounds
from tines.transport.pipe import PipeTransport
from tines.transport.pipe import registry as _registry
from tines.transport.pipe.channel import PipeChannel
from tines.transport.pipe.registry import Key, Registry
from tines.transport.pipe.state import ChannelState

__all__ = ["AcrossChannel", "AcrossTransport", "exclude"]

Check = Callable[[int, Buffer, Sequence[Buffer]], object]


def exclude(node: int) -> None:
    """Have nothing to do any more with the processes of a node that is lost, should it come back."""
    _registry.current().exclude(node)


class AcrossTransport(PipeTransport):
    """Makes such channels. They have no leases, which are kept in memory that processes share.

    Args:
        host: By which address of this machine the others reach it.
        check: Called with kind, data and buffers of what is about to be sent; raises where it cannot travel.
            A function of a module.
    """

    def __init__(self, host: str, check: Check) -> None:
        self._host = host
        self._check = check

    def channel(self, *, max_items: int = 0, max_bytes: int = 0, leases: int = 0) -> AcrossChannel:
        """Make a channel; see the contract.

        Raises:
            ValueError: a negative bound, or leases.
            TransportError: this process cannot serve channels: no descriptors or threads left.
        """
        check_bounds(max_items, max_bytes, leases)
        if leases:
            raise ValueError(f"leases={leases!r}: a channel across machines has none")
        registry = _registry.current()
        registry.sweep()
        broker = registry.broker()
        address = broker.open_to(self._host)
        number = broker.open_channel(ChannelState(max_items=max_items, max_bytes=max_bytes))
        key = (address, broker.pid, number)
        registry.made(key)
        return AcrossChannel(self._check, key, registry)


class AcrossChannel(PipeChannel):
    """A handle of such a channel."""

    def __init__(self, check: Check, key: Key, registry: Registry) -> None:
        super().__init__(key, 0, registry)
        self._check_message = check

    def send(
        self,
        data: Buffer,
        buffers: Sequence[Buffer] = (),
        kind: int = 0,
        tag: int = 0,
        timeout: float | None = None,
    ) -> int:
        """Append one message; see the contract."""
        self._check_message(kind, data, buffers)
        return super().send(data, buffers, kind, tag, timeout)

    def send_many(
        self,
        messages: Sequence[Outgoing],
        timeout: float | None = None,
        tickets: list[int] | None = None,
    ) -> int:
        """Append messages in order; see the contract."""
        for kind, _, data, buffers in messages:
            self._check_message(kind, data, buffers)
        return super().send_many(messages, timeout, tickets)

    def _unpickle(self) -> Callable[..., object]:
        return functools.partial(_opened, self._check_message)


def _opened(check: Check, key: Key, leases: int, ticket: int) -> AcrossChannel:
    registry = _registry.current()
    registry.sweep()
    registry.opened(key, ticket)
    return AcrossChannel(check, key, registry)
