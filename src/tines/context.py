"""Contexts: a start method, and everything that is bound to it.

A context has the names of the package as methods. ``Process``, ``Pool``, the queues and the locks are
ours; the rest (values, managers, pipes) is the standard library's own, made with our context.

There is one default start method in a program. ``tines.set_start_method()`` sets the standard
library's, and ``tines.get_start_method()`` asks it: locks, values and managers made by either
package then suit the processes started by either, and a child learns its method once.
"""

from __future__ import annotations

import multiprocessing.context as _std
import sys
from multiprocessing import (
    get_all_start_methods as _get_all_start_methods,
)
from multiprocessing import (
    get_start_method as _get_start_method,
)
from multiprocessing import (
    set_start_method as _set_start_method,
)
from multiprocessing.context import (
    AuthenticationError,
    BufferTooShort,
    ProcessError,
    TimeoutError,
    assert_spawning,
    get_spawning_popen,
    set_spawning_popen,
)

from tines import engines
from tines._threads import check_interpreter
from tines.process.concrete import Process, SpawnProcess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, ClassVar, Literal, TypeAlias, overload

    from tines.engines.contract import Engine
    from tines.engines.worker_process import ProcessObject
    from tines.pool import Pool
    from tines.process.base import ManagedProcess
    from tines.queues import JoinableQueue, Queue, SimpleQueue
    from tines.synchronize import (
        Barrier,
        BoundedSemaphore,
        Condition,
        Event,
        Lock,
        RLock,
        Semaphore,
    )

    AnyLock: TypeAlias = Lock | RLock

__all__ = [
    "AuthenticationError",
    "BaseContext",
    "BufferTooShort",
    "DefaultContext",
    "Process",
    "ProcessError",
    "SpawnContext",
    "SpawnProcess",
    "TimeoutError",
    "assert_spawning",
    "default",
    "get_spawning_popen",
    "set_spawning_popen",
]


