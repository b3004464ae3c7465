"""From what the state machine says of a failed task to the exception that its caller gets."""

from __future__ import annotations

import io
import pickle
import traceback
import weakref
from typing import TYPE_CHECKING, Any, ClassVar

from tines.errors import (
    EncodeError,
    NodeLostError,
    PoolBrokenError,
    TaskCancelledError,
    TaskTimeoutError,
    WorkerLostError,
)
from tines.pool.scheduler.commands import Broken, Cancelled, Failure, Lost, Terminated, TimedOut
from tines.pool.scheduler.task import Task
from tines.pool.worker.functions import describe_call, name_of, read_trailer
from tines.wire import messages, pickling
from tines.wire.tracebacks import add_note, whereabouts

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable, Sequence

    from tines.pool.worker.functions import Functions
    from tines.transport.contract import Buffer

__all__ = [
    "Unfetched",
    "broken_error",
    "describe_message",
    "describe_task",
    "described",
    "ended_error",
    "exception_for",
    "logger",
    "tell_dropped",
]


def logger() -> logging.Logger:
    """Return where the pool says what nobody asked for.

    Most pools have nothing to say, and ``logging`` has something to do in each forked child.
    """
    import logging

    return logging.getLogger("tines.pool")


class _Sketch(pickle.Unpickler):
    """Unpickles without running code of the user's: in place of their objects are their names.

    What killed a worker may have been just that code.
    """

    def find_class(self, module: str, name: str) -> object:
        root = module.partition(".")[0]
        if root in _HARMLESS or (module == "builtins" and name in _HARMLESS_BUILTINS):
            return super().find_class(module, name)
        known = name if module in ("__main__", "builtins") else f"{module}.{name}"
        return _Named(known, (_Anything,), {"__module__": "builtins"})


_HARMLESS = ("collections", "datetime", "decimal", "fractions", "numpy", "pathlib", "uuid")
_HARMLESS_BUILTINS = ("bytearray", "complex", "frozenset", "range", "set", "slice")


class _Named(type):
    """A class or a function that was not looked up."""

    def __repr__(cls) -> str:
        return cls.__name__


class _Anything:
    """An object that was not made: takes whatever unpickling does to it."""

    def __new__(cls, *_args: object, **_kwargs: object) -> Any:
        return object.__new__(cls)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __call__(self, *_args: object, **_kwargs: object) -> object:
        return self

    def _nothing(self, *_args: object) -> None:
        pass

    __init__ = __setstate__ = __setitem__ = append = extend = add = _nothing


def describe_task(task: Task, functions: Functions) -> str:
    """Return the function and a short form of the arguments: ``mod.f(1, 'abc', key=None)``."""
    if task.data is None:
        return "a task"
    return describe_message(task.kind, task.data, task.buffers, functions.name)


def describe_message(
    kind: int, data: Buffer, buffers: Sequence[Buffer], name: str | Callable[[int], str]
) -> str:
    """Return the function and a short form of the arguments in a message; of a chunk, the first's.

    Args:
        kind: The kind of the message.
        data: The encoded call or chunk.
        buffers: The large buffers that belong to it.
        name: What the function is called, or what says that of its number.
    """
    try:
        body = _Sketch(io.BytesIO(data), buffers=buffers).load()
        number, _ = read_trailer(data)
        if number == 0:
            function, body = body
            called = name_of(function)
        else:
            called = name if isinstance(name, str) else name(number)
        kind &= ~messages.TIMED
        if kind & messages.KEYWORDS:
            return describe_call(called, *body)
        if kind == messages.CALL:
            return describe_call(called, body, {})
        first = body[0] if kind in (messages.STAR, messages.STAR_EACH) else (body[0],)
        more = f" and {len(body) - 1:,} more" if len(body) > 1 else ""
        return describe_call(called, first, {}) + more
    except Exception:
        return "a task whose arguments do not unpickle here"


def described(task: Task) -> Task:
    """Return something with the encoded arguments of a task in it: a chunk keeps none."""
    if task.data is None and task.job is not None:
        description = Task()
        try:
            description.kind, description.data, description.buffers = task.encoded()
        except EncodeError:
            pass
        return description
    return task


