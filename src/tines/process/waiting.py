"""Waiting for several processes at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from multiprocessing.process import BaseProcess
from typing import NamedTuple, TypeVar

from tines import _clock
from tines._arguments import check_iterable
from tines._ready import ready_among
from tines.errors import WaitTimeout

__all__ = ["DoneAndNotDone", "as_completed", "wait"]

AnyProcess = TypeVar("AnyProcess", bound=BaseProcess)


class DoneAndNotDone(NamedTuple):
    """What :func:`wait` returns: two sets of processes."""

    done: set[BaseProcess]
    not_done: set[BaseProcess]


def wait(processes: Iterable[BaseProcess], timeout: float | None = None) -> DoneAndNotDone:
    """Wait until all these processes have ended, or the time is over.

    Args:
        processes: Started processes.
        timeout: In seconds; ``None`` waits for ever.

    Returns:
        ``(done, not_done)``; it is no error if some have not ended.
    """
    check_iterable("processes", processes)
    given = set(processes)
    done: set[BaseProcess] = set()
    try:
        for process in as_completed(given, timeout):
            done.add(process)
    except WaitTimeout:
        pass
    return DoneAndNotDone(done, given - done)


def as_completed(
    processes: Iterable[AnyProcess], timeout: float | None = None
) -> Iterator[AnyProcess]:
    """Iterate over processes in the order in which they end, each once.

    Args:
        processes: Started processes.
        timeout: In seconds, for all of them together.

    Raises:
        WaitTimeout: some have not ended when the time is over.
    """
    deadline = _clock.deadline_after(timeout)
    check_iterable("processes", processes)
    given = set(processes)
    for process in given:
        if not isinstance(process, BaseProcess):
            raise TypeError(f"{process!r} is not a process")
    running: dict[int, AnyProcess] = {process.sentinel: process for process in given}
    return _as_completed(running, deadline, timeout)


def _as_completed(
    running: dict[int, AnyProcess], deadline: float | None, timeout: float | None
) -> Iterator[AnyProcess]:
    while running:
        ended = ready_among(running, deadline)
        for sentinel in ended:
            process = running.pop(sentinel)
            process.join()
            yield process
        if running and _clock.passed(deadline):
            raise WaitTimeout(
                f"{len(running)} of the processes are still running after {timeout} s"
            )
