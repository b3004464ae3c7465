"""The private names of the standard library's ``Pool`` that programs reach for.

They ask how many workers there are and whether they live (``pool._pool``), how much is still to be done
(``_taskqueue.qsize()``, ``_cache``), where the pool stands (``_state``); and the well-known recipe for an
``istarmap`` hands the pool tasks of its own making (``_get_tasks``, ``_guarded_task_generation``,
``_taskqueue.put``). What is here answers as the standard library's would, from what the pool knows
anyway: it can be read, not changed, and costs nothing while nobody asks.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tines.engines.worker_process import ProcessObject
    from tines.pool.options import PoolOptions
    from tines.pool.ports import Links, View
    from tines.transport.contract import Channel

__all__ = ["PoolInsides", "process_maker"]

_STATES = {"open": "RUN", "closed": "CLOSE", "drained": "CLOSE"}


class PoolInsides:
    """See the module. The part of ``Pool`` with names that are not its own; ``Pool`` sets what it needs."""

    _view: View
    _links: Links
    _options: PoolOptions
    _ctx: object
    _initializer: Callable[..., object] | None
    _initargs: tuple[object, ...]

    @staticmethod
    def Process(ctx: Any, *args: object, **kwds: object) -> Any:  # noqa: N802
        """Make the process of a worker. A subclass may override it, to change what processes workers are."""
        return ctx.Process(*args, **kwds)

    @property
    def _pool(self) -> list[Any]:
        """The workers that there are: objects with what a process has."""
        running = list(self._view.workers.values())
        return [getattr(each, "process", each) for each in running]

    @property
    def _processes(self) -> int:
        return self._view.state.target

    @property
    def _state(self) -> str:
        """One of ``multiprocessing.pool``'s ``RUN``, ``CLOSE`` and ``TERMINATE``."""
        return _STATES.get(self._view.state.standing, "TERMINATE")

    @property
    def _maxtasksperchild(self) -> int | None:
        return self._options.maxtasksperchild

    @property
    def _cache(self) -> dict[int, object]:
        """The calls, maps and iterators that are not over, each under some number."""
        state = self._view.state
        found: dict[int, object] = {id(job): job for job in state.open_jobs()}
        for task in state.open_tasks():
            owner: object = task if task.job is None else task.job
            found[id(owner)] = owner
        return found

    @property
    def _taskqueue(self) -> TaskQueue:
        return TaskQueue(self._view.tasks)

    def _check_running(self) -> None:
        if not self._view.state.is_open:
            self._links.feeding.refuse()

    def _repopulate_pool(self) -> None:
        """Do nothing: workers that have ended are replaced at once."""

    def _maintain_pool(self) -> None:
        """Do nothing, for the same reason."""

    def _join_exited_workers(self) -> bool:
        """Return whether there were any to join: no, that has been done."""
        return False

    @staticmethod
    def _get_tasks(
        func: Callable[..., object], it: Iterable[object], size: int
    ) -> Iterator[tuple[Callable[..., object], tuple[object, ...]]]:
        """Cut the input of a map into chunks."""
        items = iter(it)
        while chunk := tuple(islice(items, size)):
            yield func, chunk

    def _guarded_task_generation(
        self, result_job: int, func: Callable[..., object], iterable: Iterable[object]
    ) -> Iterator[tuple[int, int, Callable[..., object], tuple[object, ...], dict[str, object]]]:
        """Make a task of each item. An exception of the input is dealt with by who reads this."""
        for number, item in enumerate(iterable):
            yield result_job, number, func, (item,), {}


class TaskQueue:
    """Where the standard library's pool has the tasks that no worker has taken yet."""

    def __init__(self, tasks: Channel) -> None:
        self._tasks = tasks

    def qsize(self) -> int:
        """Return how many tasks wait for a worker."""
        try:
            return self._tasks.qsize()
        except ValueError:  # the pool has ended
            return 0

    def empty(self) -> bool:
        """Return whether no task waits for a worker."""
        return not self.qsize()

    def put(self, job: tuple[Iterable[object], object]) -> None:
        """Have tasks done, whose results go to the iterator that the caller has made for them.

        Args:
            job: The tasks, as of ``_guarded_task_generation``, and the iterator's ``_set_length``.
        """
        tasks, set_length = job
        take_over = getattr(getattr(set_length, "__self__", None), "take_over", None)
        if take_over is None:
            raise TypeError(
                f"{set_length!r} is not the _set_length of an IMapIterator: use the methods of the pool"
            )
        take_over(tasks)


def process_maker(pool: PoolInsides) -> Callable[..., ProcessObject] | None:
    """Return what makes the processes of workers; ``None``: the context does, as nothing is overridden.

    It does not keep the pool, which is to be collected when nobody else holds it.
    """
    if type(pool).Process is PoolInsides.Process:
        return None
    reference = weakref.ref(pool)

    def make(context: object, **arguments: object) -> ProcessObject:
        owner = reference()
        maker = PoolInsides.Process if owner is None else owner.Process
        # A class does without the context: so it was before Python 3.8, and many have kept it.
        process: ProcessObject = (
            maker(**arguments) if isinstance(maker, type) else maker(context, **arguments)
        )
        return process

    return make
