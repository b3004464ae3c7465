"""Those who wait for a channel: to receive, to send, for all to be done; and descriptors kept readable.

Only a :class:`~tines.transport.pipe.state.ChannelState` ends a wait, under the broker's lock; what
``notify`` then does is up to whoever waits: release a lock here (``local.py``), send a reply to
another process (``peer.py``).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any

from tines.transport.pipe.parcel import Parcel

__all__ = ["Ended", "Hint", "Joiner", "Receiver", "Sender", "Waiter"]


class Ended(enum.Enum):
    """How a wait ended."""

    DONE = "done"
    SHUT_DOWN = "shut down"
    GONE = "gone"


class Waiter:
    """Somebody who waits; ``notify(waiter)`` is called once, after ``ended`` is set."""

    __slots__ = ("ended", "notify")

    def __init__(self, notify: Callable[[Any], None]) -> None:
        self.notify = notify
        self.ended: Ended | None = None

    def end(self, how: Ended) -> None:
        """Set the outcome and tell whoever waits."""
        self.ended = how
        self.notify(self)


class Receiver(Waiter):
    """Waits for up to ``limit`` parcels, to be recorded in slot ``lease`` if that is >= 0.

    ``pid`` is that of the process it waits for, 0 in the owner itself.
    """

    __slots__ = ("lease", "limit", "parcels", "pid")

    def __init__(self, notify: Callable[[Any], None], limit: int, lease: int, pid: int = 0) -> None:
        super().__init__(notify)
        self.pid = pid
        self.limit = limit
        self.lease = lease
        self.parcels: list[Parcel] = []


class Sender(Waiter):
    """Waits for room; the parcels before ``position`` were admitted."""

    __slots__ = ("parcels", "position")

    def __init__(self, notify: Callable[[Any], None], parcels: Sequence[Parcel]) -> None:
        super().__init__(notify)
        self.parcels = parcels
        self.position = 0


class Joiner(Waiter):
    """Waits until every message was counted as done."""

    __slots__ = ()


class Hint:
    """Somebody's descriptor that should be readable while there may be a message."""

    def show(self) -> None:
        """There is something to receive, or the channel was shut down."""
        raise NotImplementedError

    def hide(self) -> None:
        """There is nothing to receive any more."""
        raise NotImplementedError
