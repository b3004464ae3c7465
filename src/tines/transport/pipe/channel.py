"""The handles that callers have: :class:`PipeChannel` and :class:`PipeShared`.

A handle knows where its channel is, and reaches it directly in the owner, over a connection
elsewhere. It pickles to that place; the authentication key never travels. After a fork it finds its
way anew at its next use.
"""

from __future__ import annotations

import math
import secrets
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.context import get_spawning_popen

from tines import _clock
from tines.errors import TransportError
from tines.transport.contract import (
    Buffer,
    Lease,
    Message,
    Outgoing,
    check_kind_and_tag,
)
from tines.transport.pipe import registry as _registry
from tines.transport.pipe.client import Watch
from tines.transport.pipe.local import LocalWatch
from tines.transport.pipe.parcel import Parcel
from tines.transport.pipe.protocol import Frame, Op
from tines.transport.pipe.registry import Endpoint, Key, Registry
from tines.transport.statistics import ChannelStatistics

__all__ = ["PipeChannel", "PipeShared", "made", "shared"]


class PipeChannel:
    """A channel of the pipe transport; see :class:`tines.transport.contract.Channel`."""

    def __init__(self, key: Key, leases: int, registry: Registry) -> None:
        self._key = key
        self._leases = leases
        self._registry = self._holder = registry
        self._endpoint: Endpoint | None = None
        self._watch: Watch | LocalWatch | None = None
        self._closed = False

    def __repr__(self) -> str:
        state = " closed" if self._closed else ""
        return f"<{type(self).__name__} {self._key[2]} of process {self._key[1]}{state}>"

    def _reach(self) -> Endpoint:
        """Return the endpoint; slow only at first use, after a fork, and when closed."""
        registry = _registry.current()
        endpoint = self._endpoint
        if endpoint is not None and self._registry is registry:
            return endpoint
        if self._closed:
            raise ValueError("this channel was closed in this process")
        if self._registry is not registry:  # forked since then
            if self._watch is not None:
                self._watch.abandon()
                self._watch = None
            self._registry = registry
        registry.sweep()
        endpoint = self._endpoint = registry.endpoint(self._key, self._leases)
        return endpoint

    # Sending.

    def send(
        self,
        data: Buffer,
        buffers: Sequence[Buffer] = (),
        kind: int = 0,
        tag: int = 0,
        timeout: float | None = None,
    ) -> int:
        """Append one message; see the contract."""
        check_kind_and_tag(kind, tag)
        endpoint = self._reach()
        parcel = _parcel(endpoint, kind, tag, data, buffers)
        return parcel.ticket if endpoint.send([parcel], _seconds(timeout)) else -1

    def send_many(
        self,
        messages: Sequence[Outgoing],
        timeout: float | None = None,
        tickets: list[int] | None = None,
    ) -> int:
        """Append messages in order; see the contract."""
        endpoint = self._reach()
        parcels = []
        for kind, tag, data, buffers in messages:
            check_kind_and_tag(kind, tag)
            parcels.append(_parcel(endpoint, kind, tag, data, buffers))
        if not parcels:
            return 0
        if tickets is not None and not endpoint.copies:  # the owner tells the last one only
            return _send_each(endpoint, parcels, _seconds(timeout), tickets)
        sent = endpoint.send(parcels, _seconds(timeout))
        if tickets is not None:
            tickets.extend(parcel.ticket for parcel in parcels[:sent])
        return sent

    def revoke(self, ticket: int) -> bool:
        """Take a sent message back; see the contract."""
        return self._reach().revoke(ticket)

    # Receiving.

    def recv(self, timeout: float | None = None, lease: int = -1) -> Message | None:
        """Take the oldest message; see the contract."""
        if lease >= self._leases:
            self._check_slot(lease)
        parcels = self._receive(1, timeout, max(lease, -1))
        return parcels[0].message() if parcels else None

    def recv_many(self, limit: int, timeout: float | None = None) -> list[Message]:
        """Take up to ``limit`` messages; see the contract."""
        if limit < 1:
            raise ValueError(f"limit={limit!r} must be at least 1")
        return [parcel.message() for parcel in self._receive(limit, timeout, -1)]

    def _receive(self, limit: int, timeout: float | None, lease: int) -> list[Parcel]:
        parcels, remaining = self._reach().receive(limit, _seconds(timeout), lease)
        if not remaining and self._watch is not None:
            self._watch.settle()
        return parcels

    # Leases.

    def lease(self, index: int) -> Lease | None:
        """Return what the holder of a slot has taken; see the contract."""
        self._check_slot(index)
        return self._reach().lease(index)

    def held(self, index: int) -> float:
        """Return for how long a slot has been held; see the contract."""
        self._check_slot(index)
        return self._reach().held(index)

    def release(self, index: int) -> None:
        """Declare the slot's message dealt with; see the contract."""
        self._check_slot(index)
        self._reach().release(index)

    def ticking(self, iterable: Iterable[object], index: int) -> Iterator[object]:
        """Iterate, recording progress; see the contract."""
        self._check_slot(index)
        return self._reach().ticking(iterable, index)

    def _check_slot(self, index: int) -> None:
        if not 0 <= index < self._leases:
            raise ValueError(
                f"lease slot {index!r} does not exist: the channel has leases={self._leases}"
            )

    # Counting, looking.

    def qsize(self) -> int:
        """Return how many messages are queued."""
        return self._reach().statistics()[0].depth

    def full(self) -> bool:
        """Return whether one small message would have to wait."""
        return self._reach().statistics()[1]

    def task_done(self) -> None:
        """Count one received message as dealt with; see the contract."""
        self._reach().task_done()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until all was dealt with; see the contract."""
        return self._reach().join(_seconds(timeout))

    def statistics(self) -> ChannelStatistics:
        """Return a moment's picture."""
        return self._reach().statistics()[0]

    def fileno(self) -> int:
        """Return a descriptor that is readable while there may be a message."""
        endpoint = self._reach()
        if self._watch is None:
            self._watch = endpoint.watch()
        return self._watch.fileno()

    def unwatch(self) -> None:
        """Close the descriptor; see the contract."""
        watch, self._watch = self._watch, None
        if watch is not None:
            if self._registry is _registry.current():
                watch.close()
            else:
                watch.abandon()

    # The end.

    def shutdown(self, immediate: bool = False) -> None:
        """End sending; see the contract."""
        self._reach().shutdown(immediate)

    def close(self) -> None:
        """Let go of this handle; see the contract. Calling it again does nothing."""
        if self._closed:
            return
        self._closed = True
        self._endpoint = None
        self.unwatch()
        self._holder.give_up(self._key)

    def end(self) -> None:
        """Let go of the channel for everybody; see the contract."""
        self._holder.end(self._key)
        self.close()

    def __del__(self) -> None:
        try:
            if not self._closed:
                self._holder.give_up(self._key, self._watch)
        except Exception:
            pass  # the interpreter is ending and has taken names away, or __init__ did not run

    def __reduce__(self) -> tuple[object, ...]:
        self._reach()
        ticket = secrets.randbits(62) | 1
        self._registry.passed(self._key, ticket, get_spawning_popen())
        return self._unpickle(), (self._key, self._leases, ticket)

    def _unpickle(self) -> Callable[..., object]:
        """Return what makes a handle of what its pickle says."""
        return _opened


