"""When a pool gives up: its workers end again and again, and no task is to blame.

Two things are counted, and both start again when a task was finished in between: workers in a row that
ended before they were ready, and idle workers that ended within ``IDLE_DEATHS_WINDOW``. More than
``max_restarts`` of either break the pool, with the last one's reason; one is enough if it says itself
that no other will do better. What a task is charged with is not counted here.
"""

from __future__ import annotations

from tines.engines.contract import Exit
from tines.pool.scheduler.commands import Broken

__all__ = ["IDLE_DEATHS_WINDOW", "RestartIntensity"]

IDLE_DEATHS_WINDOW = 30.0
"""Seconds after which the death of an idle worker is forgotten."""


class RestartIntensity:
    """See the module. Part of the state machine, and called as that is: under its owner's lock.

    Args:
        allowed: How many may end before it is enough.
    """

    def __init__(self, allowed: int) -> None:
        self._allowed = allowed
        self._failed_starts = 0
        self._idle_deaths: list[float] = []
        self._finished_before = -1

    def ready(self) -> None:
        """A worker has become ready."""
        self._failed_starts = 0

    def ended(
        self, ready: bool, exit: Exit, finished: int, now: float, cause: BaseException | None
    ) -> Broken | None:
        """Count the end of a worker; return why the pool is to give up, if it is enough.

        Args:
            ready: Whether the worker had become ready.
            exit: How it ended.
            finished: How many tasks the pool has finished so far.
            now: The time.
            cause: The exception of its initializer, if that is why.
        """
        if finished != self._finished_before:
            self._finished_before = finished
            self._idle_deaths.clear()
            self._failed_starts = 0
        return self._idle(exit, now, cause) if ready else self._unready(exit, cause)

    def _unready(self, exit: Exit, cause: BaseException | None) -> Broken | None:
        if exit.never_starts is not None:
            return Broken(exit.never_starts, cause)
        self._failed_starts += 1
        if self._failed_starts <= self._allowed:
            return None
        how = exit.description
        if cause is not None:
            how = f"its initializer, or a limit set before it, raised {cause!r}"
        elif exit.exitcode == 1:
            how += "; the traceback that it printed says why"
        return Broken(
            f"{self._failed_starts} workers in a row ended before they were ready; "
            f"the last one (pid {exit.pid}): {how}",
            cause,
        )

    def _idle(self, exit: Exit, now: float, cause: BaseException | None) -> Broken | None:
        recent = [when for when in self._idle_deaths if when > now - IDLE_DEATHS_WINDOW]
        self._idle_deaths = [*recent, now]
        if len(self._idle_deaths) <= self._allowed:
            return None
        return Broken(
            f"{len(self._idle_deaths)} idle workers ended within {IDLE_DEATHS_WINDOW:g} s and "
            f"nothing was finished in between; the last one (pid {exit.pid}) "
            f"{exit.description}",
            cause,
        )
