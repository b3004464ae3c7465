"""Waiting for descriptors and sentinels, by our own clock and for any length of time.

``multiprocessing.connection.wait`` refuses long timeouts, and asks the public clock whether its time is
over: where that stands still, it never is. On Windows it takes no more than 63 things before Python 3.13.
"""

from __future__ import annotations

import sys

from tines import _clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Protocol, TypeVar

    class HasFileno(Protocol):
        """Something that has a descriptor, or on Windows a handle."""

        def fileno(self) -> int:
            """Return it."""

    Sentinel = int | HasFileno
    T = TypeVar("T", bound=object)
    S = TypeVar("S", bound=Sentinel)

__all__ = ["milliseconds", "ready_among"]


def milliseconds(seconds: float | None) -> int | None:
    """Return what ``poll`` takes, rounded up: nobody is back before the time is over."""
    return None if seconds is None else max(0, -int(-seconds * 1000 // 1))


MOST = 60
"""Handles that are waited for in one go where the system takes no more than some."""
ROUND = 0.05
"""Seconds after which those beyond the first are looked at again."""


def in_rounds(
    things: list[T], deadline: float | None, wait: Callable[[list[T], float | None], list[T]]
) -> list[T]:
    """Wait for more things than ``wait(things, seconds)`` takes; see ``ready_among``.

    The first ones, among which is what the waiting thread is woken by, are noticed at once.
    """
    groups = [things[start : start + MOST] for start in range(0, len(things), MOST)]
    pause = 0.0
    while True:
        found = wait(groups[0], pause)
        for group in groups[1:]:
            found += wait(group, 0.0)
        if found or _clock.passed(deadline):
            return found
        seconds = _clock.left(deadline)
        pause = ROUND if seconds is None else min(ROUND, seconds)


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
        if len(given) > MOST and sys.version_info < (3, 13):
            return in_rounds(given, deadline, connection.wait)
        return _clock.until(deadline, lambda seconds: connection.wait(given, seconds))

else:
    import select

    def ready_among(things: Iterable[S], deadline: float | None) -> list[S]:
        """Wait until some of several things are readable, or at their end.

        Args:
            things: Descriptors, sentinels, or whatever has a ``fileno()``.
            deadline: On the private clock; ``None`` waits for ever.

        Returns:
            Those that are; none, if the deadline has passed.
        """
        poll = select.poll()
        by_number: dict[int, S] = {}
        for thing in things:
            number = thing if isinstance(thing, int) else thing.fileno()
            by_number[number] = thing
            poll.register(number, select.POLLIN)
        events = _clock.until(deadline, lambda seconds: poll.poll(milliseconds(seconds)))
        return [by_number[number] for number, _ in events]
