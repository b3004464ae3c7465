"""Have ``multiprocessing`` mean tines, in this process and in all its children.

What is replaced, and nothing else:

* the package ``multiprocessing``, by a module of that name whose public names are those of tines;
* its submodules of which tines has its own: ``context``, ``managers``, ``pool``, ``queues``,
  ``synchronize``;
* ``concurrent.futures.ProcessPoolExecutor``.

Libraries that derive from the private parts of what is replaced (:data:`_DERIVING`) keep the standard
library's.

All other submodules (``connection``, ``process``, ``util`` ...) are the standard library's, which tines
shares; so there is one list of children and one logger.

Invariants:

* Nothing is imported before the program asks for it: a finder stands first on ``sys.meta_path`` and
  puts the modules in place. A program that looks whether ``multiprocessing`` was imported sees what
  it would see without the alias.
* The modules keep their own ``__spec__`` and ``__name__``. The finder never hands an existing
  module to the import machinery, which would overwrite them, but lets the loader of an empty one
  put the existing one into ``sys.modules``, as modules may do.
* Pickles carry the real names (``tines.queues.Queue``), which any child can import. What is the
  standard library's keeps its own (``multiprocessing.managers.ListProxy``), and as soon as our module is
  there it stands in ``sys.modules`` under that name too: cloudpickle looks there and imports nothing.
* A forked child has it all from its parent. A new interpreter (spawn, the fork server) is told by
  its command line, which holds under ``-E``, ``-I`` and ``-S`` too.
"""

from __future__ import annotations

import sys
from functools import partial, wraps
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

import tines
from tines import _std
from tines.process.start import interpreter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.abc import Loader, MetaPathFinder
else:
    # Those would bring half the modules of packaging with them, into each new interpreter.
    Loader = MetaPathFinder = object

__all__ = ["PROLOGUE", "install", "installed"]

PROLOGUE = "import tines.runner.alias; tines.runner.alias.install(); "
"""What a new interpreter of the program runs first."""

_PACKAGE = "multiprocessing"
_FUTURES = "concurrent.futures.process"
_SPAWN = "multiprocessing.spawn"

_DERIVING = ("loky.backend.queues",)
"""Modules that derive from the standard library's queues and build on their private parts."""


def installed() -> bool:
    """Return whether the alias stands in this process."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def install() -> None:
    """Put up the alias; once is enough, and more often does no harm.

    To be called before the program runs: what it has imported already keeps its meaning.
    """
    if installed():
        return
    spawn = sys.modules.get(_SPAWN)
    if spawn is not None:
        _carry_by_the_standard_way(spawn)
    package = _std.displace()
    # The submodules that are there are so without their parent: who imports one by a statement asks
    # for the parent as well, which puts the facade there.
    sys.meta_path.insert(0, _Finder(_facade(package)))
    for name in _std.ALIASED:
        ours = sys.modules.get(f"tines.{name}")
        if ours is not None:
            sys.modules[f"{_PACKAGE}.{name}"] = ours
    interpreter.prologue = PROLOGUE
    futures = sys.modules.get(_FUTURES)
    if futures is not None:
        vars(sys.modules["concurrent.futures"]).pop("ProcessPoolExecutor", None)
        _offer_executor(futures)


class _Finder(MetaPathFinder):
    """Finds the aliased modules, when they are first asked for."""

    def __init__(self, facade: ModuleType) -> None:
        aliased = {f"{_PACKAGE}.{name}": f"tines.{name}" for name in _std.ALIASED}
        self._loaders: dict[str, Loader] = {
            _PACKAGE: _Existing(lambda: facade),
            **{name: _Existing(_Importing(ours)) for name, ours in aliased.items()},
        }
        self._names = {ours: name for name, ours in aliased.items()}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for what is aliased, and ``None``, which is not here, for the rest."""
        loader = self._loaders.get(fullname)
        if loader is not None:
            return ModuleSpec(fullname, loader, is_package=fullname == _PACKAGE)
        kind: Callable[[Loader], Loader]
        if fullname in self._names:
            kind = partial(_Ours, self._names[fullname])
        elif fullname == _FUTURES:
            kind = _Futures
        elif fullname == _SPAWN:
            kind = _Spawn
        elif fullname.endswith(_DERIVING):
            kind = _Deriving
        else:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = kind(spec.loader)
        return spec


