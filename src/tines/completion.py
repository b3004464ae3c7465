"""``as_completed``: processes, or results of a pool, in the order in which they are done.

Processes are waited for by their sentinels (:mod:`tines.process.waiting`). A result puts itself into
a queue when it is done, by a callback; so however many there are, each costs one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from multiprocessing.process import BaseProcess
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from tines import _clock
from tines._arguments import check_iterable
from tines.errors import WaitTimeout
from tines.process import waiting

if TYPE_CHECKING:
    from tines.pool.jobs.result import ApplyResult
    from tines.progress.contract import Counts, Source
    from tines.progress.options import ProgressArgument, ProgressOptions

__all__ = ["as_completed"]

Awaitable = TypeVar("Awaitable")


def as_completed(
    things: Iterable[Awaitable],
    timeout: float | None = None,
    *,
    progress: ProgressArgument = None,
) -> Iterator[Awaitable]:
    """Iterate over processes, or over results, in the order in which they are done, each once.

    Args:
        things: Started processes; or what ``apply_async``, ``map_async`` and ``starmap_async`` of any
            pools returned.
        timeout: In seconds, for all of them together.
        progress: Whether and how to show how many are done, as for the methods of ``Pool``.

    Raises:
        WaitTimeout: some are not done when the time is over.
        TypeError: some of them are neither, or ``progress`` is not understood.
    """
    check_iterable("things", things)
    given: list[Any] = list(dict.fromkeys(things))
    options = None
    if progress is not None and progress is not False:
        from tines.progress.options import choose

        options = choose(progress)
    if all(isinstance(each, BaseProcess) for each in given):
        processes = waiting.as_completed(given, timeout)
        if options is None:
            return processes
        tally = _Tally(len(given))
        return _shown(_counted(processes, tally), tally, options, "processes")
    from tines.pool.jobs.result import ApplyResult

    for each in given:
        if not isinstance(each, ApplyResult):
            raise TypeError(
                "as_completed() takes either processes or the results of apply_async() and "
                f"map_async(), not a mix; {each!r} is not such a result"
            )
    results = _results(given, timeout)
    if options is None:
        return results
    from tines.pool.progress import Group

    return _shown(results, Group(given), options, "tasks")


def _results(results: list[ApplyResult[object]], timeout: float | None) -> Iterator[Any]:
    deadline = _clock.deadline_after(timeout)
    done: SimpleQueue[object] = SimpleQueue()
    for result in results:
        result.add_done_callback(done.put)
    return _taken(done, len(results), deadline, timeout)


def _taken(
    done: SimpleQueue[object], left: int, deadline: float | None, timeout: float | None
) -> Iterator[object]:
    while left:
        try:
            result = done.get(timeout=_clock.stretch(deadline))
        except Empty:
            if not _clock.passed(deadline):
                continue
            raise WaitTimeout(
                f"{left} of the results are still missing after {timeout} s"
            ) from None
        left -= 1
        yield result
        del result


class _Tally:
    """Counts processes as they are handed out."""

    def __init__(self, total: int) -> None:
        self.done = 0
        self.failed = 0
        self._total = total

    def counts(self) -> Counts:
        from tines.progress.contract import Counts

        return Counts(self.done, self.failed, 0, self._total)


def _counted(processes: Iterator[BaseProcess], tally: _Tally) -> Iterator[object]:
    for process in processes:
        tally.done += 1
        tally.failed += process.exitcode != 0
        yield process


def _shown(
    things: Iterator[object], source: Source, options: ProgressOptions, description: str
) -> Iterator[Any]:
    from tines.progress.live import show

    bar = show(source, options, description)
    try:
        yield from things
    except GeneratorExit:
        bar.finish()  # perhaps called by the garbage collector, which must not wait
        raise
    except BaseException:
        bar.close()
        raise
    bar.close()
