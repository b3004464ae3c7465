"""What arrives from workers, and what a pool makes of it: outcomes, notices, deaths.

All of this runs in the thread that is in the collector's seat, and but for plain outcomes, which callers
deliver themselves, only in the collector thread. So nothing here takes a lock of its own.
"""

from __future__ import annotations

import pickle
import time
from typing import TYPE_CHECKING, Any

from tines.wire import messages, pickling

if TYPE_CHECKING:
    from tines.engines.contract import Exit
    from tines.pool.runtime.core import Core

__all__ = ["Arrivals"]


class Arrivals:
    """See the module."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._state = core.state
        self._done = core.done
        # Why initializers failed, by slot, until the worker is gone.
        self._causes: dict[int, BaseException] = {}
        # Jobs whose chunks have come back since the last batch.
        self._hungry: set[Any] = set()

    def outcome(self, kind: int, tag: int, data: Any, buffers: Any) -> None:
        """Deal with the outcome of a dispatch."""
        state = self._state
        dispatch = tag & messages.TAG_MASK
        task: Any = state.pending.get(dispatch)
        in_hand = kind == messages.ERROR and task is not None and bool(task.options.retry_on)
        if in_hand:
            with self._core.lock:
                task = state.raised(dispatch)
        else:
            task = state.pending.pop(dispatch, None)
        if state.stops:
            with self._core.lock:
                state.stopped(dispatch)
        if task is None:
            return
        self._done[tag >> messages.SLOT_SHIFT] += 1
        try:
            if kind == messages.ERROR:
                self._core.raised += 1
            if not (in_hand and self._tried_again(task, data)):
                task.settle(kind, data, buffers)
        except BaseException as error:
            # What is unpickled may raise anything, also SystemExit: whoever waits for it gets that.
            task.settle_error(error)
        if in_hand:
            self._core.event(state.put_down)
        if task.job is not None:
            self._hungry.add(task.job)

    def notice(self, kind: int, tag: int, data: Any, buffers: Any) -> None:
        """Deal with everything else that a worker says."""
        core = self._core
        state = self._state
        slot = tag >> messages.SLOT_SHIFT
        dispatch = tag & messages.TAG_MASK
        if kind == messages.PART:
            task: Any = state.pending.get(dispatch)
            if task is not None:
                task.settle(kind, data, buffers)
        elif kind == messages.STARTED:
            core.event(state.started, dispatch, slot, time.monotonic())
        elif kind == messages.READY:
            core.activity.ready(slot, *pickle.loads(data))
            core.event(state.ready, slot)
        elif kind == messages.RETIRING:
            core.event(state.retiring, slot)
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
                self._core.exhausted(job)
                job.abandon(error)

    def worker_gone(self, slot: int, exit: Exit) -> None:
        """Everything a dead worker had sent has been dealt with."""
        core = self._core
        lease = core.tasks.lease(slot)
        taken = (lease.tag, lease.progress) if lease is not None else None
        core.tasks.release(slot)
        cause = self._causes.pop(slot, None)
        now = time.monotonic()
        core.event(self._state.gone, slot, exit, taken, sum(self._done), now, cause)

    def _tried_again(self, task: Any, data: Any) -> bool:
        """Schedule another attempt of a task that raised, if that is wanted."""
        error = pickling.decode(pickling.PICKLED, data, ()).revive()
        if not isinstance(error, task.options.retry_on):
            return False
        what = f"attempt {task.attempt}: raised {type(error).__qualname__}: {_text(error)}"
        return self._core.event(self._state.failed, task, what, time.monotonic())


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:
        return f"(its text raised {type(failure).__name__})"
