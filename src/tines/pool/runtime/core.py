"""The pool's inside: what the threads of a pool share, where events become deeds, and the end.

A task's way: ``Dispatcher.submit`` (the caller's thread) -> the tasks channel -> a worker -> the results
channel -> ``Collector`` (the caller's thread, or the collector thread) -> ``settle`` of its result.

The core keeps no reference to the ``Pool`` that users hold, so that one can be collected.

Lock order: a job's lock, then the core's. The core's lock guards the state machine and is never held
while anything is sent, settled or called.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any

from tines.errors import TaskCancelledError
from tines.pool.jobs.back_pressure import Pressure
from tines.pool.jobs.failures import Unfetched, broken_error, described, exception_for
from tines.pool.runtime.activity import Activity
from tines.pool.runtime.arrivals import Arrivals
from tines.pool.runtime.collector import Collector
from tines.pool.runtime.dispatcher import CHANNEL_ENDED, Dispatcher
from tines.pool.runtime.meter import MemoryMeter
from tines.pool.runtime.supervisor import Supervisor
from tines.pool.scheduler.commands import (
    Break,
    Broken,
    Fail,
    Instruction,
    Retire,
    Send,
    Shutdown,
    StartWorker,
    StopWorker,
    Terminated,
)
from tines.pool.scheduler.phase import Phase
from tines.pool.scheduler.state import PoolState
from tines.pool.scheduler.task import Task
from tines.pool.worker import environment
from tines.pool.worker.functions import Functions
from tines.pool.worker.main import WorkerSpec
from tines.wire import messages

if TYPE_CHECKING:
    from tines.engines.contract import Engine
    from tines.pool.jobs.chunk import Job
    from tines.pool.jobs.result import ApplyResult
    from tines.pool.options import PoolOptions
    from tines.pool.worker.setup import Setup
    from tines.transport.contract import Transport

__all__ = ["Core"]

NOT_RUNNING = "Pool not running"


class Core:
    """See the module.

    Attributes:
        state: The state machine.
        tasks: The tasks channel.
        results: The results channel.
        functions: The numbers of functions.
        arrivals: What is done with results.
        collector: Takes them.
        supervisor: Watches over workers.
        pressure: How many bytes are under way.
        activity: When workers were started and ready.
        meter: Watches over their memory, if that is limited.
        dispatcher: Sends tasks.
        done: How many messages each slot has finished.
        raised: How many of them were exceptions.
        failed: How many tasks failed without an outcome.
    """

    def __init__(
        self, options: PoolOptions, setup: Setup, transport: Transport, engine: Engine
    ) -> None:
        self.options = options
        self.transport = transport
        self.slots = max(64, 4 * options.processes)
        self.state = PoolState(options)
        self.tasks = transport.channel(leases=self.slots)
        self.results = transport.channel()
        self.functions = Functions(transport)
        self.done = [0] * self.slots
        self.pressure = Pressure(self, options.buffer_bytes)
        self.activity = Activity(self.tasks, self.slots)
        self.failed = 0
        self.raised = 0
        self.lock = threading.Lock()
        self.broken: Broken | None = None
        self.arrivals = Arrivals(self)
        self.collector = Collector(self.results, self, atomic=transport.name == "ring")
        self.supervisor = Supervisor(self, engine)
        limit = options.max_memory_hard
        self.meter = None if limit is None else MemoryMeter(self, limit)
        self.dispatcher = Dispatcher(self)
        self._setup = setup

    def start(self) -> None:
        """Start workers and threads.

        Raises:
            Exception: a worker or thread cannot be started.
        """
        self._exit = Finalize(None, _end, (self,), exitpriority=15)
        _cores.add(self)
        try:
            self.event(self.state.start)
            error = self.supervisor.start_workers()
            self.supervisor.start()
        except BaseException:
            if self.supervisor.has_begun:  # Ctrl-C
                self.terminate()
                self.join()
            else:
                self.supervisor.give_up()
                self.finish()
                self.release()
            raise
        if error is not None:
            self.terminate()
            self.join()
            raise error

    # Jobs: any thread.

    def begin(self, job: Job) -> None:
        """Begin to feed a map or iterator."""
        with self.lock:
            if self.state.phase is not Phase.OPEN:
                self.refuse()
            self.state.jobs.add(job)
        try:
            job.feed()
        except BaseException:
            self.exhausted(job)
            raise

    def exhausted(self, job: Job) -> None:
        """A job has sent all of its input."""
        self.state.jobs.discard(job)
        if self.state.phase is Phase.CLOSED:
            self.check_drained()

    # For those who come too late: any thread.

    def refuse(self) -> None:
        """Say why no task is accepted."""
        phase = self.state.phase
        if phase is Phase.FORKED:
            raise ValueError(
                f"this pool belongs to process {os.getppid()}: its copy in a forked child (pid "
                f"{os.getpid()}) has no workers; make a pool of its own here"
            )
        if self.broken is not None:
            raise broken_error(self.broken)
        raise ValueError(NOT_RUNNING)

    def end_error(self) -> BaseException:
        """Return the error for what an ended pool leaves undone."""
        failure = self.broken or Terminated()
        return exception_for(Task(), failure, self.functions)

    def conclude(self, result: ApplyResult[Any]) -> None:
        """Have a result with callbacks call them, in the collector thread, and count as done."""
        self.collector.call_later(result.conclude)

    # Events and their instructions: any thread.

    def event(self, method: Callable[..., Any], *arguments: Any) -> bool:
        """Tell the state machine something and do what it says; whether it had an answer."""
        with self.lock:
            instructions = method(*arguments)
            if instructions is None:
                return False
            for instruction in instructions:
                if isinstance(instruction, (StartWorker, StopWorker)):
                    self.supervisor.order(instruction)
                elif isinstance(instruction, Break):
                    self.broken = instruction.failure
            deadline = self.state.next_deadline()
        self.supervisor.remind(deadline)
        self._carry_out(instructions)
        return True

    def _carry_out(self, instructions: Iterable[Instruction]) -> None:
        failed = self.failed
        for instruction in instructions:
            if isinstance(instruction, Send):
                try:
                    self.dispatcher.send_again(instruction.task)
                finally:
                    self.event(self.state.put_down)
            elif isinstance(instruction, Fail):
                self.failed += 1
                task: Any = instruction.task
                task.settle_error(
                    exception_for(described(task), instruction.failure, self.functions)
                )
            elif isinstance(instruction, Retire):
                for _ in range(instruction.count):
                    self.tasks.send(b"", (), messages.RETIRE)
            elif isinstance(instruction, Shutdown):
                self.tasks.shutdown()
                self.supervisor.wake()
            elif isinstance(instruction, Break):
                self._end_jobs()
                self.supervisor.wake()
        if self.failed != failed:
            self.collector.nudge()

    def over_memory(self, slot: int, tag: int, memory: int) -> None:
        """A worker that holds a task has more memory than any may have."""
        self.event(self.state.over_memory, slot, tag, memory)

    def unstartable(self, slot: int, error: BaseException) -> None:
        """A worker cannot be started."""
        self.event(self.state.unstartable, slot, error)

    def breaks(self, reason: str, error: BaseException) -> None:
        """Something of the pool's own cannot go on."""
        self.event(self.state.breaks, f"{reason}: {error}", error)

    def transport_lost(self, error: BaseException) -> None:
        """A channel failed under us: nothing, if that is because the pool has ended."""
        if self.state.phase.working:
            self.breaks("the way to its workers failed", error)

    # Cancelling: any thread.

    def holder(self, task: Task) -> int | None:
        """Return the slot of the worker that holds a task."""
        tag = task.tag
        try:
            for slot in list(self.state.workers):
                lease = self.tasks.lease(slot)
                if lease is not None and lease.tag == tag:
                    return slot
        except ValueError:
            pass  # the pool has ended meanwhile
        return None

    def cancel(self, tasks: Iterable[Task]) -> None:
        """Cancel tasks: take back what is queued, stop what runs."""
        for task in tasks:
            # Again, if its worker has died meanwhile and the task was sent anew.
            while not self._cancel(task):
                pass
        if self.state.phase is Phase.CLOSED:
            self.check_drained()

    def _cancel(self, task: Task) -> bool:
        tag = task.tag
        try:
            revoked = task.ticket >= 0 and self.tasks.revoke(task.ticket)
        except CHANNEL_ENDED:
            return True
        slot = None if revoked else self.holder(task)
        return self.event(self.state.cancel, task, tag, revoked, slot, time.monotonic())

    def cancel_job(self, job: Any) -> None:
        """Cancel a map: what was not sent will not be, the rest as in :meth:`cancel`."""
        self.exhausted(job)
        job.abandon(TaskCancelledError("the map was cancelled"))
        self.cancel([task for task in list(self.state.pending.values()) if task.job is job])

    # The end: any thread.

    def resize(self, processes: int) -> None:
        """Have more or fewer workers."""
        self.event(self.state.resize, processes)

    def close(self) -> None:
        """Accept no more tasks."""
        self.event(self.state.close)

    def check_drained(self) -> None:
        """Something was finished after ``close``: was it the last?"""
        state = self.state
        if not (state.pending or state.delayed or state.in_hand or state.jobs):
            self.event(state.drained)

    def terminate(self) -> None:
        """Stop everything now. Legal anywhere, also in callbacks."""
        if self.state.phase in (Phase.TERMINATED, Phase.FORKED):
            return
        self.event(self.state.terminate)
        self._end_jobs()
        self.supervisor.wake()

    def _end_jobs(self) -> None:
        try:
            self.tasks.shutdown(immediate=True)
        except CHANNEL_ENDED:
            pass
        for job in list(self.state.jobs):
            self.state.jobs.discard(job)
            job.abandon(self.end_error())

    def join(self) -> None:
        """Wait until the workers and threads have ended; not from one of those threads."""
        if self.collector.is_current:
            return
        if self.state.phase is Phase.CLOSED:
            for job in list(self.state.jobs):
                read_all = getattr(job, "feed_all", None)
                if read_all is not None:
                    read_all()
            self.check_drained()
        self.supervisor.join()
        self.collector.join()

    def await_end(self) -> None:
        """Wait until whoever ends the pool has settled everything."""
        if not self.collector.is_current:
            self.supervisor.join()

    def finish(self) -> None:
        """All workers are gone for good: the supervisor's last act."""
        with self.lock:
            # A call may have come in between the last look at what is pending and the channel's end, and
            # then found no worker that was still there to take it.
            done = self.state.phase is Phase.DRAINED and not self.state.pending
            rest = () if done else self.state.terminate()
        self._carry_out(rest)
        self._end_jobs()
        self.collector.stop()

    def release(self) -> None:
        """Let go of the channels, once nobody uses them."""
        self._exit.cancel()
        _cores.discard(self)
        self.functions.constants.clear()
        self.tasks.close()
        self.results.close()
        if self._setup.shared is not None:
            self._setup.shared.close()

    def spec(self, slot: int) -> WorkerSpec:
        """Return what the worker in a slot is told."""
        variables = environment.for_slot(self.options, slot)
        return WorkerSpec(slot, self.tasks, self.results, self._setup, variables)

    def log_unfetched(self) -> None:
        """Log the errors that nobody has looked at."""
        Unfetched.log_all(self)


def _end(core: Core) -> None:
    """The interpreter ends and the pool is still there."""
    core.terminate()
    core.join()
    core.log_unfetched()


# Those that were started and have not ended.
_cores: set[Core] = set()


def _disown() -> None:
    """In a forked child: the pools of the parent have no workers here.

    Nor have they threads, one of which may have held a lock: the copy can be closed and collected.
    """
    for core in _cores:
        core.lock = threading.Lock()
        core.state.phase = Phase.FORKED
        core.supervisor.disown()
    _cores.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown)
