"""Every decision of a pool, as one state machine: an event goes in, instructions come out.

No process, thread, clock or channel is in here. Times and facts come in as arguments; what is to be
done goes out as instructions, which the caller must carry out in order. So every order of events can
be tested without starting anything.

The life of a task::

    submit -> pending -> finished                          the caller delivers the result
                 |-----> failed -> delayed -> pending       raised what ``retry_on`` lists
                 |-----> (worker gone) -> pending           had not begun: sent again
                 |                     -> delayed           had begun, and may be tried again
                 |                     -> Fail(Lost)        had begun
                 `-----> cancel, terminate, broken -> Fail

Invariants:

* A task is in ``pending`` under the number of its latest dispatch, or delayed, or in the hand of a
  thread that will send it again or deliver its outcome, or over. Whoever takes it out of there delivers
  its one outcome, so nothing is delivered twice.
* While a thread has a task in hand that may be sent again, ``in_hand`` counts it: a closed pool is not
  drained before it was put down.
* A dispatch number is used once; what arrives under one that is not pending is dropped.
* Each task that was submitted gets exactly one of: being returned by ``finished``, an instruction
  ``Fail``. Parts that a task is split into count as tasks.

Nobody else touches its collections. Three kinds of methods:

* *Hot* ones, called for each task: ``submit``, ``find``, ``take``, ``finished``, and the plain attributes
  ``is_open``, ``is_closed``, ``has_ended``. One operation on a container each, in any thread at any time.
* *Looks*, which change nothing, in any thread too: ``open_tasks``, ``tasks_of``, ``open_jobs``,
  ``slots``, ``may_be_drained`` and the like. What they return may have moved on.
* *Events*, which answer with instructions. These are called under the owner's lock, and so is
  everything else.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

from tines.engines.contract import Exit
from tines.pool.options import PoolOptions
from tines.pool.scheduler.commands import (
    Break,
    Broken,
    Cancelled,
    Fail,
    Failure,
    Instruction,
    Instructions,
    Retire,
    Send,
    Shutdown,
    StartWorker,
    Step,
    StopWorker,
    Terminated,
)
from tines.pool.scheduler.deaths import death_of, for_excess, share_out, verdict
from tines.pool.scheduler.phase import Phase, Standing
from tines.pool.scheduler.restarts import RestartIntensity
from tines.pool.scheduler.stops import Stop
from tines.pool.scheduler.task import Job, Task
from tines.pool.scheduler.timers import Timers
from tines.pool.scheduler.worker import Worker

__all__ = ["PoolState", "Worker"]

LONGEST_BACKOFF = 3600.0

NOTHING: Instructions = ()


class PoolState(Standing):
    """See the module; where the pool stands is in the class above.

    Attributes:
        pending: Tasks sent and not finished, by dispatch number.
        delayed: Tasks that wait for their next attempt.
        in_hand: Instructions ``Send``, and tasks from :meth:`raised`, that were not put down yet.
        jobs: Maps and iterators that have not yet sent all of their input.
        workers: Workers that were started and have not been seen to end, by slot.
        stops: Dispatches that are timed, or being stopped.
        broken: Why the pool gave up, if it did.
        target: How many workers there are to be.
        find: Returns the task of a dispatch, which stays pending; ``None`` if there is none.
        take: As :meth:`finished`, with what is to be returned for an unknown one: for those who have
            thousands a moment, and no time for a call in between.
    """

    def __init__(self, options: PoolOptions, rng: random.Random | None = None) -> None:
        self.pending: dict[int, Task] = {}
        self.find = self.pending.get
        self.take = self.pending.pop
        self.delayed: set[Task] = set()
        self.in_hand = 0
        self.jobs: set[Job] = set()
        self.workers: dict[int, Worker] = {}
        self._move(Phase.OPEN)
        self.broken: Broken | None = None
        self.target = options.processes
        self.retried = 0
        self.restarts = 0
        self.restarts_of: dict[int, int] = {}
        self._options = options
        self._intensity = RestartIntensity(options.restarts)
        self._random = rng
        self._numbers = itertools.count(1)
        self._timers: Timers[Task | Stop] = Timers(self._holds)
        self.stops: dict[int, Stop] = {}

    # Hot: any thread, at any time.

    def submit(self, task: Task) -> int:
        """Give a task its dispatch number; it is pending from here on.

        The caller looks at ``has_ended`` afterwards: where the pool has meanwhile been ended, it takes
        the task out again with :meth:`finished`, unless whoever ended the pool was faster.
        """
        task.tag = tag = next(self._numbers)
        self.pending[tag] = task
        return tag

    def finished(self, tag: int) -> Task | None:
        """Take out the task whose outcome arrived; ``None``: nobody waits for it any more."""
        return self.pending.pop(tag, None)

    def input_ended(self, job: Job) -> None:
        """A job has sent all of its input. :meth:`drained` follows."""
        self.jobs.discard(job)

    # Looks: any thread, at any time.

    @property
    def has_pending(self) -> bool:
        """Whether outcomes are to come."""
        return bool(self.pending)

    @property
    def has_stops(self) -> bool:
        """Whether :meth:`stopped` wants to hear of what is over."""
        return bool(self.stops)

    @property
    def may_be_drained(self) -> bool:
        """Whether it is worth asking :meth:`drained`."""
        left = self.pending or self.delayed or self.in_hand or self.jobs
        return self.is_closed and not left

    @property
    def count_delayed(self) -> int:
        """How many tasks wait for their next attempt."""
        return len(self.delayed)

    def restarts_in(self, slot: int) -> int:
        """How many workers of a slot were replaced without having announced it."""
        return self.restarts_of.get(slot, 0)

    def open_tasks(self) -> list[Task]:
        """Return the tasks that are pending or delayed."""
        return [*list(self.pending.values()), *list(self.delayed)]

    def tasks_of(self, job: Job) -> list[Task]:
        """Return the chunks of a job that are pending or delayed.

        Among many jobs it looks at the numbers of this one alone: they are close together, as most
        jobs send in one go, or have few others beside them.
        """
        numbers = range(job.earliest, job.latest + 1)
        if len(numbers) < len(self.pending):
            pending: list[Task | None] = list(map(self.find, numbers))
        else:
            pending = list(self.pending.values())
        delayed = list(self.delayed) if job.retried else []
        return [task for task in (*pending, *delayed) if task is not None and task.job is job]

    def open_jobs(self) -> list[Job]:
        """Return the maps and iterators that have not yet sent all of their input."""
        return list(self.jobs)

    def slots(self) -> list[int]:
        """Return the slots with a worker."""
        return list(self.workers)

    # Events, and what belongs to them: under the owner's lock.

    def begin(self, job: Job) -> Instructions | None:
        """A map or iterator wants to send its input; ``None``: it comes too late."""
        if not self.is_open:
            return None
        self.jobs.add(job)
        return NOTHING

    def numbered(self, job: Job, first: int, last: int) -> None:
        """Note that chunks of a job are pending from one number to another."""
        job.earliest = min(job.earliest or first, first)
        job.latest = max(job.latest, last)

    def stopped(self, tag: int) -> None:
        """Note that a worker is through with a dispatch, so nothing has to be stopped there."""
        self.stops.pop(tag, None)

    def started(self, tag: int, slot: int, now: float) -> Instructions:
        """A timed task, or the next item of one, has begun in a worker."""
        task = self.pending.get(tag)
        if task is not None and task.options.timeout is not None:
            stop = Stop(tag, slot, task.options.grace, task.options.timeout)
            self.stops[tag] = stop
            self._timers.add(now + task.options.timeout, stop)
        return NOTHING

    def raised(self, tag: int) -> Task | None:
        """As :meth:`finished`, for an exception that may be a reason to try again. In hand from here on."""
        task = self.pending.pop(tag, None)
        if task is not None:
            self.in_hand += 1
        return task

    def failed(self, task: Task, what: str, now: float) -> Instructions | None:
        """A finished task raised what ``retry_on`` lists; ``None``: no attempt is left."""
        if task.attempt > task.options.retries or not self.phase.working:
            return None
        return self._again(task, what, now)

    def put_down(self) -> Instructions:
        """A task is not in hand any more: an instruction ``Send`` was carried out, or it is over."""
        self.in_hand -= 1
        return self.drained()

    def cancel(
        self, task: Task, tag: int, revoked: bool, slot: int | None, now: float
    ) -> Instructions | None:
        """Somebody wants a task gone.

        Args:
            task: The task.
            tag: The number of its dispatch when the caller looked where it was.
            revoked: Its message was taken back: no worker has it, none will.
            slot: Whose lease it is, if it was not revoked; ``None``: its result is on its way.
            now: The time.

        Returns:
            Nothing where it is too late; otherwise the task's failure, and how to stop it. ``None``: it
            was sent again since the caller looked, who would have an innocent worker stopped.
        """
        if task in self.delayed:
            self.delayed.discard(task)
            return (Fail(task, Cancelled(started=True)),)
        if task.tag != tag and not revoked:
            return None
        if not revoked and slot is None:
            return NOTHING
        if self.pending.pop(task.tag, None) is None:
            return NOTHING
        if slot is None:
            return (Fail(task, Cancelled(started=False)),)
        stop = Stop(task.tag, slot, task.options.grace, None)
        self.stops[task.tag] = stop
        return (Fail(task, Cancelled(started=True)), *self._step(stop, now))

    def start(self) -> Instructions:
        """Return how to get as many workers as there are to be."""
        missing = self.target - len(self.workers)
        free = (slot for slot in itertools.count() if slot not in self.workers)
        slots = list(itertools.islice(free, max(0, missing)))
        for slot in slots:
            self.workers[slot] = Worker(slot)
        return [StartWorker(slot) for slot in slots]

    def resize(self, target: int) -> Instructions:
        """There are to be so many workers from now on."""
        before, self.target = self.target, target
        if target >= before:
            return self.start()
        return (Retire(before - target),)

    def ready(self, slot: int) -> Instructions:
        """A worker has run its initializer."""
        self._intensity.ready()
        if slot in self.workers:
            self.workers[slot].ready = True
        return NOTHING

    def retiring(self, slot: int) -> Instructions:
        """A worker says that it leaves, having done its share."""
        if slot in self.workers:
            self.workers[slot].retiring = True
        return NOTHING

    def gone(
        self,
        slot: int,
        exit: Exit,
        taken: tuple[int, int] | None,
        finished: int,
        now: float,
        cause: BaseException | None = None,
    ) -> Instructions:
        """A worker has ended, and everything it had sent has been dealt with.

        Args:
            slot: Its slot.
            exit: How it ended.
            taken: Tag and progress of the lease it left.
            finished: How many tasks the pool has finished so far.
            now: The time.
            cause: The exception of its initializer, if that is why.
        """
        worker = self.workers.pop(slot, None) or Worker(slot)
        stop = task = None
        progress = 0
        if taken is not None:
            tag, progress = taken
            stop = self.stops.pop(tag, None)
            task = self.pending.pop(tag, None)
        if not self.phase.working:
            return self._fail_held(task)
        if exit.node is not None:
            return self._gone_with_node(exit, now)
        if worker.excess:
            exit = for_excess(exit, worker.excess, self._options.max_memory_hard)
        out: list[Instruction] = []
        if task is not None:
            out += self._lost(task, progress, exit, stop, now)
        elif not (worker.retiring or worker.stopping or stop or self.phase is Phase.DRAINED):
            broken = self._intensity.ended(worker.ready, exit, finished, now, cause)
            if broken is not None:
                return (*out, *self._break(broken))
        if self.phase is not Phase.DRAINED:
            if not worker.retiring:
                self.restarts += 1
                self.restarts_of[slot] = self.restarts_of.get(slot, 0) + 1
            out += self.start()
        return out

    def over_memory(self, slot: int, tag: int, memory: int) -> Instructions:
        """A worker was seen with more than ``max_memory_hard`` while it held a dispatch.

        It is killed, and what it holds when it dies is charged like any other death.
        """
        worker = self.workers.get(slot)
        if worker is None or worker.excess or not self.phase.working:
            return NOTHING
        worker.excess = memory
        return (StopWorker(slot, Step.KILL, tag),)

    def unstartable(self, slot: int, cause: BaseException) -> Instructions:
        """A worker could not be started at all; there is no point in trying again."""
        self.workers.pop(slot, None)
        return self.breaks("a worker could not be started", cause)

    def breaks(self, reason: str, cause: BaseException) -> Instructions:
        """Something of the pool's own, and not of a task's, cannot go on."""
        if not self.phase.working or self.phase is Phase.DRAINED:
            return NOTHING
        return self._break(Broken(reason, cause))

    def next_deadline(self) -> float | None:
        """When :meth:`tick` is to be called next."""
        return self._timers.next()

    def tick(self, now: float) -> Instructions:
        """Do what is due."""
        out: list[Instruction] = []
        for due in self._timers.due(now):
            if isinstance(due, Task):
                self.delayed.discard(due)
                out.append(self._send(due))
            else:
                out += self._step(due, now)
        return out

    def close(self) -> Instructions:
        """Accept no more tasks."""
        if self.is_open:
            self._move(Phase.CLOSED)
        return self.drained()

    def drained(self) -> Instructions:
        """Ask, whenever something was finished after :meth:`close`, whether it was the last."""
        if not self.may_be_drained:
            return NOTHING
        self._move(Phase.DRAINED)
        return (Shutdown(),)

    def terminate(self) -> Instructions:
        """Stop everything now; what is open fails."""
        if self.phase is not Phase.BROKEN:
            self._move(Phase.TERMINATED)
        for worker in self.workers.values():
            worker.stopping = True
        stops = [StopWorker(slot, Step.TERMINATE) for slot in self.workers]
        return (*stops, *self._fail_everything(Terminated()))

    def finish(self) -> Instructions:
        """All workers are gone for good: what is still open fails.

        A call may have come in between the last look at what is pending and the channel's end, and then
        found no worker that was still there to take it.
        """
        if self.phase is Phase.DRAINED and not self.pending:
            return NOTHING
        return self.terminate()

    def forked(self) -> Instructions:
        """This is the copy of a pool in a forked child."""
        self._move(Phase.FORKED)
        return NOTHING

    def _break(self, broken: Broken) -> Instructions:
        self.broken = broken
        self._move(Phase.BROKEN)
        return (Break(broken), *self._fail_everything(broken))

    def _holds(self, due: Task | Stop) -> bool:
        if isinstance(due, Task):
            return due in self.delayed
        return self.stops.get(due.tag) is due

    def _step(self, stop: Stop, now: float) -> Instructions:
        """Take the next step of stopping a dispatch, and set the time for the one after."""
        if stop.slot not in self.workers or not stop.steps:
            return NOTHING
        step = stop.steps.pop(0)
        if stop.steps:
            self._timers.add(now + stop.grace, stop)
        return (StopWorker(stop.slot, step, stop.tag, stop.timeout),)

    def _lost(
        self, task: Task, progress: int | None, exit: Exit, stop: Stop | None, now: float
    ) -> Instructions:
        """Carry out what ``deaths.py`` says of what a dead worker held."""
        free, item = share_out(task, progress)
        out: list[Instruction] = [self._send(part) for part in free]
        if item is None:
            return out
        failure = verdict(item, exit, None if stop is None else stop.exceeded)
        if failure is not None:
            out.append(Fail(item, failure))
        else:
            out += self._again(item, death_of(item, exit), now)
        return out

    def _gone_with_node(self, exit: Exit, now: float) -> Instructions:
        """Carry out what the loss of a node means for one of its workers, whose fault it was not."""
        out: list[Instruction] = []
        for tag in exit.dispatches:
            stop, task = self.stops.pop(tag, None), self.pending.pop(tag, None)
            if task is not None:
                out += self._lost(task, None, exit, stop, now)
        self.restarts += 1
        return out if self.phase is Phase.DRAINED else [*out, *self.start()]

    def _again(self, task: Task, what: str, now: float) -> Instructions:
        """Schedule the next attempt."""
        self.retried += 1
        if task.job is not None:
            task.job.retried += 1
        delay = task.options.backoff * 2.0 ** min(task.attempt - 1, 30)
        task.history = (*task.history, what)
        task.attempt += 1
        task.reported = task.unbegun = 0
        if delay <= 0:
            return (self._send(task),)
        self.delayed.add(task)
        if self._random is None:
            self._random = random.Random()
        self._timers.add(now + min(delay, LONGEST_BACKOFF) * self._random.uniform(0.5, 1.5), task)
        return NOTHING

    def _send(self, task: Task) -> Send:
        self.in_hand += 1
        return Send(task)

    def _fail_held(self, task: Task | None) -> Instructions:
        return NOTHING if task is None else (Fail(task, Terminated()),)

    def _fail_everything(self, failure: Failure) -> list[Instruction]:
        tasks: Iterable[Task | None] = [self.pending.pop(tag, None) for tag in list(self.pending)]
        failed = [Fail(task, failure) for task in (*tasks, *self.delayed) if task is not None]
        self.delayed.clear()
        self.stops.clear()
        self._timers.clear()
        return list(failed)
