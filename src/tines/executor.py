"""``ProcessPoolExecutor``: the interface of ``concurrent.futures`` on a pool that outlives its workers.

A dead worker fails the one future it was running, with an error that is both ``WorkerLostError`` and
``BrokenProcessPool``, so that what catches the standard library's still does; the executor lives on.

Data flow: ``submit`` hands the call to :class:`tines.pool.Pool` and keeps the pool's result inside the
future; the pool's collector settles the future once that result is there. ``asyncio``'s
``run_in_executor`` takes this executor like any other.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import pickle
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from tines import _clock, _config, context, engines
from tines._arguments import (
    check_context,
    check_function,
    check_initializer,
    check_iterable,
    whole_number,
)
from tines.engines import names
from tines.errors import (
    DecodeError,
    EncodeError,
    PoolBrokenError,
    TaskCancelledError,
    WorkerLostError,
)
from tines.executor_chunks import results_of, run_chunk, run_guarded
from tines.pool import MaybeEncodingError, Pool
from tines.pool.options import pool_options

if TYPE_CHECKING:
    from types import TracebackType

    from tines.pool import AsyncResult

POSITIONAL = ("max_workers", "mp_context", "initializer", "initargs", "max_tasks_per_child")

__all__ = ["BrokenExecutorPool", "FutureEncodeError", "FutureLostError", "ProcessPoolExecutor"]

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


class FutureLostError(WorkerLostError, BrokenProcessPool):
    """The worker that ran this future's call is gone; the executor is not."""


class FutureEncodeError(MaybeEncodingError, pickle.PicklingError, TypeError):
    """What this future's call returned cannot be sent back."""


class BrokenExecutorPool(PoolBrokenError, BrokenProcessPool):
    """The pool gave up: workers cannot start, or die faster than they finish anything."""


