"""Exceptions that cross processes with their traceback as readable text.

An exception is sent as :class:`RemoteException`. Where it arrives, ``revive()`` gives the exception
itself with its remote traceback as ``__cause__``, or, if it does not unpickle (constructors with
required arguments are the usual reason), a :class:`RemoteError` stand-in that carries its text.
Either way somebody gets an exception to raise; none is ever lost on the way.
"""

from __future__ import annotations

import sys

from tines.errors import TinesError
from tines.wire import pickling

# Not from ``typing``: each worker imports this, and would import that with it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "Place",
    "RemoteError",
    "RemoteException",
    "RemoteTraceback",
    "add_note",
    "whereabouts",
]


class RemoteTraceback(Exception):
    """The cause of an exception that was raised in another process; prints as its traceback."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'

    @property
    def tb(self) -> str:
        """The standard library's name for :attr:`text`."""
        return self.text


class RemoteError(TinesError):
    """Stands in for an exception that does not pickle or unpickle.

    Attributes:
        type_name: Qualified name of the original's type.
        text: ``str()`` of the original.
        reason: Why the original could not travel.
    """

    def __init__(self, message: str, *, type_name: str, text: str, reason: str) -> None:
        super().__init__(message)
        self.type_name = type_name
        self.text = text
        self.reason = reason


Place = tuple[str, int, int]
"""What was running: the call, its index in its chunk or message, the worker's pid."""


def whereabouts(call: str, item: int | None, pid: int | None, attempt: int | None) -> str:
    """Return the note on an exception that says what was running, as far as that is known."""
    parts = (
        f"while running {call}",
        f", item {item}" if item is not None else "",
        f", worker {pid}" if pid is not None else "",
        f", attempt {attempt}" if attempt is not None else "",
    )
    return "".join(parts)


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an exception, also before Python 3.11, which does not print it."""
    try:
        if sys.version_info >= (3, 11):
            error.add_note(note)
        else:
            noted: Any = error
            if not hasattr(noted, "__notes__"):
                noted.__notes__ = []
            noted.__notes__.append(note)
    except Exception:
        pass  # it takes no attributes, or has something else under that name: raised without


class RemoteException:
    """An exception in a form that always travels.

    The exception is pickled apart from the rest, so that one that does not unpickle costs
    nothing but itself.
    """

    __slots__ = (
        "kinds",
        "pickled",
        "place",
        "reason",
        "text",
        "traceback",
        "type_name",
    )

    def __init__(
        self,
        type_name: str,
        text: str,
        traceback: str,
        pickled: bytes | None,
        reason: str = "",
        place: Place | None = None,
        kinds: tuple[str, ...] = (),
    ) -> None:
        self.type_name = type_name
        self.text = text
        self.traceback = traceback
        self.pickled = pickled
        self.reason = reason
        self.place = place
        self.kinds = kinds

    def __reduce__(self) -> tuple[object, ...]:
        fields = (
            self.type_name,
            self.text,
            self.traceback,
            self.pickled,
            self.reason,
            self.place,
            self.kinds,
        )
        return RemoteException, fields

    @classmethod
    def capture(cls, error: BaseException) -> RemoteException:
        """Take down an exception that is being handled, with its traceback. Never raises."""
        pickled, reason = _pickle_and_try(error)
        return cls(
            type_name=_name_of(type(error)),
            text=_text(error),
            traceback=_format(error),
            pickled=pickled,
            reason=reason,
            kinds=tuple(map(_name_of, type(error).__mro__)),
        )

    def is_a(self, kinds: tuple[type[BaseException], ...]) -> bool:
        """Return whether the exception was one of ``kinds`` where it was raised.

        It goes by their names, so it holds for exceptions that do not travel.
        """
        return any(_name_of(kind) in self.kinds for kind in kinds)

    def revive(self, first: int | None = None, attempt: int | None = None) -> BaseException:
        """Return the exception to raise, its remote traceback attached as ``__cause__``.

        Where it says what was running, a note on it says so too.

        Args:
            first: Which item of a map the first of its chunk was.
            attempt: Which attempt it was.
        """
        error: object = None
        reason = self.reason
        if self.pickled is not None:
            try:
                error = pickling.decode(pickling.PICKLED, self.pickled, ())
            except Exception as failure:
                reason = str(failure)
        if not isinstance(error, BaseException):
            error = RemoteError(
                f"{self.type_name}: {self.text} (the exception itself could not be sent: {reason})",
                type_name=self.type_name,
                text=self.text,
                reason=reason,
            )
        error.__cause__ = RemoteTraceback(self.traceback)
        if self.place is not None:
            call, index, pid = self.place
            item = None if first is None else first + index
            add_note(error, whereabouts(call, item, pid, attempt))
        return error


def _name_of(kind: type) -> str:
    """Return the name by which a class is known in every process: the main module has two."""
    if kind.__module__ == "builtins":
        return kind.__qualname__
    module = "__main__" if kind.__module__ == "__mp_main__" else kind.__module__
    return f"{module}.{kind.__qualname__}"


def _pickle_and_try(error: BaseException) -> tuple[bytes | None, str]:
    """Pickle an exception and see, where it was raised, whether it would unpickle."""
    try:
        _, data, buffers = pickling.encode(error)
        if buffers:
            return None, "it holds large buffers"
        pickling.decode(pickling.PICKLED, data, ())
    except Exception as failure:
        return None, str(failure)
    return bytes(data), ""


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "<an exception whose str() raised>"


def _format(error: BaseException) -> str:
    import traceback  # only where something was raised: each worker imports this module

    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception:
        return f"{type(error).__qualname__} (its traceback could not be formatted)\n"
