"""How the objects of a class are taken apart where it leaves that to Python: asked once for a class.

``object.__reduce_ex__`` finds out the same about each object. What is found here is good as long as the
class and its bases stay as they are, which the native core sees (``native/binding/ways.c``); for each
object it then gives what ``object.__reduce_ex__`` gives, to the letter.

A class has a way here if it is one of these, and nothing in it or its bases has a say in pickling:

* its objects have a ``__dict__`` and no slots, as those of most classes and dataclasses;
* they have slots and no ``__dict__``; those of frozen dataclasses have a state of their own;
* it is a named tuple;
* it has a ``__reduce__`` that is written in C, as ``Decimal`` has;
* it is ``datetime.datetime``.

All others are pickled as always. So are those whose attributes are looked up in a way of their own,
for which this is not asked.
"""

from __future__ import annotations

import copyreg
import sys
from functools import lru_cache
from types import GetSetDescriptorType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from tines.wire.reducers.contract import Reducer

    Kind: TypeAlias = tuple[str, tuple[str, ...]]

__all__ = ["find"]

_IMMUTABLE = 1 << 8  # flags of types
_HEAP = 1 << 9
_POINTER = tuple.__itemsize__

_ASKED = ("__reduce_ex__", "__getstate__", "__getnewargs__", "__getnewargs_ex__")
"""What an object is asked for by pickling; in its ``__dict__`` it goes before what the class has."""

_absent = object()


def find(
    cls: type, reducer_of_kind: Callable[[str, tuple[object, ...]], Reducer]
) -> Reducer | None:
    """Return the reducer of a class, or ``None`` where its objects have to be asked."""
    if cls is getattr(sys.modules.get("datetime"), "datetime", None) and not cls.__flags__ & _HEAP:
        return reducer_of_kind("datetime", (cls,))
    if (
        _of(cls, "__reduce_ex__") is not _of(object, "__reduce_ex__")
        or _of(cls, "__getnewargs_ex__") is not _absent
        or issubclass(cls, (list, dict, type))
    ):
        return None
    if _of(cls, "__reduce__") is not _of(object, "__reduce__"):
        # Only one that keeps no class alive.
        lasting = not cls.__flags__ & _HEAP or cls.__flags__ & _IMMUTABLE
        return cls.__reduce__ if lasting and not cls.__dictoffset__ else None
    kind = _kind(cls)
    if kind is None:
        return None
    return reducer_of_kind(kind[0], (copyreg.__newobj__, *kind[1]))  # type: ignore[attr-defined]


def _kind(cls: type) -> Kind | None:
    has_dict = cls.__dictoffset__ != 0
    slots: tuple[str, ...] = tuple(copyreg._slotnames(cls))  # type: ignore[attr-defined]
    state, arguments = _of(cls, "__getstate__"), _of(cls, "__getnewargs__")
    if state is not _of(object, "__getstate__"):
        theirs = getattr(sys.modules.get("dataclasses"), "_dataclass_getstate", None)
        if state is not theirs or arguments is not _absent or has_dict:
            return None
        return "fields", tuple(field.name for field in sys.modules["dataclasses"].fields(cls))
    if arguments is not _absent:
        plain = (
            getattr(arguments, "__code__", None) is _named_tuples_own()
            and issubclass(cls, tuple)
            and _of(cls, "__iter__") is _of(tuple, "__iter__")
        )
        return ("named tuple", ()) if plain and not has_dict and not slots else None
    # Of other types written in C, and of what has more than these, Python refuses to pickle objects.
    if not cls.__flags__ & _HEAP or cls.__flags__ & _IMMUTABLE:
        return None
    room = (cls.__dictoffset__ > 0) + (cls.__weakrefoffset__ > 0) + len(slots)
    if cls.__itemsize__ or cls.__basicsize__ > object.__basicsize__ + _POINTER * room:
        return None
    if not has_dict:
        return "slots", slots
    ordinary = type(_of(cls, "__dict__")) is GetSetDescriptorType
    return ("dict", _ASKED) if ordinary and not slots else None


def _of(cls: type, name: str) -> object:
    """Return what a class or its bases have under a name, as it stands there."""
    for base in cls.__mro__:
        if name in base.__dict__:
            return base.__dict__[name]
    return _absent


@lru_cache(1)
def _named_tuples_own() -> object:
    from collections import namedtuple

    return namedtuple("Any", "").__getnewargs__.__code__  # type: ignore[attr-defined]
