"""What can be asked of a pool, and of one call: frozen, checked where they are made."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, SupportsIndex, TypedDict

from tines._arguments import no_such_option, whole_number
from tines._config import available_cpus

__all__ = [
    "DEFAULT",
    "PoolKeywords",
    "PoolOptions",
    "TaskKeywords",
    "TaskOptions",
    "pool_options",
    "seconds",
]


def seconds(name: str, value: Any, *, zero: bool) -> float:
    """Return ``value`` as a number of seconds, above zero, or zero too; numbers of NumPy are accepted.

    Raises:
        TypeError: it is not a number.
        ValueError: it is out of range.
    """
    if isinstance(value, (str, bytes, bool)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    if not (value >= 0 if zero else value > 0):
        raise ValueError(f"{name}={value!r} must be {'zero or more' if zero else 'above zero'}")
    return value if type(value) is int else float(value)


@dataclass(frozen=True)
class TaskOptions:
    """How one call, or each item of one map, is handled.

    Attributes:
        retries: How many further attempts a task gets after one that ended its worker, or that
            raised something listed in ``retry_on``.
        retry_on: Exception types after which the task is tried again.
        backoff: Seconds before the second attempt; doubled each time, with jitter.
        timeout: Seconds from the start of the task in its worker until it is stopped.
        grace: Seconds between the steps of stopping: exception, SIGTERM, SIGKILL.
        return_exceptions: Hand out the exception of a task that failed in the place of its value, as
            ``asyncio.gather`` has it. That the pool ended, the map was cancelled, or its input raised, is
            still raised.
    """

    retries: int = 0
    retry_on: tuple[type[BaseException], ...] = ()
    backoff: float = 0.0
    timeout: float | None = None
    grace: float = 1.0
    return_exceptions: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "retries", whole_number("retries", self.retries, least=0))
        if isinstance(self.retry_on, type):
            object.__setattr__(self, "retry_on", (self.retry_on,))
        if isinstance(self.retry_on, str) or not isinstance(self.retry_on, Iterable):
            raise TypeError(
                f"retry_on={self.retry_on!r} must list exception types, as in (OSError, TimeoutError)"
            )
        for kind in self.retry_on:
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise TypeError(f"retry_on must list exception types; {kind!r} is not one")
        object.__setattr__(self, "retry_on", tuple(self.retry_on))
        object.__setattr__(self, "backoff", seconds("backoff", self.backoff, zero=True))
        object.__setattr__(self, "grace", seconds("grace", self.grace, zero=True))
        if not isinstance(self.return_exceptions, bool):
            raise TypeError(f"return_exceptions={self.return_exceptions!r} must be True or False")
        if self.timeout is not None:
            object.__setattr__(self, "timeout", seconds("timeout", self.timeout, zero=False))
            if self.timeout == float("inf"):  # no limit at all, so nothing has to be watched
                object.__setattr__(self, "timeout", None)

    def changed(self, given: dict[str, Any]) -> TaskOptions:
        """Return these options with those in ``given`` replaced.

        Raises:
            TypeError: there is no option of a given name.
        """
        for name in given:
            if name not in TaskOptions.__dataclass_fields__:
                raise no_such_option("task option", name, TaskOptions.__dataclass_fields__)
        return replace(self, **given) if given else self


DEFAULT = TaskOptions()


@dataclass(frozen=True)
class PoolOptions:
    """How a pool behaves.

    Attributes:
        processes: How many workers.
        maxtasksperchild: After how many tasks a worker is replaced; ``None`` never.
        max_memory: Bytes of resident memory of its own from which a worker is replaced, after the
            task that it is running.
        max_memory_hard: The same, but the worker is killed, and its task fails with
            ``WorkerLostError`` (or is tried again, with ``retries``). If only this is given, a
            worker that is above it after its task is replaced, so that the next one does not
            suffer for it.
        niceness: Added to the workers' niceness.
        affinity: The cores the workers may use; ``None`` leaves it alone.
        inner_threads: How many threads OpenMP, BLAS and the like may use in each worker; ``"auto"``
            shares the usable cores out among the workers, unless the environment already says
            something; ``None`` leaves it alone.
        cuda_devices: What ``CUDA_VISIBLE_DEVICES`` is in each slot; slot *n* gets entry *n*, and
            after the last entry comes the first. A replacement keeps its slot's.
        max_restarts: How many workers in a row may end without a task to blame, and without
            anything being finished in between, before the pool gives up. ``None``: three for each worker.
        buffersize: How many items ``imap`` and ``imap_unordered`` read ahead at most; ``None``
            adapts to the consumer.
        buffer_bytes: How many bytes of large arguments may be under way at once, and for iterators
            also of results that the consumer has not taken. Maps and iterators then send no more,
            and calls wait in ``apply_async``. An item that is larger goes alone. ``None``: 256 MB
            for maps and iterators, a quarter of the memory for calls.
        task: What calls get that do not say otherwise.
    """

    processes: int
    maxtasksperchild: int | None = None
    max_memory: int | None = None
    max_memory_hard: int | None = None
    niceness: int = 0
    affinity: tuple[int, ...] | None = None
    inner_threads: int | Literal["auto"] | None = None
    cuda_devices: tuple[str, ...] | None = None
    max_restarts: int | None = None
    buffersize: int | None = None
    buffer_bytes: int | None = None
    task: TaskOptions = field(default=DEFAULT)

    def __post_init__(self) -> None:
        object.__setattr__(self, "processes", whole_number("processes", self.processes))
        if self.processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if self.maxtasksperchild is not None:
            object.__setattr__(self, "maxtasksperchild", _share(self.maxtasksperchild))
        object.__setattr__(self, "niceness", whole_number("niceness", self.niceness))
        for name in (
            "max_memory",
            "max_memory_hard",
            "max_restarts",
            "buffersize",
            "buffer_bytes",
        ):
            if getattr(self, name) is not None:
                number = whole_number(name, getattr(self, name), least=1)
                object.__setattr__(self, name, number)
        if self.max_memory is not None and self.max_memory > (self.max_memory_hard or 1 << 64):
            raise ValueError(
                f"max_memory={self.max_memory} is above max_memory_hard={self.max_memory_hard}: "
                "workers would be killed before they could be replaced"
            )
        if self.inner_threads not in (None, "auto"):
            threads = whole_number("inner_threads", self.inner_threads, least=1)
            object.__setattr__(self, "inner_threads", threads)
        if self.affinity is not None:
            object.__setattr__(self, "affinity", _cores(self.affinity))
        if self.cuda_devices is not None:
            object.__setattr__(self, "cuda_devices", _device_names(self.cuda_devices))

    @property
    def memory_to_leave(self) -> int | None:
        """From how many bytes on a worker leaves after its task."""
        return self.max_memory_hard if self.max_memory is None else self.max_memory

    @property
    def threads(self) -> int | None:
        """``inner_threads`` as a number, if there is to be one."""
        if self.inner_threads == "auto":
            return max(1, available_cpus() // self.processes)
        return self.inner_threads

    @property
    def restarts(self) -> int:
        """``max_restarts``, with its default worked out."""
        return 3 * self.processes if self.max_restarts is None else self.max_restarts


class TaskKeywords(TypedDict, total=False):
    """Options of one call; what :class:`TaskOptions` is made from."""

    retries: int
    retry_on: type[BaseException] | tuple[type[BaseException], ...]
    backoff: float
    timeout: float | None
    grace: float
    return_exceptions: bool


class PoolKeywords(TaskKeywords, total=False):
    """Options of a pool, and those that its calls get unless they say otherwise.

    What :class:`PoolOptions` is made from.
    """

    buffersize: int | None
    buffer_bytes: int | None
    max_memory: int | None
    max_memory_hard: int | None
    max_restarts: int | None
    niceness: int
    affinity: Iterable[int] | None
    inner_threads: int | Literal["auto"] | None
    cuda_devices: Iterable[int | str] | None


POSITIONAL = ("processes", "initializer", "initargs", "maxtasksperchild", "context")


def pool_options(
    processes: int | None,
    maxtasksperchild: int | None,
    given: dict[str, Any],
    positional: Iterable[str] = POSITIONAL,
) -> PoolOptions:
    """Sort keywords into those of the pool and those of its calls.

    Args:
        processes: How many workers.
        maxtasksperchild: After how many tasks one is replaced.
        given: The keywords.
        positional: What else the caller takes, to be named where a keyword is misspelt.

    Raises:
        TypeError: there is no option of a given name.
        ValueError: one is out of range.
    """
    own = {each.name for each in fields(PoolOptions)} - {"processes", "maxtasksperchild", "task"}
    known = {*own, *TaskOptions.__dataclass_fields__}
    for name in given:
        if name not in known:
            raise no_such_option("option", name, sorted({*known, *positional}))
    return PoolOptions(
        processes=available_cpus() if processes is None else processes,
        maxtasksperchild=maxtasksperchild,
        task=DEFAULT.changed({name: given[name] for name in given if name not in own}),
        **{name: given[name] for name in given if name in own},
    )


def _share(given: object) -> int:
    """Return ``maxtasksperchild``; the error is the standard library's, whatever is wrong with it."""
    try:
        return whole_number("maxtasksperchild", given, least=1)
    except (TypeError, ValueError):
        raise ValueError(
            f"maxtasksperchild must be a positive int or None, not {given!r}"
        ) from None