def made(key: Key, leases: int, registry: Registry) -> PipeChannel:
    """Return the first handle of a channel that this process has just made."""
    registry.made(key)
    return PipeChannel(key, leases, registry)


def _opened(key: Key, leases: int, ticket: int) -> PipeChannel:
    """Unpickle a handle."""
    registry = _registry.current()
    registry.sweep()
    registry.opened(key, ticket)
    return PipeChannel(key, leases, registry)


def _parcel(
    endpoint: Endpoint, kind: int, tag: int, data: Buffer, buffers: Sequence[Buffer]
) -> Parcel:
    if endpoint.copies:
        return Parcel.copied(kind, tag, data, buffers)
    return Parcel.borrowed(kind, tag, data, buffers)


def _send_each(
    endpoint: Endpoint, parcels: Sequence[Parcel], timeout: float, tickets: list[int]
) -> int:
    """Send one by one, as each ticket is wanted."""
    deadline = _clock.monotonic() + timeout
    for sent, parcel in enumerate(parcels):
        if not endpoint.send([parcel], max(0.0, deadline - _clock.monotonic())):
            return sent
        tickets.append(parcel.ticket)
    return len(parcels)


def _seconds(timeout: float | None) -> float:
    """Return a timeout as a float that is never negative; infinity for ``None``."""
    seconds = None if timeout is None else _clock.seconds_of(timeout)
    return math.inf if seconds is None else seconds


class PipeShared:
    """A payload for many readers; see :class:`tines.transport.contract.Shared`.

    The maker keeps one copy. Each other process fetches one when it first opens it, and keeps that
    for as long as it has a handle: within one process all handles are the same object.
    """

    def __init__(self, key: Key) -> None:
        self._key = key
        self._owner: int = key[1]
        self._opened: tuple[Registry, Buffer, list[Buffer]] | None = None

    def open(self) -> tuple[Buffer, Sequence[Buffer]]:
        """Return ``(data, buffers)``, private to this process.

        Raises:
            TransportError: its maker closed it or ended.
        """
        registry = _registry.current()
        if self._opened is None or self._opened[0] is not registry:
            parts = self._fetch(registry)
            self._opened = (registry, parts[0], list(parts[1:]))
        return self._opened[1], self._opened[2]

    def _fetch(self, registry: Registry) -> Sequence[Buffer]:
        address, pid, number = self._key
        own = registry.own_shared(self._key)
        if own is not None:
            return [own[0], *map(bytearray, own[1:])]
        if registry.is_own(self._key):
            raise _withdrawn()
        connection = registry.connections.fresh(address, pid)
        try:
            reply = connection.request(Frame(Op.OPEN_SHARED, number=number))
        finally:
            connection.close()
        if reply.op == Op.GONE:
            raise _withdrawn()
        return reply.parts

    def close(self) -> None:
        """Give the memory back; what was opened stays valid. For the maker only."""
        _registry.current().forget_shared(self._key)

    def __reduce__(self) -> tuple[object, ...]:
        return _opened_shared, (self._key,)


_shared: weakref.WeakValueDictionary[Key, PipeShared] = weakref.WeakValueDictionary()


def shared(key: Key) -> PipeShared:
    """Return this process's handle of a shared payload."""
    return _shared.setdefault(key, PipeShared(key))


_opened_shared = shared


def _withdrawn() -> TransportError:
    return TransportError("this shared payload was closed by the process that made it")
