"""``Pool``: the standard library's, with options that it does not have, and without its hangs.

This is the outside: what can be asked of a pool, and when. Maps and iterators are begun in
``calls.py``; the inside begins in ``runtime/core.py``.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from tines import _watchers, engines
from tines._arguments import check_context, check_initializer, whole_number
from tines.engines import names
from tines.pool.calls import Calls
from tines.pool.insides import PoolInsides, process_maker
from tines.pool.jobs.failures import tell_dropped
from tines.pool.jobs.imap import IMapIterator, IMapUnorderedIterator
from tines.pool.jobs.map import MapResult
from tines.pool.jobs.result import ApplyResult, AsyncResult, Callbacks
from tines.pool.options import (
    DEFAULT,
    PoolKeywords,
    TaskKeywords,
    pool_options,
)
from tines.pool.progress import Displays
from tines.pool.runtime.core import Core
from tines.pool.runtime.statistics import PoolStatistics
from tines.pool.scheduler.state import PoolState
from tines.pool.worker import needed_by_workers
from tines.pool.worker.setup import make_setup
from tines.wire import messages

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from tines.engines.contract import Engine, NodeInfo
    from tines.progress.options import ProgressArgument
    from tines.transport.contract import Transport

__all__ = ["Pool"]

S = TypeVar("S")
T = TypeVar("T")


class Pool(PoolInsides):
    """A pool of worker processes.

    All parameters before the ``*``, and all methods of the standard library's ``Pool``, mean what
    they mean there. A worker that dies costs the task it was running, which fails with
    ``WorkerLostError``, and is replaced.

    Args:
        processes: How many workers; by default one for each usable core.
        initializer: Called in each worker when it starts, with ``initargs``.
        initargs: Its arguments.
        maxtasksperchild: After how many tasks a worker is replaced.
        context: A context, for its start method; by default the program's.
        transport: What carries tasks and results; by default the one that the engine names.
        engine: Starts workers and watches over them. The name of one: ``"dask"`` for the workers of a Dask
            cluster, ``"tcp://host:8786"`` for those of this scheduler, ``"ray"`` for the nodes of a Ray
            cluster, ``"simulated:2"`` for two nodes that are pretended on this machine. A ``Client`` or
            cluster of Dask's, or an
            :class:`~tines.engines.contract.Engine`. If not given, the one that ``TINES_ENGINE`` names;
            without that, processes on this machine.
        progress: Whether and how maps show how far they are, unless they say otherwise: ``True``,
            :class:`~tines.progress.options.ProgressOptions`, or a rich or tqdm object.
        options: What else the pool can do: ``max_memory``, ``max_memory_hard``, ``inner_threads``,
            ``cuda_devices``, ``niceness``, ``affinity``, ``max_restarts``, ``buffersize``,
            ``buffer_bytes``; see
            :class:`~tines.pool.options.PoolOptions`. And for all calls that do not say otherwise:
            ``retries``, ``retry_on``, ``backoff``, ``timeout``, ``grace``; see
            :class:`~tines.pool.options.TaskOptions`.

    Raises:
        ValueError: an argument is out of range.
        TypeError: the initializer is not callable, the engine is none, or there is no such option.
        ImportError: the library of the engine is not installed.
        NotImplementedError: memory is to be limited, and cannot be measured here.
    """

    _worker_name: str | None = None
    _exit_ends_worker = True

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[object] = (),
        maxtasksperchild: int | None = None,
        context: object = None,
        *,
        transport: Transport | None = None,
        engine: Engine | Any = None,  # a name, or an object of another library
        progress: ProgressArgument = None,
        **options: Unpack[PoolKeywords],
    ) -> None:
        check_initializer(initializer, initargs)
        if transport is not None and not hasattr(transport, "channel"):
            raise TypeError(
                f"transport={transport!r} is not a transport: pass one that tines.transport.named() returns"
            )
        check_context("context", context)
        chosen = pool_options(processes, maxtasksperchild, dict(options))
        self._displays = displays = Displays(progress)
        given = names.default_name() if engine is None else engine
        if given is None:
            engine = engines.default(context, process_maker(self), self._worker_name)
        elif not hasattr(given, "expect"):
            engine = engines.named(given, context, transport)
            transport = None  # that is the engine's business now
        self._engine = engine
        carrier = engine.transport() if transport is None else transport
        engine.expect(needed_by_workers(carrier))
        initargs = tuple(initargs)
        setup = make_setup(
            initializer, initargs, chosen, carrier, engine, exit_ends=self._exit_ends_worker
        )
        self._ctx = getattr(engine, "context", context)
        self._initializer, self._initargs = initializer, initargs
        self._options = chosen
        self._task_options = chosen.task
        self._core = Core(chosen, setup, carrier, engine)
        self._links, self._view = self._core.links, self._core.view
        self._calls = Calls(self._links, chosen, displays)
        self._submit = self._core.dispatcher.submit
        self._core.start()
        self._abandon = weakref.finalize(self, self._core.supervisor.terminate)
        self._abandon.atexit = False
        try:
            _watchers.tell_made(self)
        except BaseException:  # TINES_INSIGHT is not understood: nobody will have this pool
            self.terminate()
            raise

    # Calls.

    def apply(
        self,
        func: Callable[..., T],
        args: Iterable[object] = (),
        kwds: Mapping[str, object] = {},
        **options: Unpack[TaskKeywords],
    ) -> T:
        """Call ``func(*args, **kwds)`` in a worker and return what it returns."""
        result: ApplyResult[T] = ApplyResult(self._links, self)
        if options or self._task_options is not DEFAULT:
            result.configure(self._task_options.changed(dict(options)), None)
        try:
            self._submit(result, func, args, kwds)
            return result.get()
        except BaseException:
            result.withdraw()  # if it is not over, this was interrupted
            raise

    def apply_async(
        self,
        func: Callable[..., T],
        args: Iterable[object] = (),
        kwds: Mapping[str, object] = {},
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        **options: Unpack[TaskKeywords],
    ) -> AsyncResult[T]:
        """Start ``func(*args, **kwds)`` in a worker and return at once, with an object for its result."""
        result: ApplyResult[T] = ApplyResult(self._links, self)
        if (
            callback is not None
            or error_callback is not None
            or options
            or self._task_options is not DEFAULT
        ):
            callbacks = _callbacks(callback, error_callback)
            result.configure(self._task_options.changed(dict(options)), callbacks)
        self._submit(result, func, args, kwds)
        self._links.collector.expect(result.express)
        return result

    # Maps.

    def map(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int | None = None,
        *,
        progress: ProgressArgument = None,
        **options: Unpack[TaskKeywords],
    ) -> list[T]:
        """Return ``[func(item) for item in iterable]``, computed by the workers."""
        result = self._calls.map(
            self, func, iterable, messages.CHUNK, chunksize, None, progress, options
        )
        return result.get_or_withdraw()

    def map_async(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        progress: ProgressArgument = None,
        **options: Unpack[TaskKeywords],
    ) -> MapResult[T]:
        """Start what :meth:`map` does and return at once, with an object for the result."""
        callbacks = _callbacks(callback, error_callback)
        return self._calls.map(
            self, func, iterable, messages.CHUNK, chunksize, callbacks, progress, options
        )

    def starmap(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[object]],
        chunksize: int | None = None,
        *,
        progress: ProgressArgument = None,
        **options: Unpack[TaskKeywords],
    ) -> list[T]:
        """Return ``[func(*item) for item in iterable]``, computed by the workers."""
        result = self._calls.map(
            self, func, iterable, messages.STAR, chunksize, None, progress, options
        )
        return result.get_or_withdraw()

    def starmap_async(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[object]],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        progress: ProgressArgument = None,
        **options: Unpack[TaskKeywords],
    ) -> MapResult[T]:
        """Start what :meth:`starmap` does and return at once, with an object for the result."""
        callbacks = _callbacks(callback, error_callback)
        return self._calls.map(
            self, func, iterable, messages.STAR, chunksize, callbacks, progress, options
        )

    def imap(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int = 1,
        *,
        buffersize: int | None = None,
        progress: ProgressArgument = None,
        **options: Unpack[TaskKeywords],
    ) -> IMapIterator[T]:
        """Iterate over the results in order, reading the input at most ``buffersize`` items ahead."""
        return self._calls.imap(
            self, IMapIterator, func, iterable, chunksize, buffersize, progress, options
        )

    def imap_unordered(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int = 1,
        *,
        buffersize: int | None = None,
        progress: ProgressArgument = None,
        **options: Unpack[TaskKeywords],
    ) -> IMapIterator[T]:
        """Iterate over the results as they come; otherwise as :meth:`imap`."""
        return self._calls.imap(
            self, IMapUnorderedIterator, func, iterable, chunksize, buffersize, progress, options
        )

    def istarmap(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[object]],
        chunksize: int = 1,
        *,
        buffersize: int | None = None,
        progress: ProgressArgument = None,
        **options: Unpack[TaskKeywords],
    ) -> IMapIterator[T]:
        """Iterate over ``func(*item)`` for each item in order; otherwise as :meth:`imap`."""
        arguments = (func, iterable, chunksize, buffersize, progress, options)
        return self._calls.imap(self, IMapIterator, *arguments, star=True)

    def istarmap_unordered(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[object]],
        chunksize: int = 1,
        *,
        buffersize: int | None = None,
        progress: ProgressArgument = None,
        **options: Unpack[TaskKeywords],
    ) -> IMapIterator[T]:
        """Iterate over the results as they come; otherwise as :meth:`istarmap`."""
        arguments = (func, iterable, chunksize, buffersize, progress, options)
        return self._calls.imap(self, IMapUnorderedIterator, *arguments, star=True)

    # The pool itself.

    def resize(self, processes: int) -> None:
        """Change the number of workers; those that are too many leave as soon as they are free.

        Raises:
            ValueError: the pool is not running, or the number is out of range.
        """
        processes = whole_number("processes", processes, least=1)
        core = self._core
        if processes > core.slots:
            raise ValueError(
                f"processes={processes} is too many: this pool has room for {core.slots}"
            )
        if not core.state.is_open:
            core.machine.refuse()
        core.machine.event(PoolState.resize, processes)

    def statistics(self) -> PoolStatistics:
        """Return what the pool and each of its workers are doing at this moment."""
        if self._core.state.is_copy:
            self._core.machine.refuse()
        return self._core.statistics.take()

    def nodes(self) -> tuple[NodeInfo, ...]:
        """Return the nodes that the pool's workers are on, and those that it has lost."""
        return self._engine.nodes(list(self._view.workers.values()))

    def close(self) -> None:
        """Accept no more tasks. The workers leave when what was accepted is done."""
        self._core.machine.event(PoolState.close)

    def terminate(self) -> None:
        """Stop the workers at once; what is not done fails. Legal in callbacks too."""
        self._core.terminate()
        self._core.join()
        _watchers.tell_ending(self)
        self._displays.close()
        self._core.log_unfetched()

    def join(self) -> None:
        """Wait for the workers to leave.

        Raises:
            ValueError: neither :meth:`close` nor :meth:`terminate` was called.
        """
        if self._core.state.is_copy:
            self._core.machine.refuse()
        if self._core.state.is_open:
            raise ValueError("Pool is still running")
        self._core.join()
        _watchers.tell_ending(self)
        self._displays.close()

    def __enter__(self) -> Self:
        if not self._core.state.is_open:
            self._core.machine.refuse()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        state = self._core.state
        if kind is None and state.is_open:
            self._core.collector.look()
            tell_dropped(state.open_tasks())
        self.terminate()

    def __del__(self, _warn: Callable[..., object] = warnings.warn) -> None:
        # Bound early: at the end of the interpreter the names of modules go before the last objects.
        core = getattr(self, "_core", None)
        if core is not None and core.state.is_open:
            _warn(
                f"unclosed running multiprocessing pool {self!r}",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    def __repr__(self) -> str:
        state = self._core.state
        return (
            f"<{type(self).__module__}.{type(self).__qualname__} state={state.standing} "
            f"pool_size={state.target}>"
        )

    def _repr_html_(self) -> str | None:
        """What notebooks show; ``None`` where there is only the text."""
        if self._core.state.is_copy:
            return None
        title = f"{type(self).__qualname__}, {self._core.state.standing}"
        return self._core.statistics.take().as_html(title)

    def __reduce__(self) -> NoReturn:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")


def _callbacks(
    value: Callable[[object], object] | None, error: Callable[[BaseException], object] | None
) -> Callbacks | None:
    return None if value is None and error is None else Callbacks(value, error)