def _cores(given: Iterable[SupportsIndex]) -> tuple[int, ...]:
    """Return the cores that ``affinity`` lists."""
    try:
        cores = tuple(map(operator.index, given))
    except TypeError:
        cores = ()
    if not cores or min(cores) < 0:
        raise TypeError(f"affinity={given!r} must list the numbers of cores, as in [0, 1]")
    return cores


def _device_names(given: Iterable[str | SupportsIndex]) -> tuple[str, ...]:
    """Return the entries of ``cuda_devices`` as they go into the environment."""
    if isinstance(given, (str, bytes, int)):
        raise TypeError(
            f"cuda_devices={given!r} must list an entry for each slot, as in [0, 1] or ['0,1', '2,3']"
        )
    names = []
    for entry in given:
        names.append(entry if isinstance(entry, str) else str(_device_number(entry)))
    if not names:
        raise ValueError("cuda_devices is empty: give at least one entry, or leave it out")
    return tuple(names)


def _device_number(entry: SupportsIndex) -> int:
    try:
        number = operator.index(entry)
    except TypeError:
        raise TypeError(
            f"cuda_devices: {entry!r} must be the number of a device, or a string as "
            "CUDA_VISIBLE_DEVICES takes it"
        ) from None
    if number < 0:
        raise ValueError(
            f"cuda_devices: {number} is not the number of a device; use '' to hide all"
        )
    return number
