"""Primitives of the ring transport: locks, flags, lists of waiters and memory in the program's segment.

They are made here, and travel as channels do (:mod:`tines.transport.segments`): by fork, as arguments of a
process, through queues and pools. What they promise is in ``native/core/primitives.h`` and
``waiters.h``; :mod:`tines.synchronize.native` makes of them what programs use.
"""

from __future__ import annotations

import enum

from tines import _native
from tines.transport.segments import opened, program, reduced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Semlock = _native.Lock
    Waiters = _native.Waiters
    Flag = _native.Flag

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
    return program.home().primitive(kind, value, limit)


class Passed:
    """Wraps a native primitive so that it can be pickled."""

    def __init__(self, native: Any) -> None:
        self.native = native

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        return reduced(self.native, protocol, _received)


def _received(received: object) -> Passed:
    return Passed(opened(received, _native.Segment.open_primitive))
