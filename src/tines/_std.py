"""The standard library's modules that tines builds on, also while an alias stands in their place.

``python -m tines`` has ``multiprocessing.pool`` and its like mean ours (:mod:`tines.runner.alias`).
Ours in turn derive from the standard library's, so a module of tines that has an alias asks here
for what it derives from instead of importing it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

__all__ = ["ALIASED", "displace", "standard"]

ALIASED = ("context", "managers", "pool", "queues", "synchronize")
"""The submodules of ``multiprocessing`` for which the runner puts ours; the others stay."""

_package: ModuleType | None = None
_modules: dict[str, ModuleType] = {}


def standard(name: str) -> ModuleType:
    """Return the standard library's ``multiprocessing.<name>``.

    Args:
        name: One of :data:`ALIASED`.
    """
    if _package is None:
        return import_module(f"multiprocessing.{name}")
    if name not in _modules:
        _modules[name] = _load(_package, name)
    return _modules[name]


def displace(package: ModuleType) -> None:
    """Take the aliased modules, and their package, out of ``sys.modules`` and keep them here."""
    global _package
    _package = package
    del sys.modules["multiprocessing"]
    for name in ALIASED:
        module = sys.modules.pop(f"multiprocessing.{name}", None)
        if module is not None:
            _modules[name] = _mended(module)


def _load(package: ModuleType, name: str) -> ModuleType:
    """Load a module beside ``sys.modules``, where its name means ours."""
    spec = PathFinder.find_spec(f"multiprocessing.{name}", package.__path__)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return _mended(module)


def _mended(module: ModuleType) -> ModuleType:
    """Have the standard library's ``ThreadPool`` use its own queues, whose private parts it needs.

    A context looks for queues in ``multiprocessing.queues``, which is ours by now.
    """
    if module.__name__ == "multiprocessing.pool":
        module.get_context = _context_with_own_queues  # type: ignore[attr-defined]
    return module


def _context_with_own_queues() -> Any:
    assert _package is not None
    kind: Any = type(_package.get_context())

    class Context(kind):  # type: ignore[misc]
        def SimpleQueue(self) -> Any:  # noqa: N802
            return standard("queues").SimpleQueue(ctx=self)

    return Context()
