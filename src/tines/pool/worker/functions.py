"""How the function of a task travels: once to each worker, named by a number after that.

A task message is the pickle of its *body* (arguments or items), then a *trailer* that says which
function is to be called: the pickle of ``(number, carrier)``, and the length of that. Unpickling the
message gives the body, as a pickle says itself where it ends; and as a trailer does not change, a
worker knows a function that it has met by comparing the last bytes of the message.

* number > 0: the carrier is the pickled function. A worker unpickles it when it first meets the number.
* number < 0: the carrier is a pickled handle of a shared payload (``transport.share``), which a
  worker opens when it first meets the number. So a large constant, say an array bound with
  ``functools.partial``, is sent once, and its memory exists once.
* number 0: there is no carrier. The body is ``(function, body)``, in one pickle.

Functions that pickle as a name mean the same at every call, so they keep their number for as long
as the pool lives. Anything else (a bound method, a partial, a closure) may change between two calls:
it is pickled anew for each ``apply``, and once for each map. A large ``partial``, and what is large of a
map's function, is not sent again while it is the same: see ``constants.py``.
"""

from __future__ import annotations

import pickle
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import count
from types import BuiltinFunctionType, FunctionType

from tines.wire import pickling
from tines.wire.pickling import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from tines.pool.worker.constants import Hold
    from tines.transport.contract import Buffer, Transport

    Carried = tuple[Callable[..., object], Any]
    """A function, and what it is to be called with; see ``wire/messages.py``."""

__all__ = [
    "FunctionCache",
    "Functions",
    "Reference",
    "encode_unnumbered",
    "name_of",
    "read_trailer",
    "trailer",
]

SHARED_FROM = 32 * 1024
"""Size in bytes from which a function is shared instead of being sent with each message."""

_BY_NAME = (FunctionType, BuiltinFunctionType, type)
_MOST_KEPT = 256
_MOST_SHARED_KEPT = 4

_LENGTH = struct.Struct("<I")


def trailer(number: int, carrier: bytes | None) -> bytes:
    """Return the trailer of a task message."""
    pickled = pickle.dumps((number, carrier), 5)
    return pickled + _LENGTH.pack(len(pickled))


def read_trailer(data: Buffer) -> tuple[int, bytes | None]:
    """Return ``(number, carrier)`` of a task message."""
    view = memoryview(data)
    (length,) = _LENGTH.unpack(view[-_LENGTH.size :])
    found: tuple[int, bytes | None] = pickle.loads(view[-_LENGTH.size - length :])
    return found


UNNUMBERED = trailer(0, None)


class Reference:
    """What task messages say of one function.

    Attributes:
        number: Its number.
        trailer: What comes after the body in a message.
    """

    __slots__ = ("number", "trailer")

    def __init__(self, number: int, carrier: bytes) -> None:
        self.number = number
        self.trailer = trailer(number, carrier)

    def encode(self, body: object) -> tuple[Buffer, Sequence[Buffer]]:
        """Return data and buffers of a message with this body, which is no ``bytes`` object."""
        _, data, buffers = encode(body)
        if type(data) is bytes:
            return data + self.trailer, buffers
        return b"".join((data, self.trailer)), buffers


def encode_unnumbered(func: object, body: object) -> tuple[Buffer, Sequence[Buffer]]:
    """Encode a message that carries its function."""
    _, data, buffers = encode((func, body))
    return b"".join((data, UNNUMBERED)), buffers


def name_of(func: object) -> str:
    """Return what people call a function, or whatever else is called. Raises nothing."""
    if issubclass(type(func), partial):
        return f"partial({name_of(func.func)})"  # type: ignore[attr-defined]
    name = _text_of(func, "__qualname__") or pickling.short_repr(func)
    module = _text_of(func, "__module__")
    # A spawned worker knows the main module by another name, which people have not given it.
    return name if module in (None, "builtins", "__main__", "__mp_main__") else f"{module}.{name}"


def _text_of(thing: object, attribute: str) -> str | None:
    """Return an attribute if it is text: a mock or a proxy has all of them, and may raise anything."""
    try:
        value = getattr(thing, attribute, None)
    except Exception:
        return None
    return value if isinstance(value, str) else None


def describe_call(name: str, args: Iterable[object], kwds: Mapping[str, object]) -> str:
    """Return a call as people write it, with its arguments shortened: ``mod.f(1, 'abc', key=None)``.

    What are no arguments at all may be the very reason why the call failed. Raises nothing.
    """
    parts = []
    try:
        parts += [pickling.short_repr(argument) for argument in args]
    except Exception:
        parts += [f"*{pickling.short_repr(args)}"]
    try:
        parts += [f"{key}={pickling.short_repr(kwds[key])}" for key in [*kwds.keys()]]  # as ** does
    except Exception:
        parts += [f"**{pickling.short_repr(kwds)}"]
    return f"{name}({', '.join(parts)})"


