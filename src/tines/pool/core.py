"""The pool's inside: what the threads of a pool share, and where events become deeds.

A task's way: ``submit`` (the caller's thread) -> the tasks channel -> a worker -> the results channel ->
``Collector`` (the caller's thread, or the collector thread) -> ``settle`` of its result.

The core keeps no reference to the ``Pool`` that users hold, so that one can be collected.

Lock order: a job's lock, then the core's. The core's lock guards the state machine and is never held
while anything is sent, settled or called.
"""

from __future__ import annotations

import os
import pickle
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from itertools import islice
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING, Any

from tines.engines.contract import Exit
from tines.errors import EncodeError, QueueShutDown, TransportError
from tines.pool import environment
from tines.pool.activity import Activity
from tines.pool.collector import Collector
from tines.pool.failures import Unfetched, broken_error, exception_for
from tines.pool.functions import SHARED_FROM, Functions, encode_unnumbered
from tines.pool.instructions import (
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
from tines.pool.meter import MemoryMeter
from tines.pool.pressure import Pressure
from tines.pool.state import Phase, PoolState
from tines.pool.supervisor import Supervisor
from tines.pool.task import Task
from tines.pool.worker import WorkerSpec
from tines.wire import messages, pickling
from tines.wire.pickling import encode

if TYPE_CHECKING:
    from tines.engines.contract import Engine
    from tines.pool.chunk import Chunk, Job
    from tines.pool.options import PoolOptions
    from tines.pool.results import ApplyResult
    from tines.pool.startup import Setup
    from tines.transport.contract import Transport

__all__ = ["Core"]

NOT_RUNNING = "Pool not running"

# A channel that was closed in this process raises ValueError.
CHANNEL_ENDED = (QueueShutDown, TransportError, ValueError)
BURST = 32
"""How many chunks of a job are encoded before they are sent; fewer if they are large:"""
BURST_BYTES = 64 * 1024
ENDED = (Phase.TERMINATED, Phase.BROKEN, Phase.FORKED)


class Core:
    """See the module.

    Attributes:
        state: The state machine.
        tasks: The tasks channel.
        results: The results channel.
        functions: The numbers of functions.
        collector: Takes results.
        supervisor: Watches over workers.
        pressure: How many bytes are under way.
        activity: When workers were started and ready.
        meter: Watches over their memory, if that is limited.
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
        self.collector = Collector(self.results, self, atomic=transport.name == "ring")
        self.supervisor = Supervisor(self, engine)
        limit = options.max_memory_hard
        self.meter = None if limit is None else MemoryMeter(self, limit)
        self._setup = setup
        self._causes: dict[int, BaseException] = {}
        self._hungry: set[Any] = set()
        _cores.add(self)

    def start(self) -> None:
        """Start threads and workers.

        Raises:
            Exception: the first worker cannot be started.
        """
        self._exit = Finalize(None, _end, (self,), exitpriority=15)
        self.collector.start()
        try:
            self._event(self.state.start)
            self.supervisor.start()
        except BaseException:
            # No thread is there to end the other one, which would be waited for at exit.
            self.finish()
            self.collector.join()
            self.supervisor.disown()
            self.release()
            raise
        try:
            error = self.supervisor.wait_until_started()
            if error is not None:
                raise error
        except BaseException:
            self.terminate()
            self.join()
            raise

    # Submitting: any thread.

    def submit(self, task: ApplyResult[Any], func: Any, args: Any, kwds: Any) -> None:
        """Send a call.

        Raises:
            ValueError: the pool does not accept tasks any more.
            EncodeError: the call cannot be pickled.
        """
        state = self.state
        if state.phase is not Phase.OPEN:
            self.refuse()
        body = args if type(args) is tuple else tuple(args)
        if kwds:
            body = body, kwds
            task.kind = messages.CALL | messages.KEYWORDS
        reference = self.functions.refer(func)
        if reference is None:
            data, buffers = encode_unnumbered(func, body)
            if buffers or len(data) >= SHARED_FROM:
                constant = self.functions.refer_constant(func)
                if constant is not None:
                    reference, task.constant = constant
                    data, buffers = reference.encode(body)
        else:
            _, data, buffers = encode(body)
            trailer = reference.trailer
            data = data + trailer if type(data) is bytes else b"".join((data, trailer))
        if buffers or len(data) > self.pressure.heavy:
            self.pressure.admit(task, data, buffers)
        if task.options.timeout is not None:
            task.kind |= messages.TIMED
        if buffers and task.options.retries:
            # The caller may change its arrays meanwhile; the next attempt must see what this one saw.
            buffers = [bytearray(buffer) for buffer in buffers]
        task.data = data
        task.buffers = buffers
        self._send(task, task.kind, data, buffers)

    def _send(self, task: Any, kind: int, data: Any, buffers: Any) -> None:
        """Register a task and send its message; where the pool has ended, let it fail."""
        state = self.state
        tag = state.submit(task)
        try:
            if state.phase in ENDED:
                raise QueueShutDown
            task.ticket = self.tasks.send(data, buffers, kind, tag)
            if self.meter is not None:
                self.meter.busy()
        except CHANNEL_ENDED as error:
            if state.finished(tag) is not None:
                self.transport_lost(error)
                task.settle_error(self.end_error())
        except BaseException:
            state.finished(tag)
            self.pressure.done(id(task))
            raise

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

    def send_chunks(self, chunks: list[Chunk]) -> None:
        """Send chunks of a job, several at once; one that cannot be pickled fails."""
        position = 0
        try:
            while position < len(chunks):
                position += self._send_burst(chunks, position)
        except CHANNEL_ENDED as error:
            self.transport_lost(error)
        except BaseException as error:  # an interrupt, or no memory: the rest will not be sent
            self._give_up(error, (chunk for chunk in chunks if chunk.ticket < 0))
            raise
        if self.state.phase in ENDED:
            self._give_up(self.end_error(), chunks)
        elif chunks:
            self.collector.expect(chunks[0].express)
            if self.meter is not None:
                self.meter.busy()

    def _send_burst(self, chunks: list[Chunk], position: int) -> int:
        """Send some chunks under one hold of the channel's lock; return how many were dealt with."""
        encode_chunk = chunks[position].job.encode
        burst: list[Chunk] = []
        outgoing = []
        dealt_with = size = 0
        numbers = self.state.numbers
        for chunk in islice(chunks, position, position + BURST):
            dealt_with += 1
            try:
                kind, data, buffers = encode_chunk(chunk)
            except EncodeError as error:
                chunk.tag = -1
                chunk.settle_error(error)
                continue
            if buffers or len(data) > self.pressure.heavy:
                self.pressure.sent(chunk, data, buffers)
            burst.append(chunk)
            outgoing.append((kind, next(numbers), data, buffers))
            size += len(data)
            if buffers or size > BURST_BYTES:
                break
        self.state.submit_many(burst, [message[1] for message in outgoing])
        tickets: list[int] = []
        try:
            self.tasks.send_many(outgoing, None, tickets)
        finally:
            for chunk, ticket in zip(burst, tickets):
                chunk.ticket = ticket
        return dealt_with

    def _give_up(self, error: BaseException, chunks: Iterable[Chunk]) -> None:
        """Fail those of the chunks that nobody else will settle."""
        for chunk in chunks:
            if chunk.tag == 0 or self.state.finished(chunk.tag) is not None:
                chunk.settle_error(error)

    def exhausted(self, job: Job) -> None:
        """A job has sent all of its input."""
        self.state.jobs.discard(job)
        if self.state.phase is Phase.CLOSED:
            self.check_drained()

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

    # What arrives: the collector thread.

    def outcome(self, kind: int, tag: int, data: Any, buffers: Any) -> None:
        """Deal with the outcome of a dispatch."""
        state = self.state
        task: Any = state.pending.pop(tag & messages.TAG_MASK, None)
        if state.stops:
            with self.lock:
                state.stopped(tag & messages.TAG_MASK)
        if task is None:
            return
        self.done[tag >> messages.SLOT_SHIFT] += 1
        if kind == messages.ERROR:
            self.raised += 1
            if task.options.retry_on and self._tried_again(task, data):
                return
        task.settle(kind, data, buffers)
        if task.job is not None:
            self._hungry.add(task.job)

    def notice(self, kind: int, tag: int, data: Any, buffers: Any) -> None:
        """Deal with everything else that a worker says."""
        state = self.state
        slot = tag >> messages.SLOT_SHIFT
        dispatch = tag & messages.TAG_MASK
        if kind == messages.PART:
            task: Any = state.pending.get(dispatch)
            if task is not None:
                task.settle(kind, data, buffers)
        elif kind == messages.STARTED:
            self._event(state.started, dispatch, slot, time.monotonic())
        elif kind == messages.READY:
            self.activity.ready(slot, *pickle.loads(data))
            self._event(state.ready, slot)
        elif kind == messages.RETIRING:
            self._event(state.retiring, slot)
        elif kind == messages.UNREADY:
            self._causes[slot] = pickling.decode(pickling.PICKLED, data, buffers).revive()

    def after_batch(self) -> None:
        """Feed the maps whose chunks have come back."""
        while self._hungry:
            job = self._hungry.pop()
            try:
                job.refill()
            except BaseException as error:
                # No memory, or what some object raised as it was pickled: it costs this job alone,
                # not the thread that all depend on.
                self.exhausted(job)
                job.abandon(error)

    def worker_gone(self, slot: int, exit: Exit) -> None:
        """Everything a dead worker had sent has been dealt with."""
        lease = self.tasks.lease(slot)
        taken = (lease.tag, lease.progress) if lease is not None else None
        self.tasks.release(slot)
        cause = self._causes.pop(slot, None)
        now = time.monotonic()
        self._event(self.state.gone, slot, exit, taken, sum(self.done), now, cause)

    def _tried_again(self, task: Any, data: Any) -> bool:
        """Schedule another attempt of a task that raised, if that is wanted."""
        error = pickling.decode(pickling.PICKLED, data, ()).revive()
        if not isinstance(error, task.options.retry_on):
            return False
        what = f"attempt {task.attempt}: raised {type(error).__qualname__}: {error}"
        return self._event(self.state.failed, task, what, time.monotonic())

    def conclude(self, result: ApplyResult[Any]) -> None:
        """Have a result with callbacks call them, in the collector thread, and count as done."""
        self.collector.call_later(result.conclude)

    # Events and their instructions: any thread.

    def _event(self, method: Callable[..., Any], *arguments: Any) -> bool:
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
                self._send_again(instruction.task)
            elif isinstance(instruction, Fail):
                self.failed += 1
                task: Any = instruction.task
                task.settle_error(
                    exception_for(self.described(task), instruction.failure, self.functions)
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

    def _send_again(self, task: Any) -> None:
        try:
            kind, data, buffers = task.encoded()
        except EncodeError as error:
            task.settle_error(error)
        else:
            if task.job is not None:
                self.pressure.sent(task, data, buffers)
            self._send(task, kind, data, buffers)
            self.collector.expect(False)

    def described(self, task: Any) -> Task:
        """Return something with the encoded arguments of a task in it."""
        if task.data is None and task.job is not None:
            description = Task()
            try:
                description.kind, description.data, description.buffers = task.encoded()
            except EncodeError:
                pass
            return description
        return task  # type: ignore[no-any-return]

    def tick(self) -> float | None:
        """Do what is due; return when to call again."""
        self._event(self.state.tick, time.monotonic())
        with self.lock:
            return self.state.next_deadline()

    def over_memory(self, slot: int, tag: int, memory: int) -> None:
        """A worker that holds a task has more memory than any may have."""
        self._event(self.state.over_memory, slot, tag, memory)

    def unstartable(self, slot: int, error: BaseException) -> None:
        """A worker cannot be started."""
        self._event(self.state.unstartable, slot, error)

    def transport_lost(self, error: BaseException) -> None:
        """A channel failed under us: nothing, if that is because the pool has ended."""
        if self.state.phase in (Phase.OPEN, Phase.CLOSED, Phase.DRAINED):
            self._event(self.state.unstartable, -1, error)

    # Cancelling: any thread.

    def holder(self, task: Task) -> int | None:
        """Return the slot of the worker that holds a task."""
        for slot in list(self.state.workers):
            lease = self.tasks.lease(slot)
            if lease is not None and lease.tag == task.tag:
                return slot
        return None

    def cancel(self, tasks: Iterable[Task]) -> None:
        """Cancel tasks: take back what is queued, stop what runs."""
        for task in tasks:
            revoked = task.ticket >= 0 and self.tasks.revoke(task.ticket)
            slot = None if revoked else self.holder(task)
            self._event(self.state.cancel, task, revoked, slot, time.monotonic())

    def cancel_job(self, job: Any) -> None:
        """Cancel a map: what was not sent will not be, the rest as in :meth:`cancel`."""
        from tines.errors import TaskCancelledError

        self.exhausted(job)
        job.abandon(TaskCancelledError("the map was cancelled"))
        self.cancel([task for task in list(self.state.pending.values()) if task.job is job])

    # The end: any thread.

    def resize(self, processes: int) -> None:
        """Have more or fewer workers."""
        self._event(self.state.resize, processes)

    def close(self) -> None:
        """Accept no more tasks."""
        self._event(self.state.close)

    def check_drained(self) -> None:
        """Something was finished after ``close``: was it the last?"""
        state = self.state
        if not (state.pending or state.delayed or state.jobs):
            self._event(state.drained)

    def terminate(self) -> None:
        """Stop everything now. Legal anywhere, also in callbacks."""
        if self.state.phase in (Phase.TERMINATED, Phase.FORKED):
            return
        self._event(self.state.terminate)
        self._end_jobs()
        self.supervisor.wake()

    def _end_jobs(self) -> None:
        try:
            self.tasks.shutdown(immediate=True)
        except (TransportError, ValueError):
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
            rest = self.state.terminate() if self.state.phase is not Phase.DRAINED else ()
        self._carry_out(rest)
        self._end_jobs()
        self.collector.stop()

    def release(self) -> None:
        """Let go of the channels, once nobody uses them."""
        self._exit.cancel()
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


_cores: weakref.WeakSet[Core] = weakref.WeakSet()


def _disown() -> None:
    """In a forked child: the pools of the parent have no workers here."""
    for core in list(_cores):
        core.state.phase = Phase.FORKED
        core.supervisor.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown)
