"""What a worker does before its first task, and when it has done its share.

Each worker imports this, and so nothing that only some workers need, or only the parent.
"""

from __future__ import annotations

import os
import pickle

from tines import _clock
from tines.errors import EncodeError
from tines.pool.worker.functions import SHARED_FROM
from tines.wire import pickling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tines.engines.contract import Engine
    from tines.pool.options import PoolOptions
    from tines.transport.contract import Shared, Transport

__all__ = ["Limits", "Setup", "make_setup"]

MEMORY_CHECK_SECONDS = 1e-3
"""A worker looks at its memory after a task, but not more often than this: to look costs some ten
microseconds, and nobody takes much memory in less time."""


class Setup:
    """How to prepare a worker.

    Attributes:
        initializer: Called first, with ``initargs``; both as they are, or inside ``shared``.
        initargs: Its arguments.
        shared: Both, where they are large: sent once, whatever the number of workers.
        niceness: Added to the worker's.
        affinity: The cores it may use; ``None``: as its parent.
        most_tasks: After how many tasks it leaves.
        most_memory: From how many bytes on it leaves after its task.
        exit_ends: Whether a task that calls ``exit()`` ends its worker, or only itself.
    """

    def __init__(
        self,
        initializer: Callable[..., object] | None,
        initargs: tuple[object, ...],
        shared: Shared | None,
        *,
        niceness: int,
        affinity: tuple[int, ...] | None,
        most_tasks: int | None,
        most_memory: int | None,
        exit_ends: bool,
    ) -> None:
        self.initializer = initializer
        self.initargs = initargs
        self.shared = shared
        self.niceness = niceness
        self.affinity = affinity
        self.most_tasks = most_tasks
        self.most_memory = most_memory
        self.exit_ends = exit_ends

    def run(self, variables: dict[str, str]) -> None:
        """Do it. Exceptions of the initializer come through.

        Args:
            variables: The environment of the worker's slot.
        """
        if variables:
            from tines.pool.worker import environment

            environment.apply(variables)
        if self.niceness:
            os.nice(self.niceness)
        if self.affinity is not None:
            os.sched_setaffinity(0, self.affinity)
        initializer, initargs = self.initializer, self.initargs
        if self.shared is not None:
            data, buffers = self.shared.open()
            initializer, initargs = pickle.loads(data, buffers=buffers)
        if initializer is not None:
            initializer(*initargs)

    def limits(self) -> Limits | None:
        """Return what to ask after each task; ``None``: nothing limits this worker."""
        if self.most_tasks is None and self.most_memory is None:
            return None
        return Limits(self.most_tasks, self.most_memory)


class Limits:
    """Counts tasks and looks at memory, in the worker."""

    def __init__(self, tasks: int | None, memory: int | None) -> None:
        from tines.engines.resources import own_memory

        self._own_memory = own_memory
        self._tasks = tasks
        self._memory = memory
        self._next_look = 0.0

    def reached(self) -> bool:
        """Whether the worker should leave, after one more task."""
        if self._tasks is not None:
            self._tasks -= 1
            if self._tasks <= 0:
                return True
        if self._memory is not None and _clock.monotonic() >= self._next_look:
            self._next_look = _clock.monotonic() + MEMORY_CHECK_SECONDS
            return self._own_memory() > self._memory
        return False


def make_setup(
    initializer: Callable[..., object] | None,
    initargs: tuple[object, ...],
    options: PoolOptions,
    transport: Transport,
    engine: Engine,
    *,
    exit_ends: bool,
) -> Setup:
    """Prepare the setup of all workers of a pool.

    A worker that is a copy of this process has the arguments already. Others get small ones with
    their start, which can also carry locks and queues, and large ones through shared memory.
    """
    from tines.engines.resources import can_measure
    from tines.pool.worker import environment

    if options.memory_to_leave is not None and not can_measure():
        raise NotImplementedError(
            "max_memory needs psutil on this system: pip install 'tines[limits]'"
        )
    environment.warn_of_loaded_libraries(options, engine)
    shared = None
    if initializer is not None and not engine.copies:
        try:
            _, data, buffers = pickling.encode((initializer, initargs))
        except EncodeError:
            pass  # locks and the like: they pickle only while a process is being started
        else:
            if buffers or memoryview(data).nbytes >= SHARED_FROM:
                initializer, initargs, shared = None, (), transport.share(data, buffers)
    return Setup(
        initializer,
        initargs,
        shared,
        niceness=options.niceness,
        affinity=options.affinity,
        most_tasks=options.maxtasksperchild,
        most_memory=options.memory_to_leave,
        exit_ends=exit_ends,
    )
