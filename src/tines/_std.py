"""The standard library's modules that tines builds on, also while an alias stands in their place.

``python -m tines`` has ``multiprocessing.pool`` and its like mean ours (:mod:`tines.runner.alias`), and
a program may do the same by hand (``sys.modules["multiprocessing.pool"] = tines.pool``). Ours in turn
derive from the standard library's, so a module of tines that can have an alias asks here for what it
derives from instead of importing it.

The package is kept from the moment that tines is imported, and each module from its first use on. Who
puts up an alias later changes nothing here.
"""

from __future__ import annotations

import multiprocessing as _package
import multiprocessing.context as _context
import os
import sys
from _thread import get_ident
from contextlib import contextmanager
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import Protocol

    class Duplicate(Protocol):
        """What ``reduction.DupFd`` makes: a descriptor on its way to a child."""

        def detach(self) -> int:
            """Return its number, in the child."""


__all__ = ["ALIASED", "displace", "mirrored", "standard"]

ALIASED = ("context", "managers", "pool", "queues", "synchronize")
"""The submodules of ``multiprocessing`` for which the runner puts ours; the others stay."""

_PREFIX = "multiprocessing."

_modules: dict[str, ModuleType] = {"context": _context}
_displaced = False


def standard(name: str) -> ModuleType:
    """Return the standard library's ``multiprocessing.<name>``, whatever stands in its place."""
    module = _modules.get(name)
    if module is None:
        # Two threads may come here; the modules of both are to have the same classes.
        module = _modules.setdefault(name, _imported(name) or _load(name))
    return module


def mirrored(module: str) -> Callable[[str], object]:
    """Give a module of ours what is public in the standard library's one of that name.

    Args:
        module: Its name; its ``__all__`` says what is public.

    Returns:
        A ``__getattr__`` for it, by which the rest of the standard library's is found there.
    """
    source = standard(module.partition(".")[2])
    names = vars(sys.modules[module])
    for name in names["__all__"]:
        if hasattr(source, name):
            names[name] = getattr(source, name)

    def __getattr__(name: str) -> object:  # noqa: N807
        return getattr(source, name)

    return __getattr__


def displace() -> ModuleType:
    """Take the aliased modules, and their package, out of ``sys.modules``; return the package."""
    global _displaced
    _displaced = True
    del sys.modules["multiprocessing"]
    for name in ALIASED:
        module = sys.modules.pop(_PREFIX + name, None)
        if module is not None and _is_real(module):
            _modules.setdefault(name, module)
    return _package


def _imported(name: str) -> ModuleType | None:
    """Import a module in the usual way; ``None`` if its name leads to another one."""
    if _displaced and name in ALIASED:
        return None
    full_name = _PREFIX + name
    if full_name not in sys.modules:
        parent = sys.modules.get("multiprocessing")
        if parent is not None and parent is not _package and not _displaced:
            return None
        __import__(full_name)
    module = sys.modules[full_name]
    return module if _is_real(module) else None


def _is_real(module: ModuleType) -> bool:
    if not module.__name__.startswith(_PREFIX):
        return False
    path = getattr(module, "__file__", None)
    # One under the right name may be ours all the same: imported through a package that is ours.
    return path is None or any(path.startswith(f"{root}{os.sep}") for root in _package.__path__)


def _load(name: str) -> ModuleType:
    """Load a module beside the one that has its name, or to be the one, if there is none."""
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    full_name = _PREFIX + name
    parent = standard(name.rpartition(".")[0]) if "." in name else _package
    spec = PathFinder.find_spec(full_name, parent.__path__)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    if name not in ALIASED:
        sys.modules.setdefault(full_name, module)
    if name == "managers" and _PREFIX + "pool" not in sys.modules:
        with _pool_not_needed():
            spec.loader.exec_module(module)
    else:
        spec.loader.exec_module(module)
    return module


@contextmanager
def _pool_not_needed() -> Iterator[None]:
    """Let ``managers`` be loaded without the pool, which it names only to register the type.

    Under the alias that pool is ours, and more than everything else that a server needs: it would be
    loaded in each program that has a manager, and once more in the server. What is registered here
    makes a pool when it is asked for one. Other threads may import the pool meanwhile, and find it.
    """
    name, loading = _PREFIX + "pool", get_ident()
    stand_in = type(_package)(name)

    def find(attribute: str) -> object:
        if attribute == "Pool" and get_ident() == loading:
            return lambda *args, **kwargs: import_module("tines.pool").Pool(*args, **kwargs)
        return getattr(import_module("tines.pool"), attribute)

    stand_in.__getattr__ = find  # type: ignore[method-assign]
    if sys.modules.setdefault(name, stand_in) is not stand_in:
        yield
        return
    try:
        yield
    finally:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