class Functions:
    """The parent's side. Any thread may call; a race costs a second number, no more."""

    def __init__(self, transport: Transport) -> None:
        # Here, as workers import this module for their own side.
        from tines.pool.worker.constants import Constants

        self.constants = Constants(transport)
        self._numbers = count(1)
        self._known: dict[object, Reference] = {}
        self._names: OrderedDict[int, str] = OrderedDict()

    def refer(self, func: Callable[..., object]) -> Reference | None:
        """Return the reference for one call; ``None``: the function travels in the message."""
        if type(func) in _BY_NAME:
            reference = self._known.get(func)
            if reference is not None:
                return reference
            if _pickles_as_name(func):
                return self._remember(func)
        return None

    def refer_many(self, func: Callable[..., object]) -> tuple[Reference, Hold | None]:
        """Return the reference for many messages, and what to close after the last of them.

        Raises:
            EncodeError: the function cannot be pickled.
        """
        reference = self.refer(func)
        if reference is not None:
            return reference, None
        _, data, buffers = encode(func)  # a function is no bytes object, so it is a pickle
        if not _is_large(data, buffers):
            return Reference(self._number(func), bytes(data)), None
        return self._refer_large(func, data, buffers)

    def refer_constant(self, func: Callable[..., object]) -> tuple[Reference, Hold] | None:
        """Return the same for one call, if the function is a ``partial`` that is large."""
        if type(func) is not partial:
            return None
        _, data, buffers = encode(func)
        return self._refer_large(func, data, buffers) if _is_large(data, buffers) else None

    def _refer_large(
        self, func: object, data: Buffer, buffers: Sequence[Buffer]
    ) -> tuple[Reference, Hold]:
        hold = self.constants.hold(func, data, buffers)
        return Reference(-self._number(func), hold.carrier), hold

    def name(self, number: int) -> str:
        """Return the name of a numbered function, for messages."""
        return self._names.get(abs(number), "a function")

    def _remember(self, func: Callable[..., object]) -> Reference:
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        reference = self._known[func] = Reference(self._number(func), pickle.dumps(func, 5))
        return reference

    def _number(self, func: object) -> int:
        number = next(self._numbers)
        self._names[number] = name_of(func)
        if len(self._names) > 4 * _MOST_KEPT:
            self._names.popitem(last=False)
        return number


def _is_large(data: Buffer, buffers: Sequence[Buffer]) -> bool:
    return bool(buffers) or memoryview(data).nbytes >= SHARED_FROM


def _pickles_as_name(func: object) -> bool:
    """Whether another process finds this very object by importing its module."""
    module = getattr(func, "__module__", None)
    if module == "__main__":
        # None in a notebook or at the prompt, "<stdin>" where a program is read from there.
        file = getattr(sys.modules.get("__main__"), "__file__", None)
        if file is None or file.startswith("<"):
            return False
    found: object = sys.modules.get(module or "")
    for part in getattr(func, "__qualname__", "").split("."):
        found = getattr(found, part, None)
    return found is func


class FunctionCache:
    """The worker's side: functions by trailer.

    Attributes:
        trailer: The trailer of the message that came last.
        latest: Its function; ``None``: the body has it.
    """

    def __init__(self) -> None:
        self.trailer = UNNUMBERED
        self.latest: object = None
        self._known: dict[bytes, object] = {UNNUMBERED: None}
        self._shared: OrderedDict[bytes, None] = OrderedDict()

    def find(self, data: Buffer) -> Any:
        """Return the function that a message is about; ``None``: its body has it."""
        view = memoryview(data)
        (length,) = _LENGTH.unpack(view[-_LENGTH.size :])
        trailer = bytes(view[-_LENGTH.size - length :])
        if trailer not in self._known:
            self._learn(trailer)
        self.trailer = trailer
        self.latest = self._known[trailer]
        return self.latest

    def carried(self, body: Carried) -> Carried:
        """Take a function that has no number out of the body; return it, and the body proper."""
        function, inner = body
        return function, inner

    def _learn(self, trailer: bytes) -> None:
        number, carrier = read_trailer(trailer)
        assert carrier is not None, "the trailer without a carrier is known"
        if number > 0:
            if len(self._known) > _MOST_KEPT:
                self._known = {old: self._known[old] for old in (UNNUMBERED, *self._shared)}
            self._known[trailer] = _loaded(carrier)
            return
        # The same payload under an older number has the marks of what was done to it.
        for old in [old for old in self._shared if read_trailer(old)[1] == carrier]:
            del self._shared[old], self._known[old]
        data, buffers = pickle.loads(carrier).open()
        self._known[trailer] = pickle.loads(data, buffers=buffers)
        self._shared[trailer] = None
        if len(self._shared) > _MOST_SHARED_KEPT:
            del self._known[self._shared.popitem(last=False)[0]]


def _loaded(carrier: bytes) -> object:
    try:
        return pickle.loads(carrier)
    except AttributeError as error:
        if b"__main__" not in carrier and b"__mp_main__" not in carrier:
            raise
        raise AttributeError(
            f"{error}. A forked worker has what the main module had when the worker was started, any other "
            "what importing it makes: define the function at the top level of the module, before the pool"
        ) from error
