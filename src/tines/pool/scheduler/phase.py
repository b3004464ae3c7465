"""Where a pool stands: the one thing of the state machine that every thread may look at."""

from __future__ import annotations

import enum

__all__ = ["Phase"]


class Phase(enum.Enum):
    """Where a pool stands; it only ever moves downwards in this list.

    The state machine alone changes it, under its owner's lock. Whoever looks without the lock looks
    again after what it did, or can bear that the pool has moved on.
    """

    OPEN = "open"
    CLOSED = "closed"
    """No new tasks; what was accepted is finished."""
    DRAINED = "drained"
    """Nothing is left to do; the workers leave."""
    TERMINATED = "terminated"
    BROKEN = "broken"
    FORKED = "forked"
    """This is the copy of a pool in a forked child, where it has no workers."""

    @property
    def working(self) -> bool:
        """Whether what was accepted is still being done."""
        return self not in (Phase.TERMINATED, Phase.BROKEN, Phase.FORKED)

    @property
    def stopped(self) -> bool:
        """Whether the workers are to be ended, whatever they are doing."""
        return self in (Phase.TERMINATED, Phase.BROKEN)

    @property
    def leaving(self) -> bool:
        """Whether no worker is to be there any more."""
        return self is Phase.DRAINED or self.stopped
