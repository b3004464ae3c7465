"""How many messages a pool has finished, and how.

Counted in the collector's seat, but for ``failed``, which whoever carries out the state machine's
instructions counts. Nothing is locked: figures may be read at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tines.pool.runtime.recent import Failures

if TYPE_CHECKING:
    from tines.pool.scheduler.commands import Failure
    from tines.pool.scheduler.task import Task
    from tines.transport.contract import Buffer

__all__ = ["Tally"]


class Tally:
    """See the module.

    Attributes:
        done: How many messages each slot has finished.
        raised: How many of them were exceptions.
        failed: How many tasks failed without an outcome.
        failures: The last of both.
    """

    __slots__ = ("done", "failed", "failures", "raised")

    def __init__(self, slots: int) -> None:
        self.done = [0] * slots
        self.raised = 0
        self.failed = 0
        self.failures = Failures()

    def has_raised(self, task: Task, data: Buffer) -> None:
        """Count an exception."""
        self.raised += 1
        self.failures.raised(task, data)

    def has_failed(self, failure: Failure, error: BaseException) -> None:
        """Count a task without an outcome."""
        self.failed += 1
        self.failures.failed(failure, error)