class _Interrupts:
    """Whether somebody who waited for a call of an executor was interrupted, as by Ctrl-C."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen = False


class _TaskFuture(Future[T]):
    """A future that asks the pool whether its call is running, and can withdraw a queued one."""

    _task: AsyncResult[Any] | None = None
    _interrupts: _Interrupts | None = None

    def result(self, timeout: float | None = None) -> T:
        """Return what the call returned, or raise what it raised; see the standard library's."""
        return self._ask(super().result, timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the call raised, if it did; see the standard library's."""
        return self._ask(super().exception, timeout)

    def _ask(self, ask: Callable[[float | None], R], timeout: float | None) -> R:
        deadline = _clock.deadline_after(timeout)
        while True:
            done = self.done()  # if so, what is raised is the call's own
            try:
                return ask(_clock.stretch(deadline))
            except FutureTimeout:
                if done or _clock.passed(deadline):
                    raise
            except BaseException:
                if self._interrupts is not None and not self.done():
                    self._interrupts.seen = True
                raise

    def running(self) -> bool:
        """Return whether a worker is running the call at this moment."""
        task = self._task
        return not self.done() and task is not None and task.running()

    def cancel(self) -> bool:
        """Withdraw the call if it has not started; ``False`` if it has, or is done."""
        task = self._task
        if self.done() or task is None:
            return self.cancelled()
        if task.running() or not task.cancel():
            return False
        super().cancel()
        return self.cancelled()


def _settle(future: _TaskFuture[Any], task: AsyncResult[object]) -> None:
    """Move a finished task's outcome into its future. Runs in the pool's collector."""
    future._task = None
    try:
        error = task.exception(0)
    except BaseException as failure:  # unpickling runs the user's code, which may do anything
        error = DecodeError(f"a result does not unpickle in this process: {failure!r}")
        error.__cause__ = failure
    if isinstance(error, TaskCancelledError):
        Future.cancel(future)
    if not future.set_running_or_notify_cancel():
        return
    if error is None:
        future.set_result(task.get(0))
    else:
        future.set_exception(_as_the_field_knows_it(error))


def _as_the_field_knows_it(error: BaseException) -> BaseException:
    """Give pool failures the type that users of executors catch, with all their data."""
    kinds: dict[type, type[BaseException]] = {
        WorkerLostError: FutureLostError,
        MaybeEncodingError: FutureEncodeError,
        PoolBrokenError: BrokenExecutorPool,
    }
    kind = kinds.get(type(error))
    if kind is None:
        return error
    known: BaseException = kind.__new__(kind, *error.args)
    known.args = error.args
    known.__dict__.update(error.__dict__)
    known.__cause__ = error.__cause__
    return known


class ExecutorPool(Pool):
    """The pool of an executor, which is like the standard library's in what differs from a ``Pool``.

    Its processes have other names, and ``exit()`` in a call is what that call raised.
    """

    _worker_name = "Process"
    _exit_ends_worker = False


# Executors that are not shut down yet: the interpreter waits for their calls, as it does for the
# standard library's. Registered after the pool's own exit handlers, so it runs before them.
_open: weakref.WeakSet[ProcessPoolExecutor] = weakref.WeakSet()


# What ends a program in the midst of what it does, as opposed to an error in it.
_STOPS = (KeyboardInterrupt, SystemExit)


@atexit.register
def _finish_at_exit() -> None:
    ended_by = getattr(sys, "last_type", None)
    interrupted = isinstance(ended_by, type) and issubclass(ended_by, KeyboardInterrupt)
    for executor in list(_open):
        if interrupted:
            executor._withdraw(executor._pending)
        executor.shutdown(wait=True)
    for pool in list(_left):
        pool.close()
        pool.join()


# Pools of executors that nobody holds any more. A call that is not done holds its pool.
_left: weakref.WeakSet[Pool] = weakref.WeakSet()


def _let_go(pool: Pool, owner: int) -> None:
    """Have the pool of a collected executor end when its calls are done, as ``shutdown`` would.

    Garbage is collected anywhere, also where this thread holds the pool's lock, so the pool is
    closed by its own thread.
    """
    if os.getpid() != owner:
        return  # a forked copy, whose workers are not here
    _left.add(pool)
    pool._links.collector.call_later(pool.close)


class ProcessPoolExecutor(Executor):
    """Runs calls in a pool of processes; the standard library's interface in full.

    Args:
        max_workers: How many processes; by default one for each usable core.
        mp_context: A context, for its start method. If not given, the default one, or, as in the
            standard library, that of ``spawn`` where workers are replaced: one that replaces
            another is not forked from a program that has threads by then.
        initializer: Called in each worker when it starts, with ``initargs``.
        initargs: Its arguments.
        max_tasks_per_child: After how many calls a worker is replaced. Unlike in the standard
            library, ``fork`` may be given with it.
        options: The keyword options of :class:`tines.pool.Pool`: ``retries``, ``engine`` and so on.

    Raises:
        ValueError: a number is out of range.
        TypeError: the initializer is not callable, the engine is none, or there is no such option.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: object = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[object, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        **options: Any,
    ) -> None:
        if max_workers is not None:
            max_workers = whole_number("max_workers", max_workers)
            if max_workers <= 0:
                raise ValueError("max_workers must be greater than 0")
        check_context("mp_context", mp_context)
        check_initializer(initializer, initargs)
        if max_tasks_per_child is not None:
            max_tasks_per_child = whole_number("max_tasks_per_child", max_tasks_per_child)
            if max_tasks_per_child <= 0:
                raise ValueError("max_tasks_per_child must be >= 1")
        if mp_context is None and max_tasks_per_child is not None:
            mp_context = context.default.get_context("spawn")
        # Read by programs that ask the standard library's executor how it was made.
        self._initializer, self._initargs = initializer, initargs
        self._max_tasks_per_child = max_tasks_per_child
        self._mp_context = mp_context or context.default.get_context()
        # The pool is made with the first call; what it will not take is told now.
        apart = "engine", "progress", "transport"
        own = {name: value for name, value in options.items() if name not in apart}
        pool_options(max_workers, max_tasks_per_child, own, POSITIONAL)
        if options.get("engine") is None:
            options["engine"] = names.default_name()
        if not (options["engine"] is None or hasattr(options["engine"], "expect")):
            engines.named(options["engine"], mp_context, None)
        self._max_workers = max_workers or _config.available_cpus()
        # No lambda: it would refer to this object, and an executor that nobody holds any more would
        # keep its workers until the cycle is found.
        self._make_pool = functools.partial(
            ExecutorPool,
            self._max_workers,
            initializer,
            initargs,
            max_tasks_per_child,
            mp_context,
            **options,
        )
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._shut_down = False
        self._pending: set[_TaskFuture[Any]] = set()
        self._interrupts = _Interrupts()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule ``fn(*args, **kwargs)`` and return its future.

        Raises:
            RuntimeError: the executor was shut down.
            BrokenExecutorPool: the pool gave up.

        A call that cannot be pickled does not raise here: as in the standard library, its future does
        (``EncodeError``).
        """
        future: _TaskFuture[T] = _TaskFuture()
        with self._lock:
            if self._shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self._pool is None:
                self._pool = self._make_pool()
                _open.add(self)
                weakref.finalize(self, _let_go, self._pool, os.getpid()).atexit = False
            try:
                task = self._pool.apply_async(fn, args, kwargs)
            except EncodeError as error:
                future.set_exception(error)
                return future
            except PoolBrokenError as error:
                raise _as_the_field_knows_it(error) from error.__cause__
        future._task = task
        future._interrupts = self._interrupts
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        task.add_done_callback(lambda done: _settle(future, done))
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[object],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        return_exceptions: bool = False,
    ) -> Iterator[T]:
        """Call ``fn`` with items of the iterables, in order.

        Args:
            fn: What to call.
            iterables: Read in step; the shortest ends it.
            timeout: Seconds, from this call on, until an outstanding result raises ``TimeoutError``.
            chunksize: How many items one task carries.
            buffersize: How many tasks are submitted ahead of the consumer; ``None`` submits all at
                once.
            return_exceptions: Hand out the exception of a call that failed in the place of its result.

        Raises:
            ValueError: ``chunksize`` or ``buffersize`` is less than 1.
        """
        check_function("fn", fn)
        for iterable in iterables:
            check_iterable("iterables", iterable)
        chunksize = whole_number("chunksize", chunksize)
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None:
            buffersize = whole_number("buffersize", buffersize)
            if buffersize < 1:
                raise ValueError("buffersize must be None or > 0")
        deadline = _clock.deadline_after(timeout)
        items = zip(*iterables)
        chunks = iter(lambda: list(itertools.islice(items, chunksize)), [])
        run = run_guarded if return_exceptions else run_chunk
        pending = (
            (self.submit(run, fn, chunk), len(chunk) if return_exceptions else 0)
            for chunk in chunks
        )
        futures = deque(itertools.islice(pending, buffersize))
        return self._results(pending, futures, deadline)

    def _results(
        self,
        pending: Iterator[tuple[Future[list[object]], int]],
        futures: deque[tuple[Future[list[Any]], int]],
        deadline: float | None,
    ) -> Iterator[T]:
        """Yield in order; submit one more for each that is taken; cancel the rest when left early.

        With each future comes for how many results its exception stands; 0: it is raised.
        """
        try:
            while futures:
                left = None if deadline is None else deadline - _clock.monotonic()
                try:
                    # Reversed, to be emptied: what was handed out is nobody's here.
                    results = results_of(*futures[0], left)
                except FutureTimeout:
                    raise
                except BaseException:
                    if not futures[0][0].done():  # interrupted
                        self._withdraw(future for future, _ in futures)
                    raise
                futures.popleft()
                futures.extend(itertools.islice(pending, 1))
                while results:
                    yield results.pop()
        finally:
            for future, _ in futures:
                future.cancel()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with ``wait``, return when all have ended.

        Args:
            wait: Whether to wait.
            cancel_futures: Whether to cancel what has not started.
        """
        with self._lock:
            self._shut_down = True
            pool = self._pool
        if pool is None:
            return
        if cancel_futures:
            for future in list(self._pending):
                future.cancel()
        pool.close()
        if wait:
            pool.join()
            _open.discard(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for the calls; what is left of them is cancelled first, if the body was interrupted."""
        if kind is not None and (self._interrupts.seen or issubclass(kind, _STOPS)):
            self._withdraw(self._pending)
        self.shutdown()

    def _withdraw(self, futures: Iterable[Future[Any]]) -> None:
        """Have calls cancelled, also such as run, by a thread that no signal interrupts."""
        pool = self._pool
        open_ones = [each._task for each in list(futures) if isinstance(each, _TaskFuture)]
        tasks = [task for task in open_ones if task is not None]
        if pool is not None and tasks:
            links = pool._links
            links.collector.call_later(functools.partial(links.cancelling.cancel, tasks))

    # Private names of the standard library's that programs reach for, to read.

    def _repr_html_(self) -> str | None:
        """What notebooks show; ``None`` where there is only the text: before the first call."""
        pool = self._pool
        if pool is None or pool._core.state.is_copy:
            return None
        return pool.statistics().as_html(f"{type(self).__qualname__}, {pool._core.state.standing}")

    @property
    def _processes(self) -> dict[int, Any]:
        """The workers that there are, by process id."""
        workers = () if self._pool is None else self._pool._pool
        return {worker.pid: worker for worker in workers}

    @property
    def _broken(self) -> str | bool:
        """Why nothing more is done; ``False`` while things are well."""
        broken = None if self._pool is None else self._pool._view.state.broken
        return False if broken is None else f"the pool gave up: {broken.reason}"

    @property
    def _shutdown_thread(self) -> bool:
        return self._shut_down

    @property
    def _pending_work_items(self) -> dict[int, Future[Any]]:
        """The futures that are not done, each under some number."""
        return {id(future): future for future in list(self._pending)}

    def terminate_workers(self) -> None:
        """End the workers at once (3.14); what is pending fails."""
        self._stop()

    def kill_workers(self) -> None:
        """End the workers at once, by force where they do not go by themselves (3.14)."""
        self._stop()

    def _stop(self) -> None:
        with self._lock:
            self._shut_down = True
            pool = self._pool
        if pool is not None:
            pool.terminate()
            pool.join()
            _open.discard(self)
