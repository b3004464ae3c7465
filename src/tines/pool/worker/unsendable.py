"""The error for what a task returned and cannot be sent. Imported when that happens, and not before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tines._std import standard
from tines.errors import ResultEncodeError
from tines.wire import pickling

if TYPE_CHECKING:
    import multiprocessing.pool as std
else:
    std = standard("pool")

__all__ = ["MaybeEncodingError"]


class MaybeEncodingError(ResultEncodeError, std.MaybeEncodingError):  # type: ignore[name-defined,misc]
    """What a task returned cannot be sent back. Both ours and the standard library's error.

    Attributes:
        exc: Why, as text.
        value: A short form of the result.
    """

    def __init__(self, exc: object, value: object) -> None:
        self.exc = str(exc)
        self.value = pickling.short_repr(value)
        Exception.__init__(self, self.exc, self.value)

    def __str__(self) -> str:
        return f"Error sending result: '{self.value}'. Reason: '{self.exc}'"

    __repr__ = std.MaybeEncodingError.__repr__  # type: ignore[attr-defined]
