"""Waiting for descriptors and sentinels, by our own clock and for any length of time.

``multiprocessing.connection.wait`` refuses long timeouts, and asks the public clock whether its time is
over: where that stands still, it never is.
"""

from __future__ import annotations

import sys

from tines import _clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol, TypeVar

    class HasFileno(Protocol):
        """Something that has a descriptor, or on Windows a handle."""

        def fileno(self) -> int:
            """Return it."""

    Sentinel = int | HasFileno
    T = TypeVar("T", bound=Sentinel)

__all__ = ["milliseconds", "ready_among"]


def milliseconds(seconds: float | None) -> int | None:
    """Return what ``poll`` takes, rounded up: nobody is back before the time is over."""
    return None if seconds is None else max(0, -int(-seconds * 1000 // 1))


if sys.platform == "win32":

    def ready_among(things: Iterable[object], deadline: float | None) -> list[object]:
        """Wait until some of several things are readable, or at their end.

        Args:
            things: Descriptors, sentinels, or whatever has a ``fileno()``.
            deadline: On the private clock; ``None`` waits for ever.

        Returns:
            Those that are; none, if the deadline has passed.
        """
        from multiprocessing import connection

        given = list(things)
        return _clock.until(deadline, lambda seconds: connection.wait(given, seconds))

else:
    import select

    def ready_among(things: Iterable[T], deadline: float | None) -> list[T]:
        """Wait until some of several things are readable, or at their end.

        Args:
            things: Descriptors, sentinels, or whatever has a ``fileno()``.
            deadline: On the private clock; ``None`` waits for ever.

        Returns:
            Those that are; none, if the deadline has passed.
        """
        poll = select.poll()
        by_number: dict[int, T] = {}
        for thing in things:
            number = thing if isinstance(thing, int) else thing.fileno()
            by_number[number] = thing
            poll.register(number, select.POLLIN)
        events = _clock.until(deadline, lambda seconds: poll.poll(milliseconds(seconds)))
        return [by_number[number] for number, _ in events]
