"""Primitives of the ring transport: locks, flags, lists of waiters and memory in the program's segment.

They are made here, and travel as channels do (:mod:`tines.transport.ring`): by fork, as arguments of a
process, through queues and pools. What they promise is in ``native/core/primitives.h`` and
``waiters.h``; :mod:`tines.synchronize.native` makes of them what programs use.
"""

from __future__ import annotations

import enum
import pickle
from multiprocessing.context import get_spawning_popen
from typing import Any

from tines import _native
from tines.transport import ring

__all__ = ["Kind", "Passed", "Verdict", "make"]


class Kind(enum.IntEnum):
    """Which primitive: ``tn_kind`` of the core."""

    LOCK = 1
    RLOCK = 2
    OWNED = 3
    SEMAPHORE = 4
    FLAG = 5
    WAITERS = 6
    MEMORY = 7


class Verdict(enum.IntEnum):
    """How a wait has ended: ``tn_verdict`` of the core."""

    TIMED_OUT = 0
    WAITING = 1
    """Not at all, but another waiter has died."""
    NOTIFIED = 2
    DISMISSED = 3


def make(kind: Kind, value: int = 0, limit: int = 0) -> Any:
    """Make a native ``Lock``, ``Flag`` or ``Waiters``, with ``value`` of ``limit`` tokens, or ``Memory``."""
    return ring._program.home().primitive(kind, value, limit)


class Passed:
    """Wraps a native primitive so that it can be pickled."""

    def __init__(self, native: Any) -> None:
        self.native = native

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        reference = self.native.reference()
        popen = get_spawning_popen()
        if popen is not None:
            # Kept by the popen object until the child has opened its own.
            popen.__dict__.setdefault("_tines_references", []).append(reference)
            descriptor = ring._descriptor_for(popen, self.native.segment)
            return _open_spawned, (bytes(reference), descriptor)
        if protocol >= 5:
            return _open_received, (pickle.PickleBuffer(reference),)
        return _open_received, (bytes(reference),)


def _open_spawned(handle: bytes, descriptor: Any) -> Passed:
    identity, _, _ = ring._HANDLE.unpack(handle)
    ring._attach(identity, descriptor)
    return _open_received(handle)


def _open_received(reference: Any) -> Passed:
    if isinstance(reference, _native.Reference):
        return Passed(reference.open())
    identity, index, birth = ring._HANDLE.unpack(reference)
    return Passed(ring._program.find(identity).open_primitive(index, birth))
