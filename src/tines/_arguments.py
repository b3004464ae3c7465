"""Checks of what callers pass, for all rooms: an error names the argument, what was given, what to do."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["check_function", "check_iterable", "deadline_after", "no_such_option"]


def check_function(name: str, value: object) -> None:
    """Raise ``TypeError`` unless ``value`` can be called."""
    if not callable(value):
        raise TypeError(f"{name}={value!r} is not callable: pass the function itself")


def check_iterable(name: str, value: object) -> None:
    """Raise ``TypeError`` unless ``value`` can be iterated over. Nothing is read."""
    kind = type(value)
    if not (hasattr(kind, "__iter__") or hasattr(kind, "__getitem__")):
        raise TypeError(f"{name}={value!r} is not iterable: for one item, write [{value!r}]")


def deadline_after(timeout: Any) -> float | None:
    """Return when ``timeout`` seconds from now will be over, on the monotonic clock.

    Raises:
        TypeError: it is neither a number nor ``None``.
    """
    if timeout is None:
        return None
    try:
        return float(time.monotonic() + timeout)
    except TypeError:
        raise TypeError(f"timeout={timeout!r} is not a number of seconds or None") from None


def no_such_option(kind: str, name: str, known: Iterable[str]) -> TypeError:
    """Return the error for a keyword that nobody knows; the nearest that is known comes first."""
    from difflib import SequenceMatcher

    names = sorted(known, key=lambda each: -SequenceMatcher(None, name, each).ratio())
    return TypeError(f"there is no {kind} {name!r}; there are: {', '.join(names)}")
