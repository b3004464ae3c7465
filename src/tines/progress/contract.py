"""What is counted, who counts it, and what draws it.

Data flow: a ``Source`` (a map, an iterator, a group of results) is asked for its ``Counts`` from time
to time; they become a ``Line``; all lines of a display are drawn together by its ``Display``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

__all__ = ["Counts", "Display", "Line", "Source"]


class Counts(NamedTuple):
    """How far something is, at one moment.

    Attributes:
        done: Items that are over, those that failed among them.
        failed: Items that are over without a value.
        retried: How many further attempts there were.
        total: How many items there are; ``None`` while nobody knows.
    """

    done: int
    failed: int
    retried: int
    total: int | None

    @property
    def over(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.total is not None and self.done >= self.total


class Source(Protocol):
    """Something that is under way. Asked from the display's thread, at any time."""

    def counts(self) -> Counts:
        """Return how far it is. Takes no lock that is held while anything waits."""


class Line(NamedTuple):
    """One call, as a display shows it.

    Attributes:
        key: The same for all lines of one call, and no other's.
        description: What is running.
        done: Items that are over.
        failed: Those of them that failed.
        retried: Further attempts.
        total: Items in all, ``None`` if that is not known.
        elapsed: Seconds since the call.
        rate: Items a second, lately; on average, once it is over; ``None`` before there is any.
        remaining: Seconds left at this rate, ``None`` if that cannot be said.
        over: Whether this is the last line of the call.
    """

    key: int
    description: str
    done: int
    failed: int
    retried: int
    total: int | None
    elapsed: float
    rate: float | None
    remaining: float | None
    over: bool


@runtime_checkable
class Display(Protocol):
    """Draws lines. All calls come from one thread; one that raises is the last."""

    def draw(self, lines: Sequence[Line]) -> None:
        """Show these lines: all calls that are under way, in the order in which they began.

        A call that is over comes once more, with ``over``, and not again after that.
        """

    def close(self) -> None:
        """Nothing is shown any more: leave the terminal as it was found."""
