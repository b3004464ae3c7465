"""A moment's picture of a pool. Taking one costs nothing that tasks would feel."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tines import _clock
from tines.engines.contract import Usage
from tines.pool.jobs.failures import describe_task, described
from tines.pool.runtime.activity import Times
from tines.pool.runtime.recent import FailureStatistics
from tines.pool.runtime.underway import MapStatistics, Underway

if TYPE_CHECKING:
    from tines.engines.contract import Running
    from tines.pool.runtime.activity import Activity
    from tines.pool.runtime.tally import Tally
    from tines.pool.scheduler.state import PoolState
    from tines.pool.scheduler.task import Task
    from tines.pool.worker.functions import Functions
    from tines.transport.contract import Channel

__all__ = [
    "FailureStatistics",
    "MapStatistics",
    "PoolStatistics",
    "Statistician",
    "WorkerStatistics",
]

LARGEST_DESCRIBED = 64 * 1024
"""Size in bytes up to which an encoded task is decoded again to say what it is."""

MOST_SHOWN = 32
"""How many workers have a row in what a notebook shows."""


@dataclass(frozen=True)
class WorkerStatistics:
    """One worker.

    Attributes:
        slot: Its place in the pool, which its replacement takes over.
        pid: Its process id.
        done: How many messages (calls or chunks) this slot has finished.
        task: What it is running, ``None`` if it waits.
        since: When it began that, as ``time.time()``; ``None`` if it waits.
        seconds: For how long it has been running that.
        items: How many items of it were begun.
        restarts: How many workers of this slot were replaced without having announced it.
        busy_seconds: For how long, since this process was ready, it has held tasks.
        idle_seconds: For how long it has held none.
        waiting_seconds: The part of ``busy_seconds`` in which it used no processor: its tasks waited
            for something, be it input, a lock or a free core. Tasks with several threads hide that.
        memory: Resident bytes of its own, without what it shares with others.
        cpu_seconds: Processor time it has used, for starting too.
        node: The node that it is on; ``None``: it is on this machine.
    """

    slot: int
    pid: int | None
    done: int
    task: str | None
    since: float | None
    seconds: float
    items: int
    restarts: int
    busy_seconds: float
    idle_seconds: float
    waiting_seconds: float
    memory: int
    cpu_seconds: float
    node: str | None = None


@dataclass(frozen=True)
class PoolStatistics:
    """The whole pool; totals count from its start.

    Attributes:
        processes: How many workers there are to be.
        queued: Messages (calls or chunks) that no worker has taken yet.
        queued_bytes: Their payload.
        running: Messages that workers hold.
        delayed: Tasks that wait for their next attempt.
        done: Messages finished.
        raised: Those of them that ended with an exception.
        lost: Tasks that failed without an outcome: worker lost, timeout, cancelled, terminated.
        retried: Further attempts.
        restarts: Workers that were replaced without having announced it.
        workers: The workers.
        maps: The maps and iterators that workers have in hand, and how far they are.
        failures: The last tasks that failed, the latest first.
    """

    processes: int
    queued: int
    queued_bytes: int
    running: int
    delayed: int
    done: int
    raised: int
    lost: int
    retried: int
    restarts: int
    workers: tuple[WorkerStatistics, ...]
    maps: tuple[MapStatistics, ...] = ()
    failures: tuple[FailureStatistics, ...] = ()

    @property
    def failed(self) -> int:
        """Tasks that ended with an exception, of whatever kind."""
        return self.raised + self.lost

    def _repr_html_(self) -> str:
        """What notebooks show."""
        return self.as_html("Pool")

    def as_html(self, title: str) -> str:
        """Return it as a small table for a notebook, under a title."""
        from tines.pool.runtime.notebook import bytes_of, table

        figures = [
            f"{self.processes:,} workers",
            f"{self.queued:,} queued ({bytes_of(self.queued_bytes)})",
            f"{self.running:,} running",
            f"{self.done:,} done",
        ]
        troubles = (
            (self.failed, "failed"),
            (self.delayed, "to be tried again"),
            (self.retried, "tried again"),
            (self.restarts, "workers replaced"),
        )
        figures += [f"{count:,} {what}" for count, what in troubles if count]
        if len(self.workers) > MOST_SHOWN:
            figures.append(f"the first {MOST_SHOWN} workers are shown")
        rows = [
            (
                str(worker.slot),
                "-" if worker.pid is None else str(worker.pid),
                "waiting" if worker.task is None else worker.task,
                "" if worker.task is None else f"{worker.seconds:.1f} s",
                f"{worker.done:,}",
                bytes_of(worker.memory) if worker.memory else "",
                f"{worker.cpu_seconds:.1f} s",
            )
            for worker in self.workers[:MOST_SHOWN]
        ]
        columns = ("slot", "pid", "task", "for", "done", "memory", "processor time")
        return table(title, figures, columns, rows)


class Statistician:
    """Takes the picture; any thread of the pool's own process may ask for it.

    Args:
        state: The state machine.
        tasks: The tasks channel, with the leases.
        workers: The workers, by slot.
        activity: What they have done with their time.
        tally: What was finished.
        functions: What tasks are described with.
    """

    def __init__(
        self,
        state: PoolState,
        tasks: Channel,
        workers: dict[int, Running],
        activity: Activity,
        tally: Tally,
        functions: Functions,
    ) -> None:
        self._state = state
        self._tasks = tasks
        self._workers = workers
        self._activity = activity
        self._tally = tally
        self._functions = functions
        self._underway = Underway()

    def take(self) -> PoolStatistics:
        """Return what the pool and each of its workers are doing at this moment."""
        held: list[tuple[Task, str]] = []
        workers = tuple(self._worker(slot, held) for slot in sorted(self._workers.copy()))
        state = self._state
        try:
            channel = self._tasks.statistics()
            queued, queued_bytes = channel.depth, channel.bytes
        except ValueError:  # the pool has ended
            queued = queued_bytes = 0
        return PoolStatistics(
            processes=state.target,
            queued=queued,
            queued_bytes=queued_bytes,
            running=sum(worker.task is not None for worker in workers),
            delayed=state.count_delayed,
            done=sum(self._tally.done),
            raised=self._tally.raised,
            lost=self._tally.failed,
            retried=state.retried,
            restarts=state.restarts,
            workers=workers,
            maps=self._underway.look(held),
            failures=self._tally.failures.recent(),
        )

    def _worker(self, slot: int, held: list[tuple[Task, str]]) -> WorkerStatistics:
        running = self._workers.get(slot)
        pid = running.pid if running is not None else None
        usage = running.usage() if running is not None else Usage()
        lease, times = None, Times(0.0, 0.0, 0.0)
        try:
            lease = self._tasks.lease(slot)
            if running is not None:
                times = self._activity.times(slot, usage.cpu_seconds)
        except ValueError:
            pass  # the pool has ended
        task = self._state.find(lease.tag) if lease is not None else None
        seconds = (
            _clock.monotonic() - lease.since if lease is not None and task is not None else 0.0
        )
        description = None
        if task is not None:
            description = describe(task, self._functions)
            held.append((task, description))
        return WorkerStatistics(
            slot=slot,
            pid=pid,
            done=self._tally.done[slot],
            task=description,
            since=None if task is None else time.time() - seconds,
            seconds=seconds,
            items=lease.progress if lease is not None and task is not None else 0,
            restarts=self._state.restarts_in(slot),
            busy_seconds=times.busy,
            idle_seconds=times.idle,
            waiting_seconds=times.waiting,
            memory=usage.memory,
            cpu_seconds=usage.cpu_seconds,
            node=None if running is None else running.node_name,
        )


def describe(task: Task, functions: Functions) -> str:
    """Return what a task is, while it may be ending."""
    data = task.data  # once: it is taken away as soon as the outcome is there
    if data is None or memoryview(data).nbytes <= LARGEST_DESCRIBED:
        return describe_task(described(task), functions)
    return "a large task"
