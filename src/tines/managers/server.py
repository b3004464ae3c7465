"""The managers, and their servers.

A manager's server lives as long as anybody of the family that had the manager (:mod:`tines.process.family`):
the process that started it, what that has forked or started since then, and so on. ``Manager().Pool()`` is
our pool.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tines import _clock, process
from tines._std import standard
from tines.errors import StartError, describe_exit
from tines.managers.proxies import AutoProxy, ours
from tines.process import ManagedProcess, current_process

if TYPE_CHECKING:
    import multiprocessing.managers as _std

    from tines.process.family import Line
else:
    _std = standard("managers")

__all__ = ["BaseManager", "SharedMemoryManager", "SyncManager"]


class BaseManager(_std.BaseManager):
    """A server process that holds objects, and the connection to it; see ``multiprocessing.managers``."""

    def __init__(
        self,
        address: Any = None,
        authkey: bytes | None = None,
        serializer: str = "pickle",
        ctx: Any = None,
        **options: Any,
    ) -> None:
        # Without one, our ``Process`` by whatever start method the program has.
        ctx = ctx or process
        super().__init__(address, authkey, serializer, ctx, **options)

    def start(
        self, initializer: Callable[..., object] | None = None, initargs: Iterable[object] = ()
    ) -> None:
        """Start the server process; ``initializer`` is called there first.

        Raises:
            StartError: the server ended before it was ready.
        """
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if not _HAS_FAMILIES:
            self._start(initializer, initargs, dies_with_parent=True)
            return
        from tines.process import family

        line, end = family.found()
        try:
            self._start(_Service(line, initializer), initargs, dies_with_parent=False)
            self._process.family = end
        except BaseException:
            family.retire(end)
            raise
        finally:
            line.close()

    def _start(
        self,
        initializer: Callable[..., object] | None,
        initargs: Iterable[object],
        *,
        dies_with_parent: bool,
    ) -> None:
        before = self._ctx
        self._ctx = _ServerContext(before, dies_with_parent)
        try:
            super().start(initializer, initargs)
        except EOFError:
            raise self._start_error() from None
        finally:
            self._ctx = before

    def _start_error(self) -> StartError:
        process = self._process
        process.join()
        end = f"the manager's server (pid {process.pid}) {describe_exit(process.exitcode)}"
        return StartError(f"{end} before it was ready; what it printed says why")

    if TYPE_CHECKING:
        _ctx: object
        _process: Any
    else:

        @classmethod
        def register(cls, typeid, callable=None, proxytype=None, *args, **kwargs):
            """Have managers of this class make objects of a type; see ``multiprocessing.managers``."""
            super().register(typeid, callable, proxytype or AutoProxy, *args, **kwargs)

        @staticmethod
        def _finalize_manager(process, *args, **kwargs):
            try:
                _std.BaseManager._finalize_manager(process, *args, **kwargs)
            finally:
                if hasattr(process, "family"):
                    from tines.process import family

                    family.retire(process.family)


_HAS_FAMILIES = sys.platform != "win32"
"""Elsewhere nobody can be given a descriptor, and a server ends with the process that started it."""


class _ServerContext:
    """The context of a manager while it starts its server: it makes that a process of its own kind."""

    def __init__(self, ctx: Any, dies_with_parent: bool) -> None:
        self._ctx = ctx
        self._dies_with_parent = dies_with_parent

    def Process(self, **arguments: object) -> object:  # noqa: N802
        process = self._ctx.Process(**arguments)
        if isinstance(process, ManagedProcess):
            process.dies_with_parent = self._dies_with_parent
            process.inherits_family = False
        return process


class _Service:
    """What a server does before all else: it sees to its own end."""

    def __init__(self, line: Line, initializer: Callable[..., object] | None) -> None:
        self._line = line
        self._initializer = initializer

    def __call__(self, *initargs: object) -> None:
        from tines.process import family

        family.leave()
        self._line.watch(_end_server)
        if self._initializer is not None:
            self._initializer(*initargs)


def _end_server() -> None:
    """Shut this server down, as its manager would: with what it has to clean up."""
    until = _clock.monotonic() + _BEGINNING
    while (server := getattr(current_process(), "_manager_server", None)) is None:
        # It has not come as far as serving anybody, which it tells nobody.
        if _clock.monotonic() > until:
            os._exit(1)
        _clock.sleep(0.01)
    server.shutdown(_Nobody())


_BEGINNING = 5.0
"""Seconds that a server has to begin, when everybody for whom it would be is gone."""


class _Nobody:
    """Stands for the connection of who asks a server to shut down."""

    def send(self, reply: object) -> None:
        """Nobody reads it."""


class SyncManager(BaseManager, _std.SyncManager):
    """A manager for locks, queues, lists, dicts and pools."""


class SharedMemoryManager(BaseManager, _std.SharedMemoryManager):
    """A manager that frees the shared memory made through it."""


def _make_pool(*args: Any, **kwargs: Any) -> object:
    """Make a pool in the server process."""
    from tines.pool import Pool

    return Pool(*args, **kwargs)


def _register_types() -> None:
    """Have the types of the standard library's ``SyncManager``, with proxies and a pool of ours."""
    register: Callable[..., None] = SyncManager.register
    source: Any = _std
    theirs = source.SyncManager
    # ``register`` copies the inherited registry, so the standard library's managers keep theirs.
    for name, (make, exposed, types, proxy) in theirs._registry.items():
        make = _make_pool if name == "Pool" else make
        proxy = None if proxy is source.AutoProxy else ours(proxy)
        register(name, make, proxy, exposed, types, hasattr(theirs, name))


_register_types()
