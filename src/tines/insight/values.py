"""Statistics as plain data, whatever fields they have.

A field that is added to ``Pool.statistics()`` is published without a change here.
"""

from __future__ import annotations

import dataclasses
import enum
import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["LONGEST_TEXT", "Plain", "plain"]

if TYPE_CHECKING:
    Plain = Any
else:
    Plain = object
"""What JSON has: ``None``, booleans, numbers, text, lists, dictionaries."""

LONGEST_TEXT = 500
_DEEPEST = 6


def plain(value: object, depth: int = 0) -> Plain:
    """Return frozen records, and whatever is in them, as plain data."""
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else value[: LONGEST_TEXT - 3] + "..."
    if depth >= _DEEPEST:
        return "..."
    if dataclasses.is_dataclass(value):
        names = (field.name for field in dataclasses.fields(value))
        return {name: plain(getattr(value, name), depth + 1) for name in names}
    if isinstance(value, dict):
        return {str(key): plain(entry, depth + 1) for key, entry in value.items()}
    if isinstance(value, (tuple, list, set, frozenset)):
        return [plain(entry, depth + 1) for entry in value]
    return plain(str(value), depth)
