"""Where a pool stands: the one thing of the state machine that every thread may look at."""

from __future__ import annotations

import enum

__all__ = ["ENDED", "Phase"]


class Phase(enum.Enum):
    """Where a pool stands; it only ever moves downwards in this list.

    The state machine changes it, under its owner's lock, and in a forked child the core. Whoever
    looks without the lock looks again after what it did, or can bear that the pool has moved on.
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
        return self not in ENDED


ENDED = (Phase.TERMINATED, Phase.BROKEN, Phase.FORKED)
"""Those that are not ``working``; a constant for those who ask with each task."""
