"""``ThreadPool``: the standard library's, and to ``isinstance`` a pool like any other.

Programs ask ``isinstance(pool, Pool)`` to tell a pool from an executor, and a ``ThreadPool`` is one in the
standard library. So it is derived from ours as well, but has nothing of it: all that it does is the
standard library's, and what that does not have is not there either. Only ``istarmap`` is: a program that
puts one of its own into ``Pool`` finds it in a ``ThreadPool`` too, so this has what ``Pool`` has.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tines._std import standard
from tines.pool.facade import Pool

if TYPE_CHECKING:
    import multiprocessing.pool as _std
    from collections.abc import Callable, Iterable, Iterator
else:
    _std = standard("pool")

__all__ = ["ThreadPool"]


class _Absent:
    """Stands for an attribute that only pools of processes have."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        raise AttributeError(f"a {owner.__name__} has no attribute {self._name!r}")


def _context() -> object:
    """Return a context with the standard library's queues, whose private parts its pools need.

    Its own context looks for them in ``multiprocessing.queues``, which may be ours.
    """
    kind: Any = type(standard("context")._default_context.get_context())

    class Context(kind):  # type: ignore[misc]
        def SimpleQueue(self) -> object:  # noqa: N802
            return standard("queues").SimpleQueue(ctx=self)

    return Context()


class ThreadPool(_std.ThreadPool, Pool):  # type: ignore[misc]
    """A pool of threads, with the methods of a pool of processes."""

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[object] = (),
    ) -> None:
        _std.Pool.__init__(self, processes, initializer, initargs, context=_context())

    def istarmap(  # type: ignore[override]
        self,
        func: Callable[..., object],
        iterable: Iterable[Iterable[object]],
        chunksize: int = 1,
    ) -> Iterator[Any]:
        """Iterate over ``func(*item)`` for each item in order."""
        results: Iterator[object] = self.imap(partial(_star, func), iterable, chunksize)
        return results

    def istarmap_unordered(  # type: ignore[override]
        self,
        func: Callable[..., object],
        iterable: Iterable[Iterable[object]],
        chunksize: int = 1,
    ) -> Iterator[Any]:
        """Iterate over the results as they come; otherwise as :meth:`istarmap`."""
        results: Iterator[object] = self.imap_unordered(partial(_star, func), iterable, chunksize)
        return results


def _star(func: Callable[..., object], arguments: Iterable[object]) -> object:
    return func(*arguments)


for _name in {*dir(Pool)} - {*dir(_std.ThreadPool), *vars(ThreadPool)}:
    if not _name.startswith("__"):
        setattr(ThreadPool, _name, _Absent(_name))
