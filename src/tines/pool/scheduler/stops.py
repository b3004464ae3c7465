"""The stopping of a dispatch: the task is interrupted, then its worker is terminated, then killed.

A stop is made when a timed task begins, and then its first step is due when the time is up; or when a task
that runs is cancelled, and then the first step is taken at once. Between two steps passes what the task
was given as ``grace``. Whoever is through with the dispatch in between ends the matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tines.pool.scheduler.commands import Step

__all__ = ["Stop"]


@dataclass(eq=False)
class Stop:
    """See the module.

    Attributes:
        tag: The dispatch.
        slot: The worker that has it.
        grace: Seconds from one step to the next.
        timeout: The limit that the task was given; ``None`` where it is being cancelled.
        steps: The steps that are left.
    """

    tag: int
    slot: int
    grace: float
    timeout: float | None
    steps: list[Step] = field(default_factory=lambda: list(Step))

    @property
    def exceeded(self) -> float | None:
        """The limit, once it was reached: until then a death has nothing to do with it."""
        return self.timeout if len(self.steps) < len(Step) else None
