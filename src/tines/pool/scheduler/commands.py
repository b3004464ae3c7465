"""What the state machine can say: how a task failed, and what is to be done."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

from tines.engines.contract import Exit
from tines.pool.scheduler.task import Task

__all__ = [
    "Break",
    "Broken",
    "Cancelled",
    "Fail",
    "Failure",
    "Instruction",
    "Instructions",
    "Lost",
    "Retire",
    "Send",
    "Shutdown",
    "StartWorker",
    "Step",
    "StopWorker",
    "Terminated",
    "TimedOut",
]


@dataclass(frozen=True)
class Lost:
    """The worker ended while it was running the task."""

    exit: Exit
    attempt: int
    history: tuple[str, ...]


@dataclass(frozen=True)
class TimedOut:
    """The task ran longer than it may, and its worker had to be ended."""

    timeout: float
    attempt: int
    pid: int | None = field(default=None, compare=False)
    """Its worker, for people."""


@dataclass(frozen=True)
class Cancelled:
    """Somebody cancelled the task."""

    started: bool


@dataclass(frozen=True)
class Terminated:
    """The pool was terminated with the task still to be finished."""


@dataclass(frozen=True)
class Broken:
    """The pool gave up. ``reason`` says why, ``cause`` is an exception if there was one."""

    reason: str
    cause: BaseException | None = None


Failure = Lost | TimedOut | Cancelled | Terminated | Broken


class Step(enum.Enum):
    """The ways of stopping what a worker does, in order."""

    INTERRUPT = "interrupt"
    TERMINATE = "terminate"
    KILL = "kill"


@dataclass(frozen=True)
class Send:
    """Give the task a dispatch number with ``submit`` and send it."""

    task: Task


@dataclass(frozen=True)
class Fail:
    """Deliver a failure to the task, which is over."""

    task: Task
    failure: Failure


@dataclass(frozen=True)
class StartWorker:
    """Start a worker in a slot."""

    slot: int


@dataclass(frozen=True)
class StopWorker:
    """Stop the worker in a slot, or only what it does.

    ``tag`` says on whose account; ``timeout`` is set if that task ran out of time.
    """

    slot: int
    step: Step
    tag: int = 0
    timeout: float | None = None


@dataclass(frozen=True)
class Retire:
    """Let so many workers leave, when they come to it."""

    count: int


@dataclass(frozen=True)
class Shutdown:
    """Everything is done: shut the tasks channel, upon which the workers leave."""


@dataclass(frozen=True)
class Break:
    """The pool has given up: stop all workers, fail what is open with this."""

    failure: Broken


Instruction = Send | Fail | StartWorker | StopWorker | Retire | Shutdown | Break
Instructions = Sequence[Instruction]