class _Importing:
    """Imports one module of tines when called."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self) -> ModuleType:
        return import_module(self._name)


class _Existing(Loader):
    """Puts a module that exists, under its own name, into the place of the one asked for."""

    def __init__(self, get: Callable[[], ModuleType]) -> None:
        self._get = get

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the import machinery."""

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = self._get()


class _Loading(Loader):
    """Loads a module as its own loader does, which the module has in the end."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)


class _Ours(_Loading):
    """Loads a module of tines, then has it stand under the name of the one that it replaces."""

    def __init__(self, name: str, loader: Loader) -> None:
        super().__init__(loader)
        self._name = name

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        sys.modules[self._name] = module


class _Futures(_Loading):
    """Loads ``concurrent.futures.process``, then has its executor be ours."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _offer_executor(module)


class _Spawn(_Loading):
    """Loads ``multiprocessing.spawn``, then has it make command lines that put up the alias."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _carry_by_the_standard_way(module)


class _Deriving(_Loading):
    """Loads a module that derives from the standard library's queues, with those in place."""

    def exec_module(self, module: ModuleType) -> None:
        name = f"{_PACKAGE}.queues"
        ours = import_module(name)
        sys.modules[name] = _std.standard("queues")
        try:
            super().exec_module(module)
        finally:
            sys.modules[name] = ours


def _offer_executor(futures: ModuleType) -> None:
    """Have the name looked up in ours at first use: our executor itself imports this module."""
    del futures.ProcessPoolExecutor

    def find(name: str) -> object:
        if name != "ProcessPoolExecutor":
            raise AttributeError(f"module {_FUTURES!r} has no attribute {name!r}")
        from tines.executor import ProcessPoolExecutor

        futures.ProcessPoolExecutor = ProcessPoolExecutor  # type: ignore[attr-defined]
        return ProcessPoolExecutor

    futures.__getattr__ = find  # type: ignore[method-assign]


def _facade(package: ModuleType) -> ModuleType:
    """Make the module that programs will see as ``multiprocessing``."""
    facade = ModuleType(_PACKAGE, package.__doc__)
    for name, value in vars(package).items():
        of_import = name in ("__all__", "__file__", "__loader__", "__package__", "__path__")
        stays = isinstance(value, ModuleType) and name not in _std.ALIASED
        if of_import or stays or name == "__spec__":
            setattr(facade, name, value)
    facade.context = tines.context  # type: ignore[attr-defined]
    public: frozenset[str] = frozenset(package.__all__)

    def find(name: str) -> object:
        if name in _std.ALIASED and f"{_PACKAGE}.{name}" in sys.modules:
            # Using a part of the package makes its submodule an attribute there, without import.
            return sys.modules[f"{_PACKAGE}.{name}"]
        value = getattr(tines if name in public else package, name)
        if isinstance(value, ModuleType):
            raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}")
        setattr(facade, name, value)
        return value

    facade.__getattr__ = find  # type: ignore[method-assign]
    facade.__dir__ = lambda: sorted({*vars(facade), *public})  # type: ignore[method-assign]
    return facade


def _carry_by_the_standard_way(spawn: ModuleType) -> None:
    """Have interpreters that the standard library starts itself (Windows) put up the alias too."""
    original: Callable[..., list[str]] = spawn.get_command_line

    @wraps(original)
    def get_command_line(**arguments: object) -> list[str]:
        command = original(**arguments)
        if "-c" in command:  # a frozen program has no such thing
            command[command.index("-c") + 1] = PROLOGUE + command[command.index("-c") + 1]
        return command

    vars(spawn)["get_command_line"] = get_command_line
