"""Checks of what callers pass, for all rooms: an error names the argument, what was given, what to do."""

from __future__ import annotations

import operator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = [
    "by_likeness",
    "check_context",
    "check_function",
    "check_initializer",
    "check_iterable",
    "no_such_option",
    "whole_number",
]


def check_function(name: str, value: object) -> None:
    """Raise ``TypeError`` unless ``value`` can be called."""
    if not callable(value):
        raise TypeError(f"{name}={value!r} is not callable: pass the function itself")


def check_iterable(name: str, value: object) -> None:
    """Raise ``TypeError`` unless ``value`` can be iterated over. Nothing is read."""
    kind = type(value)
    if not (hasattr(kind, "__iter__") or hasattr(kind, "__getitem__")):
        raise TypeError(f"{name}={value!r} is not iterable: for one item, write [{value!r}]")


def check_initializer(initializer: object, initargs: object) -> None:
    """Raise ``TypeError`` unless workers can call ``initializer``, if there is one, with ``initargs``."""
    if initializer is not None and not callable(initializer):
        raise TypeError(f"initializer must be a callable, not {initializer!r}")
    check_iterable("initargs", initargs)


def check_context(name: str, value: object) -> None:
    """Raise ``TypeError`` unless ``value`` is a context or ``None``."""
    if value is not None and not hasattr(value, "get_start_method"):
        raise TypeError(
            f"{name}={value!r} is not a context: pass one that tines.get_context() returned"
        )


def whole_number(
    name: str, value: Any, *, least: int | None = None, most: int | None = None
) -> int:
    """Return ``value`` as an int: whatever ``operator.index`` takes, NumPy's whole numbers too.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is below ``least`` or above ``most``.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None
    if least is not None and number < least:
        raise ValueError(f"{name}={number} is too small: it must be at least {least}")
    if most is not None and number > most:
        raise ValueError(f"{name}={number} is too large: it must be at most {most}")
    return number


def by_likeness(given: str, known: Iterable[str]) -> list[str]:
    """Return the names that are known, the one most like ``given`` first."""
    from difflib import SequenceMatcher

    return sorted(known, key=lambda name: -SequenceMatcher(None, given, name).ratio())


def no_such_option(kind: str, name: str, known: Iterable[str]) -> TypeError:
    """Return the error for an unknown keyword; it names the known ones, the most similar first."""
    return TypeError(
        f"there is no {kind} {name!r}; there are: {', '.join(by_likeness(name, known))}"
    )
