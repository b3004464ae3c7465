"""Large constants of functions (an array bound with ``functools.partial``, say), sent once to all workers.

A payload goes through ``transport.share``: it is copied once, and workers map that copy. It is kept
while the arrays in it live, so that the next call with the same ones does not send them again. Because
they may have been changed meanwhile, what is kept is compared byte for byte with what is to be sent:
reading both costs a fraction of copying, and tasks always see what the caller had at the call.

A worker opens a payload anew for each reference to it, which gives it a private view: what one map
does to its constant, the next one does not see.
"""

from __future__ import annotations

import functools
import pickle
import threading
import weakref
from collections.abc import Callable, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tines.transport.contract import Buffer, Shared, Transport

__all__ = ["Constants", "Hold"]

MOST_KEPT = 4
PIECE = 1 << 20


class _Payload:
    """A shared payload; given back when nobody refers to it any more."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.watched: list[object] = []
        self.carrier = pickle.dumps(shared)

    def __del__(self) -> None:
        try:
            self.shared.close()
        except Exception:
            pass  # the interpreter is ending and has taken names away, or __init__ did not get far

    def holds(self, data: Buffer, buffers: Sequence[Buffer]) -> bool:
        """Whether it is made of just these bytes."""
        own, own_buffers = self.shared.open()
        return (
            len(own_buffers) == len(buffers)
            and _same(own, data)
            and all(map(_same, own_buffers, buffers))
        )


class Hold:
    """What keeps a payload while messages that refer to it may be under way.

    Attributes:
        carrier: What the messages say of it.
    """

    def __init__(self, payload: _Payload) -> None:
        self._payload: _Payload | None = payload
        self.carrier = payload.carrier

    def close(self) -> None:
        """Let go of it."""
        self._payload = None


class Constants:
    """The payloads of one pool. Any thread may call."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        # Where a payload is sent through pipes, the workers have copies, and nothing is gained.
        self._keeps = transport.shares_memory
        self._lock = threading.Lock()
        # The latest is the last. Entries leave at any time: see _watch.
        self._kept: list[_Payload] = []

    def hold(self, func: object, data: Buffer, buffers: Sequence[Buffer]) -> Hold:
        """Return a hold on the payload of a pickled function."""
        if not self._keeps:
            return Hold(_Payload(self._transport.share(data, buffers)))
        with self._lock:
            for payload in reversed(self._kept.copy()):
                if payload.holds(data, buffers):
                    return Hold(payload)
            payload = _Payload(self._transport.share(data, buffers))
            if self._watch(payload, func, buffers):
                self._kept.append(payload)
                del self._kept[:-MOST_KEPT]
            return Hold(payload)

    def clear(self) -> None:
        """Let go of all."""
        self._kept.clear()

    def _watch(self, payload: _Payload, func: object, buffers: Sequence[Buffer]) -> bool:
        """See that a payload is not kept for longer than what it is a copy of.

        The callback runs wherever the garbage collector does, so it takes no lock.
        """
        owners: list[object] = [memoryview(buffer).obj for buffer in buffers] or [func]
        dropped = functools.partial(_drop, self._kept, weakref.ref(payload))
        try:
            payload.watched = [weakref.ref(owner, dropped) for owner in owners]
        except TypeError:
            return False  # it has no weak references: it is sent for each map, then
        return True


def _drop(kept: list[_Payload], payload: Callable[[], _Payload | None], _owner: object) -> None:
    found = payload()
    if found in kept:
        kept.remove(found)


def _same(own: Buffer, other: Buffer) -> bool:
    """Compare a piece at a time: as ``bytes``, which are compared at the speed of memory."""
    first, second = memoryview(own).cast("B"), memoryview(other).cast("B")
    return first.nbytes == second.nbytes and all(
        bytes(first[start : start + PIECE]) == bytes(second[start : start + PIECE])
        for start in range(0, first.nbytes, PIECE)
    )
