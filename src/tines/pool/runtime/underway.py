"""How far the maps and iterators of a pool are that its workers have in hand, for whoever looks.

They are asked as the displays of ``progress=`` ask them. An iterator whose consumer is far behind takes long
to count, so each is counted for a twentieth of the time at most, however often somebody looks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tines import _clock

if TYPE_CHECKING:
    from tines.pool.scheduler.task import Job, Task

__all__ = ["MapStatistics", "Underway"]

SHARE = 20


@dataclass(frozen=True)
class MapStatistics:
    """A map or an iterator that workers have in hand.

    Attributes:
        number: The same for as long as it lasts, and no other's.
        function: What is called.
        done: Items that are over, those that failed among them.
        failed: Those of them that failed, as far as that is known.
        retried: Further attempts.
        total: How many items there are; ``None`` while nobody knows.
    """

    number: int
    function: str
    done: int
    failed: int
    retried: int
    total: int | None


class Underway:
    """See the module. Any thread."""

    def __init__(self) -> None:
        # By number: when it is due to be counted again, and what it was.
        self._counted: dict[int, tuple[float, MapStatistics]] = {}

    def look(self, held: Iterable[tuple[Task, str]]) -> tuple[MapStatistics, ...]:
        """Return how far they are, the first begun first.

        Args:
            held: The tasks that workers hold, and what they are.
        """
        jobs: dict[int, tuple[Job, str]] = {}
        for task, description in held:
            if task.job is not None:
                jobs.setdefault(task.job.earliest, (task.job, description))
        before, now = self._counted, _clock.monotonic()
        counted: dict[int, tuple[float, MapStatistics]] = {}
        for number, (job, description) in sorted(jobs.items(), key=lambda each: each[0]):
            known = before.get(number)
            if known is None or known[0] <= now:
                began = _clock.monotonic()
                statistics = MapStatistics(number, description.partition("(")[0], *job.counts())
                took = _clock.monotonic() - began
                known = (now + SHARE * took, statistics)
            counted[number] = known
        self._counted = counted
        return tuple(statistics for _, statistics in counted.values())