class BaseContext(_std.BaseContext):
    """What all contexts share."""

    if TYPE_CHECKING:
        Process: ClassVar[type[ManagedProcess]]

    def Queue(self, maxsize: int = 0, *, max_bytes: int = 0) -> Queue[Any]:  # type: ignore[override]  # noqa: N802
        """Return a queue for many producers and consumers.

        Args:
            maxsize: How many items it holds before ``put`` waits; 0 for any number.
            max_bytes: The same in bytes of payload.
        """
        from tines.queues import Queue

        return Queue(maxsize, max_bytes=max_bytes, ctx=self.get_context())

    def JoinableQueue(  # type: ignore[override]  # noqa: N802
        self, maxsize: int = 0, *, max_bytes: int = 0
    ) -> JoinableQueue[Any]:
        """Return a queue with ``task_done()`` and ``join()``."""
        from tines.queues import JoinableQueue

        return JoinableQueue(maxsize, max_bytes=max_bytes, ctx=self.get_context())

    def RawValue(self, typecode_or_type: str | type, *args: object) -> Any:  # noqa: N802
        """Return a ctypes object in memory that processes share."""
        from tines.sharedctypes import RawValue

        return RawValue(typecode_or_type, *args)

    def RawArray(self, typecode_or_type: str | type, size_or_initializer: Any) -> Any:  # noqa: N802
        """Return a ctypes array in memory that processes share."""
        from tines.sharedctypes import RawArray

        return RawArray(typecode_or_type, size_or_initializer)

    def Value(self, typecode_or_type: str | type, *args: object, lock: object = True) -> Any:  # noqa: N802
        """Return a :meth:`RawValue` with a lock around it."""
        from tines.sharedctypes import Value

        return Value(typecode_or_type, *args, lock=lock, ctx=self.get_context())

    def Array(  # noqa: N802
        self, typecode_or_type: str | type, size_or_initializer: object, *, lock: object = True
    ) -> Any:
        """Return a :meth:`RawArray` with a lock around it."""
        from tines.sharedctypes import Array

        return Array(typecode_or_type, size_or_initializer, lock=lock, ctx=self.get_context())

    def SimpleQueue(self) -> SimpleQueue[Any]:  # type: ignore[override]  # noqa: N802
        """Return a queue with ``put()``, ``get()`` and ``empty()`` only."""
        from tines.queues import SimpleQueue

        return SimpleQueue(ctx=self.get_context())

    def Pool(  # type: ignore[override]  # noqa: N802
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[object] = (),
        maxtasksperchild: int | None = None,
        **options: Any,
    ) -> Pool:
        """Return a pool of worker processes; ``options`` are those of :class:`tines.pool.Pool`."""
        from tines import transport
        from tines.pool.worker import needed_by_workers
        from tines.process.start import early

        if options.get("engine") is None:
            needed = needed_by_workers(options.get("transport") or transport.chosen())
            early.begin(self.get_context().get_start_method(), needed)
        from tines.pool import Pool

        return Pool(
            processes,
            initializer,
            initargs,
            maxtasksperchild,
            context=self.get_context(),
            **options,
        )

    def Lock(self) -> Lock:  # noqa: N802
        """Return a lock; if its holder dies, the next one gets it."""
        from tines.synchronize import Lock

        return Lock(ctx=self.get_context())

    def RLock(self) -> RLock:  # noqa: N802
        """Return a lock that its holder may acquire again."""
        from tines.synchronize import RLock

        return RLock(ctx=self.get_context())

    def Condition(  # type: ignore[override]  # noqa: N802
        self, lock: AnyLock | None = None
    ) -> Condition:
        """Return a condition variable."""
        from tines.synchronize import Condition

        return Condition(lock, ctx=self.get_context())

    def Semaphore(self, value: int = 1, *, owned: bool = False) -> Semaphore:  # noqa: N802
        """Return a semaphore; for ``owned`` see :class:`tines.synchronize.native.Semaphore`."""
        from tines.synchronize import Semaphore

        return Semaphore(value, owned=owned, ctx=self.get_context())

    def BoundedSemaphore(  # noqa: N802
        self, value: int = 1, *, owned: bool = False
    ) -> BoundedSemaphore:
        """Return a semaphore that is not released beyond its first value."""
        from tines.synchronize import BoundedSemaphore

        return BoundedSemaphore(value, owned=owned, ctx=self.get_context())

    def Event(self) -> Event:  # noqa: N802
        """Return a flag to wait for."""
        from tines.synchronize import Event

        return Event(ctx=self.get_context())

    def Barrier(  # noqa: N802
        self,
        parties: int,
        action: Callable[..., object] | None = None,
        timeout: float | None = None,
    ) -> Barrier:
        """Return a barrier for ``parties`` processes or threads."""
        from tines.synchronize import Barrier

        return Barrier(parties, action, timeout, ctx=self.get_context())

    def Manager(self) -> Any:  # noqa: N802
        """Return a manager with a running server process."""
        check_interpreter()
        from tines.managers import SyncManager

        manager = SyncManager(ctx=self.get_context())
        manager.start()
        return manager

    def cpu_count(self) -> int:
        """Return how many cores this process may use at once: affinity and cgroups count."""
        from tines._config import available_cpus

        return available_cpus()

    def freeze_support(self) -> None:
        """Run as a child, if this process of a frozen program was started as one; see :mod:`tines.spawn`."""
        if getattr(sys, "frozen", False):
            from tines.spawn import freeze_support

            freeze_support()

    def set_forkserver_preload(self, module_names: list[str], *, on_error: str = "warn") -> None:
        """Say what a fork server that is started from now on imports before it forks.

        Args:
            module_names: Names of modules; ``"__main__"`` is the main one, and the default.
            on_error: What a module that fails to import leads to: ``"warn"`` prints the traceback,
                ``"ignore"`` does nothing, ``"fail"`` lets every start fail.
        """
        from tines.process.start import forkserver_client

        forkserver_client.set_preload(module_names, on_error)

    def get_context(  # type: ignore[override]
        self, method: str | None = None, *, engine: object = None
    ) -> BaseContext:
        """Return the context of a start method; without one, this context.

        Args:
            method: The start method.
            engine: Where processes are, as for :class:`tines.pool.Pool`: with ``"simulated:2"``, ``"dask"``
                and the like they are on several nodes.

        What a library has registered with ``multiprocessing`` under another name (``loky``) is found too,
        and is as the library made it.
        """
        if engine is not None and engine != "local":
            import importlib

            # It is made of this module, and imported when it is asked for, as engines are.
            made: BaseContext = importlib.import_module("tines.node_context").NodeContext(
                engine, self.get_context(method)
            )
            return made
        if method is None:
            return self
        context = _contexts.get(method) or _registered().get(method)
        if context is None:
            known = {**_contexts, **_registered()}
            raise ValueError(
                f"cannot find context for {method!r}: use one of {', '.join(map(repr, known))}"
            )
        context._check_available()
        return context


