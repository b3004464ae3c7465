"""What cannot be sent, and how that is said: :class:`~tines.errors.EncodeError`, in the caller.

The error is also of the type of what was raised while the object was pickled. So a program that has an
``except`` for an exception of its own, raised in a ``__reduce__``, catches it as before; the exception
itself is the ``__cause__``.

What cloudpickle would send in a changed form is refused as well: an open text file would arrive as a
``StringIO`` with its contents, so what is written there would be lost.
"""

from __future__ import annotations

import io
import reprlib
import sys

from tines.errors import EncodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["REFUSED", "encode_error", "short_repr"]

_HEAP_TYPE = 1 << 9  # of ``__flags__``: made by a class statement

_shortener = reprlib.Repr()
_shortener.maxstring = _shortener.maxother = 60


def short_repr(obj: object) -> str:
    """Return a ``repr`` of bounded length that never raises."""
    try:
        return _shortener.repr(obj)
    except Exception as error:
        return f"<{type(obj).__qualname__} whose repr raised {type(error).__name__}>"


def encode_error(obj: object, error: Exception) -> EncodeError:
    """Return what to raise where ``error`` was raised while ``obj`` was pickled."""
    message = (
        f"cannot pickle {short_repr(obj)} (a {type(obj).__qualname__}), so it cannot be sent to "
        f"another process: {type(error).__name__}: {error}"
    )
    if issubclass(EncodeError, type(error)):
        return EncodeError(message)
    failure = _made(type(error), message)
    failure.__dict__.update(vars(error))
    if isinstance(error, OSError):  # these are in no ``__dict__``
        for name in ("errno", "strerror", "filename"):
            setattr(failure, name, getattr(error, name))
    return failure


def _made(kind: type[Exception], message: str) -> EncodeError:
    try:
        cls = _both(kind)
        # No constructor: it may want anything.
        failure: EncodeError = _built_in(cls).__new__(cls, message)
        failure.args = (message,)
    except Exception:  # a type that lets itself not be combined, or made
        return EncodeError(message)
    return failure


def _built_in(cls: type) -> Any:
    """The type that lays out what ``cls`` derives from: of several, the one with most in it."""
    while cls.__flags__ & _HEAP_TYPE and cls.__base__ is not None:
        cls = cls.__base__
    return cls


def _both(kind: type[Exception]) -> type[EncodeError]:
    """An ``EncodeError`` that ``except kind`` catches too."""
    members: dict[str, object] = {
        "__module__": EncodeError.__module__,
        "__doc__": EncodeError.__doc__,
        "__str__": lambda self: str(self.args[0]),
        "__reduce__": lambda self: (_rebuilt, (kind, self.args[0], self.__dict__.copy())),
    }
    return type("EncodeError", (EncodeError, kind), members)


def _rebuilt(kind: type[Exception], message: str, state: dict[str, object]) -> EncodeError:
    failure = _made(kind, message)
    failure.__dict__.update(state)
    return failure


def _refuse_file(file: io.TextIOWrapper) -> tuple[object, ...]:
    if file is sys.stdout or file is sys.stderr:
        return getattr, (sys, "stdout" if file is sys.stdout else "stderr")
    raise TypeError(f"{short_repr(file)} is an open file: send its name, and open it there")


REFUSED: dict[type, Callable[[Any], object]] = {io.TextIOWrapper: _refuse_file}
"""Reducers for what cloudpickle would send, but not as it is."""
