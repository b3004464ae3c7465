"""The state machine under its lock: the one place where events go in and what they answer is done.

Any thread may bring an event. Under the lock it is decided, and what is to be done about workers is
ordered, so that orders stand in the order of decisions. Everything else is carried out after the lock
was given back: it is never held while anything is sent, settled or called.

Lock order: a job's lock, then this one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol

from tines.pool.jobs.failures import broken_error, ended_error
from tines.pool.scheduler.commands import Instruction, Instructions, StartWorker, StopWorker
from tines.pool.scheduler.state import PoolState

if TYPE_CHECKING:
    from tines.pool.scheduler.task import Job, Task

__all__ = ["Effects", "Machine"]

P = ParamSpec("P")

NOT_RUNNING = "Pool not running"


class Effects(Protocol):
    """What is done about what the machine says."""

    def order(self, instruction: StartWorker | StopWorker) -> None:
        """Have a worker started or stopped. Under the lock: keeps the order, does nothing else."""

    def remind(self, deadline: float | None) -> None:
        """The machine is to be asked again at this time."""

    def carry_out(self, instructions: Iterable[Instruction]) -> None:
        """Do everything else. Without the lock."""

    def end_jobs(self) -> None:
        """Nothing more is sent: every job and whoever sleeps is to hear of it."""

    def await_end(self) -> None:
        """Wait until whoever ends the pool has settled everything."""


class Machine:
    """See the module.

    Attributes:
        state: The state machine.
        lock: Guards it.
        effects: What does the deeds. Set once, before the first event.
    """

    effects: Effects

    def __init__(self, state: PoolState) -> None:
        self.state = state
        self.lock = threading.Lock()

    def event(
        self,
        method: Callable[Concatenate[PoolState, P], Instructions | None],
        *arguments: P.args,
        **keywords: P.kwargs,
    ) -> bool:
        """Tell the state machine something and do what it says; whether it had an answer."""
        effects = self.effects
        with self.lock:
            instructions = method(self.state, *arguments, **keywords)
            if instructions is None:
                return False
            for instruction in instructions:
                if isinstance(instruction, (StartWorker, StopWorker)):
                    effects.order(instruction)
            deadline = self.state.next_deadline()
        effects.remind(deadline)
        effects.carry_out(instructions)
        return True

    # What is not an event, but belongs under the lock.

    def raised(self, tag: int) -> Task | None:
        """Take in hand a task that raised, and may be tried again."""
        with self.lock:
            return self.state.raised(tag)

    def stopped(self, tag: int) -> None:
        """A worker is through with a dispatch that may have had to be stopped."""
        with self.lock:
            self.state.stopped(tag)

    def next_deadline(self, keep: Callable[[float | None], object]) -> float | None:
        """Return when the machine is to be asked again; ``keep`` is told under the lock."""
        with self.lock:
            deadline = self.state.next_deadline()
            keep(deadline)
        return deadline

    # Jobs.

    def begin(self, job: Job) -> None:
        """Begin to feed a map or iterator."""
        if not self.event(PoolState.begin, job):
            self.refuse()
        try:
            job.feed()
        except BaseException:
            self.exhausted(job)
            raise

    def numbered(self, job: Job, first: int, last: int) -> None:
        """Chunks of a job are pending under these numbers, and any in between; not sent yet."""
        with self.lock:
            self.state.numbered(job, first, last)

    def exhausted(self, job: Job) -> None:
        """A job has sent all of its input."""
        self.state.input_ended(job)
        self.check_drained()

    def check_drained(self) -> None:
        """Something was finished: was it, after ``close``, the last?"""
        if self.state.may_be_drained:
            self.event(PoolState.drained)

    # For those who come too late.

    def refuse(self) -> None:
        """Say why no task is accepted."""
        state = self.state
        if state.is_copy:
            raise ValueError(
                f"this pool belongs to process {os.getppid()}: its copy in a forked child (pid "
                f"{os.getpid()}) has no workers; make a pool of its own here"
            )
        if state.broken is not None:
            raise broken_error(state.broken)
        raise ValueError(NOT_RUNNING)

    def end_error(self) -> BaseException:
        """Return the error for what an ended pool leaves undone."""
        return ended_error(self.state.broken)

    # What goes wrong, and the end.

    def breaks(self, reason: str, error: BaseException) -> None:
        """Something of the pool's own cannot go on."""
        self.event(PoolState.breaks, f"{reason}: {error}", error)

    def transport_lost(self, error: BaseException) -> None:
        """A channel failed under us: nothing, if that is because the pool has ended."""
        if not self.state.has_ended:
            self.breaks("the way to its workers failed", error)

    def terminate(self) -> None:
        """Stop everything now. Legal anywhere, also in callbacks."""
        if not (self.state.is_terminated or self.state.is_copy):
            self.event(PoolState.terminate)
            self.effects.end_jobs()

    def finish(self) -> None:
        """All workers are gone for good."""
        self.event(PoolState.finish)
        self.effects.end_jobs()

    def await_end(self) -> None:
        """Wait until whoever ends the pool has settled everything."""
        self.effects.await_end()

    def disown(self) -> None:
        """In a forked child: a thread that is not here may have held the lock."""
        self.lock = threading.Lock()
        with self.lock:
            self.state.forked()