class DefaultContext(BaseContext, _std.DefaultContext):
    """The context of the program's default start method."""

    Process = Process  # type: ignore[assignment]

    def __init__(self) -> None:
        """Make it; its only state is the standard library's."""

    def get_context(  # type: ignore[override]
        self, method: str | None = None, *, engine: object = None
    ) -> BaseContext:
        """Return the context of a start method; without one, of the default, now fixed."""
        return super().get_context(_get_start_method() if method is None else method, engine=engine)

    def set_start_method(self, method: str | None, force: bool = False) -> None:
        """Set the default start method, of the standard library as well; once, unless ``force``.

        A child that imports its main module may set there what is set already.
        """
        now = _get_start_method(True)
        if method is not None and (force or now is None or now == method):
            # Where another one is set, that is what the standard library complains of first.
            self.get_context(method)
            if not force and now == method:
                from tines.process.lifecycle.launch import importing_main

                if importing_main():
                    return
        _set_start_method(method, force)

    if TYPE_CHECKING:

        @overload  # type: ignore[override]
        def get_start_method(self, allow_none: Literal[False] = False) -> str: ...
        @overload
        def get_start_method(self, allow_none: bool) -> str | None: ...
        def get_start_method(self, allow_none: bool = False) -> str | None:
            """Return the default start method, and fix it unless ``allow_none``."""
    else:

        def get_start_method(self, allow_none=False):
            """Return the default start method, and fix it unless ``allow_none``."""
            return _get_start_method(allow_none)

    def get_all_start_methods(self) -> list[str]:
        """Return the start methods of this system, the default first.

        From Python 3.14 on with those that a library has registered, as in the standard library.
        """
        methods = _get_all_start_methods()
        if sys.version_info >= (3, 14):
            methods += [name for name in _contexts if name not in methods]
        return methods


class SpawnContext(BaseContext, _std.SpawnContext):
    """Starts a fresh interpreter."""

    _name = "spawn"
    Process = SpawnProcess  # type: ignore[assignment]


_contexts: dict[str, BaseContext] = {"spawn": SpawnContext()}

if sys.platform != "win32":
    from tines.process.concrete import ForkProcess, ForkServerProcess

    class ForkContext(BaseContext, _std.ForkContext):
        """Forks this process."""

        _name = "fork"
        Process = ForkProcess  # type: ignore[assignment]

    class ForkServerContext(BaseContext, _std.ForkServerContext):
        """Forks a warm, single-threaded server."""

        _name = "forkserver"
        Process = ForkServerProcess  # type: ignore[assignment]

    _contexts["fork"] = ForkContext()
    _contexts["forkserver"] = ForkServerContext()
    __all__ += ["ForkContext", "ForkProcess", "ForkServerContext", "ForkServerProcess"]


def _local_engine(
    context: Any, make: Callable[..., ProcessObject] | None = None, name: str | None = None
) -> Engine:
    """Return what starts workers on this machine."""
    from tines.engines.local import LocalEngine

    context = default.get_context() if context is None else context
    return LocalEngine(context, context.get_start_method(), make, name)


def _named_engine(given: Any, context: Any, carrier: Any) -> Engine:
    """Return the engine that a pool was given by its name, or by an object of its library."""
    if given == "local":
        return _local_engine(context)
    from tines import transport
    from tines.engines.names import maker

    make = maker(given)
    context = default.get_context() if context is None else context
    return make(given, context.get_start_method(), carrier or transport.chosen(), context)


engines.set_default(_local_engine)
engines.set_named(_named_engine)


def _registered() -> dict[str, BaseContext]:
    """Return the standard library's contexts: its own, and what libraries have added."""
    contexts: dict[str, BaseContext] = vars(_std)["_concrete_contexts"]
    return contexts


default = DefaultContext()
"""The default context: the functions of the package are its methods."""


def __getattr__(name: str) -> Any:
    if name == "_default_context":
        return default
    if name == "_concrete_contexts":
        return _contexts
    return getattr(_std, name)
