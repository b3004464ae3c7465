"""What arrives from workers, and what a pool makes of it: outcomes, notices, deaths.

All of this runs in the thread that is in the collector's seat, and but for plain outcomes, which callers
deliver themselves, only in the collector thread. So nothing here takes a lock of its own.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from tines import _clock
from tines.pool.scheduler.state import PoolState
from tines.wire import messages, pickling
from tines.wire.descriptors import is_marked, opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tines.engines.contract import Exit
    from tines.pool.events import Observer
    from tines.pool.runtime.activity import Activity
    from tines.pool.runtime.machine import Machine
    from tines.pool.runtime.tally import Tally
    from tines.pool.scheduler.task import Job, Task
    from tines.transport.contract import Buffer, Channel

__all__ = ["Arrivals"]


class Arrivals:
    """See the module.

    Args:
        machine: What is told of everything but plain outcomes.
        tasks: The tasks channel, with the leases.
        activity: Is told when workers are ready.
        tally: Counts what is finished.
        observer: Is told of workers, and of what begins.
    """

    def __init__(
        self,
        machine: Machine,
        tasks: Channel,
        activity: Activity,
        tally: Tally,
        observer: Observer | None,
    ) -> None:
        self._machine = machine
        self._state = machine.state
        self._tasks = tasks
        self._activity = activity
        self._tally = tally
        self._observer = observer
        # Why initializers failed, by slot, until the worker is gone.
        self._causes: dict[int, BaseException] = {}
        # Jobs whose chunks have come back since the last batch.
        self._hungry: set[Job] = set()

    def outcome(self, kind: int, tag: int, data: Buffer, buffers: Sequence[Buffer]) -> None:
        """Deal with the outcome of a dispatch."""
        state = self._state
        dispatch = tag & messages.TAG_MASK
        task = state.find(dispatch)
        in_hand = kind == messages.ERROR and task is not None and bool(task.options.retry_on)
        task = self._machine.raised(dispatch) if in_hand else state.finished(dispatch)
        if state.has_stops:
            self._machine.stopped(dispatch)
        if task is None:
            return
        self._tally.done[tag >> messages.SLOT_SHIFT] += 1
        if is_marked(buffers):
            data, buffers = _opened(data, buffers)
        try:
            if kind == messages.ERROR:
                self._tally.has_raised(task, data)
            if not (in_hand and self._tried_again(task, data)):
                task.settle(kind, data, buffers)
        except BaseException as error:
            # What is unpickled may raise anything, also SystemExit: whoever waits for it gets that.
            task.settle_error(error)
        if in_hand:
            self._machine.event(PoolState.put_down)
        if task.job is not None:
            self._hungry.add(task.job)

    def notice(self, kind: int, tag: int, data: Buffer, buffers: Sequence[Buffer]) -> None:
        """Deal with everything else that a worker says."""
        event = self._machine.event
        observer = self._observer
        slot = tag >> messages.SLOT_SHIFT
        dispatch = tag & messages.TAG_MASK
        if kind == messages.PART:
            task = self._state.find(dispatch)
            if task is not None:
                if is_marked(buffers):
                    data, buffers = _opened(data, buffers)
                task.settle(kind, data, buffers)
        elif kind == messages.STARTED:
            event(PoolState.started, dispatch, slot, _clock.monotonic())
            if observer is not None:
                observer.begun(dispatch, slot)
        elif kind == messages.READY:
            self._activity.ready(slot, *pickle.loads(data))
            event(PoolState.ready, slot)
            if observer is not None:
                observer.ready(slot)
        elif kind == messages.RETIRING:
            event(PoolState.retiring, slot)
        elif kind == messages.UNREADY:
            self._causes[slot] = pickling.decode(pickling.PICKLED, data, buffers).revive()

    def after_batch(self) -> None:
        """Feed the maps whose chunks have come back. Outside the seat."""
        while self._hungry:
            job = self._hungry.pop()
            try:
                job.refill()
            except BaseException as error:
                # No memory, or what some object raised as it was pickled: it costs this job alone,
                # not the thread that all depend on.
                self._machine.exhausted(job)
                job.abandon(error)

    def worker_gone(self, slot: int, exit: Exit) -> None:
        """Everything a dead worker had sent has been dealt with."""
        lease = self._tasks.lease(slot)
        taken = (lease.tag, lease.progress) if lease is not None else None
        self._tasks.release(slot)
        cause = self._causes.pop(slot, None)
        done = sum(self._tally.done)
        self._machine.event(PoolState.gone, slot, exit, taken, done, _clock.monotonic(), cause)
        if self._observer is not None:
            self._observer.gone(slot, exit)

    def _tried_again(self, task: Task, data: Buffer) -> bool:
        """Schedule another attempt of a task that raised, if that is wanted."""
        remote = pickling.decode(pickling.PICKLED, data, ())
        error = remote.revive()
        wanted = task.options.retry_on
        if not isinstance(error, wanted) and not remote.is_a(wanted):
            return False
        what = f"attempt {task.attempt}: raised {type(error).__qualname__}: {_text(error)}"
        return self._machine.event(PoolState.failed, task, what, _clock.monotonic())


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:
        return f"(its text raised {type(failure).__name__})"


def _opened(data: Buffer, buffers: Sequence[Buffer]) -> Any:
    """Unpickle a result that holds descriptors, while the worker is there that has them."""
    return opened(lambda: pickle.loads(data, buffers=buffers))
