"""Where a pool stands: the one thing of the state machine that every thread may look at."""

from __future__ import annotations

import enum

__all__ = ["Phase", "Standing"]


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


class Standing:
    """Where a pool stands, in the words that are asked for outside of the state machine.

    Attributes:
        phase: For the state machine itself, and for tests.
        is_open: Whether tasks are accepted.
        is_closed: Whether the pool is to be drained, and is not yet.
        has_ended: Whether what was accepted is not being done any more.
    """

    phase: Phase
    is_open: bool
    is_closed: bool
    has_ended: bool

    def _move(self, phase: Phase) -> None:
        # The three that are asked for with each task are plain attributes.
        self.phase = phase
        self.is_open = phase is Phase.OPEN
        self.is_closed = phase is Phase.CLOSED
        self.has_ended = not phase.working

    @property
    def is_copy(self) -> bool:
        """Whether this is the copy of a pool in a forked child, where it has no workers."""
        return self.phase is Phase.FORKED

    @property
    def is_terminated(self) -> bool:
        """Whether somebody has asked for the end of everything."""
        return self.phase is Phase.TERMINATED

    @property
    def is_stopped(self) -> bool:
        """Whether the workers are to be ended, whatever they are doing."""
        return self.phase.stopped

    @property
    def is_leaving(self) -> bool:
        """Whether no worker is to be there any more."""
        return self.phase.leaving

    @property
    def standing(self) -> str:
        """Where it stands, in a word for people."""
        return self.phase.value
