"""Reducers for the libraries whose objects would pickle badly: in band, or by a descriptor each.

A module here is about one library, and has one function, which is called once when that is imported::

    def reducers(library: ModuleType) -> Reducers: ...

Invariants:

* A library is never imported for this. The table of reducers is completed when the number of modules
  in ``sys.modules`` has changed and one of the libraries is among them, all of it: one that is still
  being imported is looked at again the next time.
* What the program says goes first: ``ForkingPickler.register`` and ``copyreg``. Only a reducer that
  the library itself has registered there is replaced, function for function (``Reducers.instead``).
* A reducer answers for exactly the type it stands under, never for subclasses.
* What a reducer returns unpickles to an object of the receiver's own, writable where the original is.
* A library whose parts are not what is expected here is left to pickle as it does by itself.
"""

from __future__ import annotations

import contextlib
import copyreg
import sys
from importlib import import_module
from multiprocessing.reduction import ForkingPickler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from tines.wire.reducers.contract import Reducer, Reducers

__all__ = ["Dispatch", "dispatch", "instead", "look", "native_dispatch"]

# The one private name of the standard library here: the public way to read the registry builds a
# pickler, at 2 us for each object that has no entry.
_registered: dict[type, Reducer] = ForkingPickler._extra_reducers  # type: ignore[attr-defined]

added: dict[type, Reducer] = {}
"""For types that the libraries leave to pickle's own ways."""

instead: dict[Reducer, Reducer] = {}
"""What stands in for a reducer that a library has registered itself."""

# The libraries that have not been seen yet, each by the module that says that it is in use, and what
# here is about it.
_awaited = {
    "PIL.Image": "images",
    "polars": "dataframes",
    "torch.multiprocessing.reductions": "tensors",
}


def look() -> int:
    """Take in the libraries that are imported by now; return the number of modules there were.

    -1 if one is in the midst of being imported, so that the answer may be another one soon.
    """
    count = len(sys.modules)
    for library in tuple(_awaited):
        found = sys.modules.get(library)
        if found is None:
            continue
        if _is_being_imported(library):
            count = -1
            continue
        name = _awaited.pop(library, None)
        if name is not None:
            _take_in(name, found)
    return count


def _is_being_imported(library: str) -> bool:
    names = (library, library.partition(".")[0])
    specs = [getattr(sys.modules.get(name), "__spec__", None) for name in names]
    return any(getattr(spec, "_initializing", False) for spec in specs)


def _take_in(name: str, library: ModuleType) -> None:
    try:
        given: Reducers = import_module(f"{__name__}.{name}").reducers(library)
    except (AttributeError, ImportError) as error:
        from multiprocessing import util

        util.info("tines leaves the objects of %s to itself: %s", library.__name__, error)
        return
    added.update(given.added)
    instead.update(given.instead)


class Dispatch:
    """A dispatch table in Python: the twin of the native one, which says in which order it asks."""

    def __init__(self, instead: dict[Reducer, Reducer]) -> None:
        self._instead = instead
        self._looked = -1
        self._seen: tuple[dict[Any, Reducer], ...] = ()
        self._plain: dict[type, Reducer] = {}

    def __getitem__(self, cls: type) -> Reducer:
        return self.plain()[cls]

    def plain(self) -> dict[type, Reducer]:
        """Return what it says as a plain dict, which a pickler asks several times as fast.

        It is made anew when one of the registries has changed, and good for one object.
        """
        if len(sys.modules) != self._looked:
            self._looked = look()
        sources = (added, copyreg.dispatch_table, _registered, self._instead)
        if self._seen != sources:
            self._seen = tuple(source.copy() for source in sources)
            theirs = {**copyreg.dispatch_table, **_registered}
            self._plain = {**added, **theirs}
            for cls, reducer in theirs.items():
                with contextlib.suppress(TypeError):  # a callable without a hash
                    self._plain[cls] = self._instead.get(reducer, reducer)
        return self._plain


def native_dispatch(native: Any, instead: dict[Reducer, Reducer]) -> Any:
    """Return a dispatch table of the native core, which is handed in."""

    def find(cls: type) -> Reducer | None:
        from tines.wire.reducers.ways import find  # when it is needed: each worker imports this

        return find(cls, native.reducer_of_kind)

    return native.Dispatch(
        _registered, copyreg.dispatch_table, added, instead, sys.modules, look, find
    )


# Not declared to be what it is: picklers are declared to take a whole mapping, and use this much of it.
dispatch: Any = Dispatch(instead)
"""The table of the encoder in Python, with all that there is."""
