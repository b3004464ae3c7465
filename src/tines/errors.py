"""Every error that tines raises by name; imports nothing of the project.

The tree::

    TinesError
    |- WaitTimeout            also multiprocessing.TimeoutError and the built-in TimeoutError
    |- TaskTimeoutError       the same two: the task itself ran longer than its ``timeout=``
    |- TaskCancelledError     the task was cancelled before it could finish
    |- ProcessLostError       a process ended without handing back its outcome
    |  `- WorkerLostError     a pool worker ended while it was running a task
    |     `- NodeLostError    the whole node was lost where a task may have begun
    |- PoolBrokenError        workers die faster than they finish anything, or cannot start
    |- EncodeError            also pickle.PicklingError and TypeError: raised where the object was given
    |- DecodeError            also pickle.UnpicklingError: costs one ``get``, nothing else
    |- ResultEncodeError      the task ran, but what it returned (or raised) cannot be sent back
    |- QueueShutDown          also ValueError: the queue was ended with ``shutdown()``
    |- TransportError         also OSError: the transport under a queue or pool is gone or refused
    `- StartError             also RuntimeError and AssertionError: not possible in the state a process is in
       `- NodeMismatchError   a node has another version of Python or tines than the program

``queue.Empty`` and ``queue.Full`` are the standard library's own, and a closed queue or pool is a
plain ``ValueError``, as in the standard library. Each error carries its data as attributes, and all
of them survive pickling with those attributes.
"""

from __future__ import annotations

import builtins
import multiprocessing
import pickle
import signal

# Not from ``typing``: every child imports this, and would import that with it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "DecodeError",
    "EncodeError",
    "NodeLostError",
    "NodeMismatchError",
    "PoolBrokenError",
    "ProcessLostError",
    "QueueShutDown",
    "ResultEncodeError",
    "StartError",
    "TaskCancelledError",
    "TaskTimeoutError",
    "TinesError",
    "TransportError",
    "WaitTimeout",
    "WorkerLostError",
    "describe_exit",
    "signal_name",
]


def signal_name(exitcode: int | None) -> str | None:
    """Return ``"SIGKILL"`` for exit code -9 and so on; ``None`` when no signal ended the process."""
    if exitcode is None or exitcode >= 0:
        return None
    if exitcode == -9:
        return "SIGKILL"  # Windows has no name for it
    try:
        return signal.Signals(-exitcode).name
    except ValueError:
        return f"signal {-exitcode}"


def describe_exit(exitcode: int | None) -> str:
    """Say how a process ended: ``was killed by SIGKILL``, ``exited with code 3``, ``disappeared``."""
    if exitcode is None:
        return "disappeared"
    name = signal_name(exitcode)
    return f"was killed by {name}" if name else f"exited with code {exitcode}"


class TinesError(Exception):
    """Base of all errors that are tines' own.

    Subclasses keep their data in ``__dict__``, which pickles beside the message, so that no
    constructor has to be callable with the message alone.
    """

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))


def _rebuild(
    cls: type[TinesError], args: tuple[object, ...], state: dict[str, object]
) -> TinesError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class WaitTimeout(TinesError, multiprocessing.TimeoutError, builtins.TimeoutError):
    """What was waited for did not happen within ``timeout`` seconds; it may still happen."""


class TaskTimeoutError(TinesError, multiprocessing.TimeoutError, builtins.TimeoutError):
    """A task ran longer than its ``timeout=`` and was stopped.

    Attributes:
        timeout: The limit in seconds, counted from the start of the task in its worker.
        attempt: Which attempt ran out of time, counted from 1.
    """

    def __init__(self, message: str, *, timeout: float | None = None, attempt: int = 1) -> None:
        super().__init__(message)
        self.timeout = timeout
        self.attempt = attempt


class TaskCancelledError(TinesError):
    """The task was cancelled; ``started`` says whether it had begun to run."""

    def __init__(self, message: str = "the task was cancelled", *, started: bool = False) -> None:
        super().__init__(message)
        self.started = started


class ProcessLostError(TinesError):
    """A process ended without handing back an outcome.

    Attributes:
        pid: Process id, or ``None`` if it never started.
        exitcode: As in ``Process.exitcode``; negative for a signal.
        signal: Name of that signal, or ``None``.
        dump: The faulthandler dump that the process left, or ``None``.
    """

    def __init__(
        self,
        message: str,
        *,
        pid: int | None = None,
        exitcode: int | None = None,
        dump: str | None = None,
    ) -> None:
        super().__init__(message)
        self.pid = pid
        self.exitcode = exitcode
        self.signal = signal_name(exitcode)
        self.dump = dump


class WorkerLostError(ProcessLostError):
    """A pool worker ended while it was running this task; only this task fails.

    Attributes:
        task: The function and a short form of its arguments.
        attempt: The attempt that was running, counted from 1.
        history: How each attempt ended, oldest first.
        out_of_memory: Whether the kernel's counters say that it was killed for memory.
    """

    def __init__(
        self,
        message: str,
        *,
        pid: int | None = None,
        exitcode: int | None = None,
        dump: str | None = None,
        task: str = "",
        attempt: int = 1,
        history: tuple[str, ...] = (),
        out_of_memory: bool = False,
    ) -> None:
        super().__init__(message, pid=pid, exitcode=exitcode, dump=dump)
        self.task = task
        self.attempt = attempt
        self.history = history
        self.out_of_memory = out_of_memory


class NodeLostError(WorkerLostError):
    """A node was lost, and the task may have begun on it; it was not tried again.

    Attributes:
        node: The name of the node.
    """

    def __init__(
        self,
        message: str,
        *,
        node: str = "",
        task: str = "",
        attempt: int = 1,
        history: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, task=task, attempt=attempt, history=history)
        self.node = node


class PoolBrokenError(TinesError):
    """The pool gave up: workers die, or fail to start, faster than they finish anything."""


class EncodeError(TinesError, pickle.PicklingError, TypeError):
    """An object cannot be pickled; raised at once, in the caller, naming the object."""


class DecodeError(TinesError, pickle.UnpicklingError):
    """A received message does not unpickle. The message is consumed; the queue goes on.

    Attributes:
        received: What else the same call had received, in order; only ``get_many`` receives more.
    """

    received: list[Any] = []


class ResultEncodeError(TinesError):
    """The task ran, but its result cannot be sent back; the message names the result."""


class QueueShutDown(TinesError, ValueError):
    """The queue was shut down: ``put`` after that, or ``get`` once it has drained."""


class TransportError(TinesError, OSError):
    """The transport is gone or refused: its owner died, or no memory or descriptor was left."""


class StartError(TinesError, RuntimeError, AssertionError):
    """A process cannot be started in this state; the message shows the fix."""


class NodeMismatchError(StartError):
    """A node cannot be used: it has another version of Python, or of tines, than the program."""
