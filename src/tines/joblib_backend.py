"""A backend for joblib, and so for scikit-learn: its tasks run in a pool of tines.

    import joblib
    from tines.joblib_backend import register

    register()
    with joblib.parallel_config("tines", n_jobs=4):
        joblib.Parallel()(joblib.delayed(f)(x) for x in data)

A worker that dies costs the batch that it was running, which raises ``FutureLostError``, and not the
whole program; ``retries=1`` runs such a batch again. Large arrays go through shared memory by
themselves, so joblib's memory-mapping options have nothing to do here.
"""

from __future__ import annotations

import os
import queue
from typing import TYPE_CHECKING, Any

from joblib.parallel import (
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
    register_parallel_backend,
)

from tines import context as contexts
from tines._config import available_cpus
from tines.executor import ProcessPoolExecutor

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

__all__ = ["TinesBackend", "register"]

# What ``Parallel`` hands to every backend: memory mapping, its own verbosity, and the context of the
# standard library, which says nothing that ours does not know.
_NOT_OURS = ("context", "max_nbytes", "mmap_mode", "temp_folder", "verbose")


def register(*, make_default: bool = False) -> None:
    """Make the backend known to joblib as ``"tines"``.

    Args:
        make_default: Whether ``Parallel`` uses it where nothing else is asked for.
    """
    register_parallel_backend("tines", TinesBackend, make_default=make_default)


class TinesBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """Runs the batches of ``joblib.Parallel`` in worker processes.

    Args:
        context: A start method, or a context; the program's default if not given.
        options: Those of :class:`tines.pool.Pool` and of joblib's base class.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True

    def __init__(self, *, context: object = None, **options: object) -> None:
        super().__init__(**options)
        self._context = context
        self._executor: ProcessPoolExecutor | None = None
        self._workers = 1

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many workers ``n_jobs`` stands for; negative ones count from all cores."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(available_cpus() + 1 + n_jobs, 1)

    def configure(
        self,
        n_jobs: int = 1,
        parallel: object = None,
        prefer: str | None = None,
        require: str | None = None,
        **options: object,
    ) -> int:
        """Start the pool for one ``Parallel``; return how many workers it has."""
        self._workers = self.effective_n_jobs(n_jobs)
        if self._workers == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._options = {**self.backend_kwargs, **options}
        for name in _NOT_OURS:
            self._options.pop(name, None)
        self._start()
        return self._workers

    def _start(self) -> None:
        context = self._context
        if context is None or isinstance(context, str):
            context = contexts.default.get_context(context)
        threads = self.inner_max_num_threads or max(available_cpus() // self._workers, 1)
        self._executor = ProcessPoolExecutor(
            self._workers,
            context,
            _limit_threads,
            (self.MAX_NUM_THREADS_VARS, threads, self.inner_max_num_threads is not None),
            **self._options,
        )

    def start_call(self) -> None:
        """Forget the batches that a failed call of the same ``Parallel`` has not sent.

        joblib (1.6 and before) keeps them, and would run them in the next call and add what they
        return to its results.
        """
        left = getattr(self.parallel, "_ready_batches", None)
        while left is not None:
            try:
                left.get_nowait()
            except queue.Empty:
                break

    def submit(
        self, func: Callable[[], object], callback: Callable[[Any], object] | None = None
    ) -> Future[object]:
        """Schedule a batch."""
        assert self._executor is not None, "configure() comes first"
        future = self._executor.submit(func)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    apply_async = submit
    """The name before joblib 1.5."""

    def retrieve_result_callback(self, out: Future[object]) -> object:
        """Return a batch's result, or raise its error."""
        return out.result()

    def terminate(self) -> None:
        """End the pool of a ``Parallel`` that has finished."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown()
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """End the workers, whatever they run; start others if ``ensure_ready``."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.kill_workers()
        if ensure_ready:
            self._start()


def _limit_threads(variables: list[str], threads: int, explicit: bool) -> None:
    """Keep the numeric libraries of a worker from using all cores each.

    The variables are for libraries that the worker is still to load; those that a fork brought
    with it are told by threadpoolctl, if that is there (scikit-learn needs it anyway).
    """
    for name in variables:
        if explicit:
            os.environ[name] = str(threads)
        else:
            os.environ.setdefault(name, str(threads))
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return
    threadpool_limits(threads)
