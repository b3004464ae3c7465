"""What an adapter provides, and the two shapes that most pools have.

An adapter module defines ``PEERS``, a tuple of :class:`Peer`. It imports its library inside the
methods, so that listing the peers imports none of them. An adapter does what the library's own
documentation tells a user to do, and nothing cleverer.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from typing import Any

from benchmarks.model import Feature, Unsupported

__all__ = ["ExecutorPool", "Peer", "Pool", "Queue", "StandardPool", "kill"]

Function = Callable[[Any], Any]


class Queue:
    """A queue as the subjects use it, around a library's own with ``put`` and ``get``."""

    def __init__(self, inner: Any) -> None:
        self.put: Callable[[Any], Any] = inner.put
        self.get: Callable[[], Any] = inner.get

    def put_many(self, items: Sequence[Any]) -> None:
        """Put several; one by one unless the library can do better."""
        for item in items:
            self.put(item)

    def get_many(self) -> Sequence[Any]:
        """Take at least one."""
        return [self.get()]

    def wrap(self, array: Any) -> Any:
        """What the library's user would put to send a NumPy array; called for each message."""
        return array

    def unwrap(self, received: Any) -> Any:
        """The NumPy array again, writable, without a copy where the library needs none."""
        return received


class Pool(ABC):
    """A pool of workers. Functions take one argument."""

    @abstractmethod
    def apply(self, function: Function, item: Any) -> Any:
        """Run one task and return its result."""

    @abstractmethod
    def submit(self, function: Function, item: Any) -> Any:
        """Start one task; return something for :meth:`result`."""

    @abstractmethod
    def result(self, handle: Any) -> Any:
        """Wait for a submitted task and return its result."""

    @abstractmethod
    def map(self, function: Function, items: Sequence[Any], chunksize: int | None) -> list[Any]:
        """All results in order. ``None`` is the library's default chunk size."""

    @abstractmethod
    def imap(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        """Results in order, as they become available."""

    @abstractmethod
    def imap_unordered(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        """Results as they become available, in any order."""

    @abstractmethod
    def close(self) -> None:
        """End the workers in an orderly way and wait for them."""

    def terminate(self) -> None:
        """Give up what is pending and end at once."""
        self.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.terminate()


class StandardPool(Pool):
    """The shape of ``multiprocessing.Pool``."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool

    def apply(self, function: Function, item: Any) -> Any:
        return self.pool.apply(function, (item,))

    def submit(self, function: Function, item: Any) -> Any:
        return self.pool.apply_async(function, (item,))

    def result(self, handle: Any) -> Any:
        return handle.get()

    def map(self, function: Function, items: Sequence[Any], chunksize: int | None) -> list[Any]:
        results: list[Any] = self.pool.map(function, items, chunksize=chunksize)
        return results

    def imap(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return iter(self.pool.imap(function, items))

    def imap_unordered(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return iter(self.pool.imap_unordered(function, items))

    def close(self) -> None:
        self.pool.close()
        self.pool.join()

    def terminate(self) -> None:
        self.pool.terminate()


class ExecutorPool(Pool):
    """The shape of ``concurrent.futures.Executor``."""

    def __init__(self, executor: Any) -> None:
        self.executor = executor

    def apply(self, function: Function, item: Any) -> Any:
        return self.executor.submit(function, item).result()

    def submit(self, function: Function, item: Any) -> Any:
        return self.executor.submit(function, item)

    def result(self, handle: Any) -> Any:
        return handle.result()

    def map(self, function: Function, items: Sequence[Any], chunksize: int | None) -> list[Any]:
        options = {} if chunksize is None else {"chunksize": chunksize}
        return list(self.executor.map(function, items, **options))

    def imap(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        return iter(self.executor.map(function, items))

    def imap_unordered(self, function: Function, items: Iterable[Any]) -> Iterator[Any]:
        futures = [self.submit(function, item) for item in items]
        return (future.result() for future in as_completed(futures))

    def close(self) -> None:
        self.executor.shutdown(wait=True)

    def terminate(self) -> None:
        kill(getattr(self.executor, "_processes", None) or ())
        self.executor.shutdown(wait=False, cancel_futures=True)


class Peer:
    """One library in one configuration.

    Attributes:
        name: Short, unique; what ``--peers`` selects.
        title: For tables and charts.
        module: What has to be importable.
        distribution: Whose version is recorded; ``None`` for the standard library.
        offers: What it takes part in.
        environment: Set for the whole case.
        has_daemons: It starts processes whose CPU time cannot be told from other load.
    """

    name: str = ""
    title: str = ""
    module: str = ""
    distribution: str | None = None
    offers: frozenset[Feature] = frozenset()
    environment: Mapping[str, str] = {}
    has_daemons: bool = False

    def probe(self) -> str:
        """Import the library and return its version; raise if it cannot be used."""
        module = importlib.import_module(self.module)
        try:
            return importlib.metadata.version(self.distribution or self.module)
        except importlib.metadata.PackageNotFoundError:  # run from a checkout
            return str(getattr(module, "__version__", "unknown"))

    @property
    def context(self) -> Any:
        """What has ``Process``, ``Queue`` and the rest, as ``multiprocessing.get_context`` returns it."""
        raise Unsupported("it has no contexts")

    def queue(self, *, max_items: int = 0, max_bytes: int = 0) -> Queue:
        """Make a queue.

        Args:
            max_items: Bound in messages, where the library has one; 0 is none.
            max_bytes: What the workload will have in it at most; only for libraries that must
                set memory aside beforehand.
        """
        raise Unsupported("it has no queue")

    def process(self, target: Callable[..., Any], args: tuple[Any, ...] = ()) -> Any:
        """Make a process that is not started yet."""
        raise Unsupported("it has no Process")

    def pool(self, workers: int) -> Pool:
        """Make a pool."""
        raise Unsupported("it has no pool")

    def forked(self, target: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Make a forked process, the workers of the queue subjects; its own where it has one."""
        import multiprocessing

        return multiprocessing.get_context("fork").Process(target=target, args=args)


def kill(pids: Iterable[int]) -> None:
    """Kill worker processes by id; for libraries that have no call for it."""
    for pid in list(pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
