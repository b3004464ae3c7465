"""Cancelling: take back what is queued, stop what runs. Any thread."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import TYPE_CHECKING

from tines import _clock
from tines.errors import TaskCancelledError
from tines.pool.runtime.dispatcher import CHANNEL_ENDED
from tines.pool.scheduler.state import PoolState

if TYPE_CHECKING:
    from tines.pool.runtime.machine import Machine
    from tines.pool.scheduler.task import Job, Task
    from tines.transport.contract import Channel

__all__ = ["Cancelling"]


class Cancelling:
    """See the module.

    Args:
        machine: Decides what is to be done.
        tasks: The tasks channel, which knows where a task is.
    """

    def __init__(self, machine: Machine, tasks: Channel) -> None:
        self._machine = machine
        self._tasks = tasks

    def holder(self, task: Task) -> int | None:
        """Return the slot of the worker that holds a task."""
        tag = task.tag
        try:
            for slot in self._machine.state.slots():
                lease = self._tasks.lease(slot)
                if lease is not None and lease.tag == tag:
                    return slot
        except ValueError:
            pass  # the pool has ended meanwhile
        return None

    def cancel(self, tasks: Iterable[Task]) -> None:
        """Cancel tasks: take back what is queued, stop what runs.

        The newest first: those that run come last, or a worker that was stopped would take up the next
        before it can be taken back.
        """
        for task in sorted(tasks, key=attrgetter("tag"), reverse=True):
            # Again, if its worker has died meanwhile and the task was sent anew.
            while not self._cancel(task):
                pass
        self._machine.check_drained()

    def revoke(self, task: Task) -> bool:
        """Cancel a task that no worker has yet; whether it is one."""
        tag = task.tag
        if not self._revoked(task):
            return False
        self._machine.event(PoolState.cancel, task, tag, True, None, _clock.monotonic())
        self._machine.check_drained()
        return True

    def cancel_job(self, job: Job) -> None:
        """Cancel a map: what was not sent will not be, the rest as in :meth:`cancel`."""
        job.withdrawn = True
        self._machine.exhausted(job)
        job.abandon(TaskCancelledError("the map was cancelled"))
        self.cancel(self._machine.state.tasks_of(job))

    def _cancel(self, task: Task) -> bool:
        tag = task.tag
        try:
            revoked = self._revoked(task)
        except CHANNEL_ENDED:
            return True
        slot = None if revoked else self.holder(task)
        now = _clock.monotonic()
        return self._machine.event(PoolState.cancel, task, tag, revoked, slot, now)

    def _revoked(self, task: Task) -> bool:
        return task.ticket >= 0 and self._tasks.revoke(task.ticket)
