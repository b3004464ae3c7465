"""How the function of a task travels: once to each worker, named by a number after that.

In a task message the function takes two places, ``(number, carrier)``:

* number > 0: the carrier is the pickled function. A worker unpickles it when it first meets the number.
* number < 0: the carrier is a pickled handle of a shared payload (``transport.share``), which a
  worker opens when it first meets the number. So a large constant, say an array bound with
  ``functools.partial``, is sent once, and its memory exists once.
* number 0: the carrier is the function itself, pickled with the task.

Functions that pickle as a name mean the same at every call, so they keep their number for as long
as the pool lives. Anything else (a bound method, a partial, a closure) may change between two calls:
it is pickled anew for each ``apply``, and once for each map.
"""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any

from tines.wire import pickling

if TYPE_CHECKING:
    from tines.transport.contract import Shared, Transport

__all__ = ["FunctionCache", "Functions", "name_of"]

SHARED_FROM = 32 * 1024
"""Size in bytes from which a function is shared instead of being sent with each message."""

_BY_NAME = (FunctionType, BuiltinFunctionType, type)
_MOST_KEPT = 256
_MOST_SHARED_KEPT = 4

Reference = tuple[int, Any]


def name_of(func: object) -> str:
    """Return what people call a function."""
    inner = getattr(func, "func", None)  # functools.partial
    if inner is not None and not hasattr(func, "__qualname__"):
        return f"partial({name_of(inner)})"
    name = getattr(func, "__qualname__", None) or pickling.short_repr(func)
    module = getattr(func, "__module__", None)
    return name if module in (None, "builtins", "__main__") else f"{module}.{name}"


class Functions:
    """The parent's side. Any thread may call; a race costs a second number, no more."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._numbers = count(1)
        self._known: dict[Any, Reference] = {}
        self._names: OrderedDict[int, str] = OrderedDict()

    def refer(self, func: Callable[..., Any]) -> Reference:
        """Return the reference for one call."""
        if type(func) in _BY_NAME:
            reference = self._known.get(func)
            if reference is not None:
                return reference
            if _pickles_as_name(func):
                return self._remember(func)
        return 0, func

    def refer_many(self, func: Callable[..., Any]) -> tuple[Reference, Shared | None]:
        """Return the reference for many messages, and what to close after the last of them.

        Raises:
            EncodeError: the function cannot be pickled.
        """
        reference = self.refer(func)
        if reference[0]:
            return reference, None
        kind, data, buffers = pickling.encode(func)
        del kind  # a function is no bytes object
        size = memoryview(data).nbytes + sum(memoryview(buffer).nbytes for buffer in buffers)
        number = self._number(func)
        if size < SHARED_FROM and not buffers:
            return (number, bytes(data)), None
        shared = self._transport.share(data, buffers)
        return (-number, pickle.dumps(shared)), shared

    def name(self, number: int, carrier: Any) -> str:
        """Return the name of a function, for messages."""
        return name_of(carrier) if number == 0 else self._names.get(abs(number), "a function")

    def _remember(self, func: Callable[..., Any]) -> Reference:
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        reference = self._known[func] = (self._number(func), pickle.dumps(func, 5))
        return reference

    def _number(self, func: object) -> int:
        number = next(self._numbers)
        self._names[number] = name_of(func)
        if len(self._names) > 4 * _MOST_KEPT:
            self._names.popitem(last=False)
        return number


def _pickles_as_name(func: Any) -> bool:
    """Whether another process finds this very object by importing its module."""
    module = getattr(func, "__module__", None)
    if module == "__main__":
        # None in a notebook or at the prompt, "<stdin>" where a program is read from there.
        file = getattr(sys.modules.get("__main__"), "__file__", None)
        if file is None or file.startswith("<"):
            return False
    found: Any = sys.modules.get(module or "")
    for part in getattr(func, "__qualname__", "").split("."):
        found = getattr(found, part, None)
    return found is func


class FunctionCache(dict[int, Any]):
    """The worker's side: functions by number. Misses go through :meth:`resolve`."""

    def __init__(self) -> None:
        super().__init__()
        self._shared: OrderedDict[int, None] = OrderedDict()

    def resolve(self, number: int, carrier: Any) -> Any:
        """Return the function, and keep it where it has a number."""
        if number == 0:
            return carrier
        if number > 0:
            if len(self) > _MOST_KEPT:
                for old in [key for key in self if key > 0]:
                    del self[old]
            func = pickle.loads(carrier)
        else:
            data, buffers = pickle.loads(carrier).open()
            func = pickle.loads(data, buffers=buffers)
            self._shared[number] = None
            if len(self._shared) > _MOST_SHARED_KEPT:
                self.pop(self._shared.popitem(last=False)[0], None)
        self[number] = func
        return func
