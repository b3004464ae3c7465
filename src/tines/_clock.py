"""The clock that all waits go by, and the one place where a wait is made to fit what the system takes.

Programs are run with their clock replaced: freezegun puts its own functions wherever a module refers to
those of ``time``, others patch ``time`` itself. A deadline that one thread has set by such a clock, and
another one, or another process, looks at by the real one, never comes or has long passed. So the
functions here belong to a copy of the module ``time`` that nobody else has: they are the real ones, also
where this module is imported while the clock is replaced. They count as the ring's core does.

A *deadline* is a moment on this clock; ``None`` means that there is none. Systems refuse long waits, each
from another length on (``poll`` from 25 days). So nothing waits longer than ``LONGEST`` in one go: whoever
waits asks :func:`left` for how long, and goes on where the deadline has not passed; :func:`until` does both.

On Windows Ctrl-C does not end a wait; it is heard between two. So the main thread, which has to hear it,
waits in short stretches there: :func:`stretch`.
"""

from __future__ import annotations

import sys
import time as _public

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any, TypeVar

    T = TypeVar("T")

__all__ = [
    "LONGEST",
    "deadline_after",
    "left",
    "monotonic",
    "monotonic_ns",
    "passed",
    "seconds_of",
    "sleep",
    "stretch",
    "until",
]

LONGEST = 86400.0
"""Seconds of one wait. All systems take that."""

BRIEF = 0.1
"""Seconds after which the main thread hears Ctrl-C on Windows."""


def _copy_of_time() -> ModuleType:
    """Return another instance of the module ``time``; the one that all have, if there can be no other."""
    spec = _public.__spec__
    try:
        loader: Any = spec.loader
        own = loader.create_module(spec)
        loader.exec_module(own)
        return own if callable(own.monotonic) else _public
    except (AttributeError, ImportError):
        return _public


_time = _copy_of_time()
monotonic: Callable[[], float] = _time.monotonic
monotonic_ns: Callable[[], int] = _time.monotonic_ns
sleep: Callable[[float], None] = _time.sleep


def seconds_of(timeout: Any) -> float | None:
    """Return a timeout as a number of seconds that is not negative; ``None``: wait for ever.

    Raises:
        TypeError: it is neither a number nor ``None``.
        ValueError: it is NaN.
    """
    if timeout is None:
        return None
    try:
        seconds = float(0.0 + timeout)
    except TypeError:
        raise TypeError(f"timeout={timeout!r} is not a number of seconds or None") from None
    except OverflowError:  # a whole number with more than 300 digits
        seconds = float("inf") if timeout > 0 else 0.0
    if seconds != seconds:
        raise ValueError(
            f"timeout={timeout!r} is not a valid timeout: give a number of seconds, or None to wait forever"
        )
    if seconds == float("inf"):
        return None
    return seconds if seconds > 0 else 0.0


def deadline_after(timeout: object) -> float | None:
    """Return when ``timeout`` seconds from now will be over; ``None``: never.

    Raises:
        TypeError: it is neither a number nor ``None``.
        ValueError: it is NaN.
    """
    seconds = seconds_of(timeout)
    return None if seconds is None else monotonic() + seconds


def left(deadline: float | None) -> float | None:
    """Return for how long to wait now: until the deadline, or for ``LONGEST``; ``None``: for ever."""
    if deadline is None:
        return None
    remaining = deadline - monotonic()
    if remaining <= 0:
        return 0.0
    return remaining if remaining < LONGEST else LONGEST


def _brief(deadline: float | None) -> float | None:
    """Return for how long to wait now; in the main thread not for longer than :data:`BRIEF`."""
    from threading import get_ident, main_thread

    seconds = left(deadline)
    if get_ident() != main_thread().ident:
        return seconds
    return BRIEF if seconds is None or seconds > BRIEF else seconds


stretch = _brief if sys.platform == "win32" else left
"""As :func:`left`, for waits that Ctrl-C is to end."""


def passed(deadline: float | None) -> bool:
    """Return whether there is a deadline and it has come."""
    return deadline is not None and monotonic() >= deadline


def until(deadline: float | None, wait: Callable[[float | None], T]) -> T:
    """Call ``wait(seconds)`` until what it returns is true, or the deadline has passed; return that."""
    while True:
        result = wait(stretch(deadline))
        if result or passed(deadline):
            return result