def exception_for(
    task: Task, failure: Failure, functions: Functions, item: int | None = None
) -> BaseException:
    """Return the exception for a failure, with a note on what was running.

    Args:
        task: What failed.
        failure: How.
        functions: What knows their names.
        item: Which one of a map it was.
    """
    if isinstance(failure, Lost):
        call = describe_task(task, functions)
        error: Exception = _lost(call, failure)
        add_note(error, whereabouts(call, item, failure.exit.pid, failure.attempt))
        return error
    if isinstance(failure, TimedOut):
        call = describe_task(task, functions)
        error = TaskTimeoutError(
            f"{call} ran longer than timeout={failure.timeout:g} s, did "
            "not end when it was interrupted, and its worker was stopped",
            timeout=failure.timeout,
            attempt=failure.attempt,
        )
        add_note(error, whereabouts(call, item, failure.pid, failure.attempt))
        return error
    if isinstance(failure, Cancelled):
        how = "while it was running" if failure.started else "before it started"
        return TaskCancelledError(f"the task was cancelled {how}", started=failure.started)
    return ended_error(None if isinstance(failure, Terminated) else failure)


def ended_error(broken: Broken | None) -> BaseException:
    """Return the exception for what a pool that gave up, or else was terminated, leaves undone."""
    if broken is None:
        return TaskCancelledError("the pool was terminated before the task was finished")
    return broken_error(broken)


def tell_dropped(tasks: Iterable[Task]) -> None:
    """Say, once for a pool, that its ``with`` block was left with calls that had no outcome yet."""
    count = sum(task.stop - task.start - task.reported for task in tasks)
    if count:
        logger().warning(
            "leaving the `with` block dropped %d %s that had not finished: ask for the results inside "
            "the block, or call close() and join() at its end",
            count,
            "call" if count == 1 else "calls",
        )


def broken_error(failure: Broken) -> PoolBrokenError:
    """Return the exception of a pool that gave up."""
    error = PoolBrokenError(f"the pool gave up: {failure.reason}")
    error.__cause__ = failure.cause
    return error


def _lost(task: str, failure: Lost) -> WorkerLostError:
    exit = failure.exit
    if exit.node is not None:
        attempt = f" (attempt {failure.attempt})" if failure.attempt > 1 else ""
        return NodeLostError(
            f"{task} may have begun on node {exit.node}, which is lost{attempt}; tasks that may safely run "
            "twice can be given retries=",
            node=exit.node,
            task=task,
            attempt=failure.attempt,
            history=failure.history,
        )
    message = f"worker {exit.pid} {exit.description} while it was running {task}"
    if exit.out_of_memory:
        message += "; the kernel killed it because memory had run out"
    if failure.attempt > 1:
        message += f" (attempt {failure.attempt})"
    elif not exit.out_of_memory:
        message += "; tasks that may safely run twice can be given retries="
    if exit.dump:
        message += f"\n\n{exit.dump.rstrip()}"
    return WorkerLostError(
        message,
        pid=exit.pid,
        exitcode=exit.exitcode,
        dump=exit.dump,
        task=task,
        attempt=failure.attempt,
        history=failure.history,
        out_of_memory=exit.out_of_memory,
    )


class Unfetched:
    """An error that nobody has looked at yet; logs it when its result goes, unless somebody has.

    Made for failures only, so results that are well pay nothing for it.
    """

    # By id. Not a ``WeakSet``, which must not grow while another thread goes through it.
    _alive: ClassVar[dict[int, weakref.ref[Unfetched]]] = {}

    def __init__(self, pool: object, error: object) -> None:
        """Take an exception, or an encoded ``RemoteException``, which is decoded only to be logged.

        ``pool`` is any object that stands for one pool, see :meth:`log_all`.
        """
        self._pool = id(pool)
        self._error = error
        self._seen = False
        self._alive[id(self)] = weakref.ref(self)

    def seen(self) -> None:
        """Somebody has looked."""
        self._seen = True
        self._error = None

    def log(self) -> None:
        """Log it, once."""
        if self._seen:
            return
        error = self._error
        self.seen()
        if isinstance(error, BaseException):
            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        else:
            text = pickling.decode(pickling.PICKLED, error, ()).traceback
        logger().error("a task failed, and its exception was never retrieved:\n%s", text.rstrip())

    def __del__(self) -> None:
        try:
            self._alive.pop(id(self), None)
            self.log()
        except Exception:
            pass  # the interpreter is ending and has taken names away

    @classmethod
    def log_all(cls, pool: object) -> None:
        """Log what nobody has looked at of one pool."""
        for reference in cls._alive.copy().values():
            unfetched = reference()
            if unfetched is not None and unfetched._pool == id(pool):
                unfetched.log()
