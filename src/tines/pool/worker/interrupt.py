"""What is raised in a task that is to stop, as its time is over or it was cancelled."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tines.errors import TinesError

__all__ = ["TaskInterrupt"]


class TaskInterrupt(BaseException):
    """Ends a task from within. No ``Exception``: ``except OSError`` or ``except Exception`` let it pass.

    A task that catches it should clean up and raise it again. Its caller never sees it.

    Attributes:
        outcome: What the caller gets in its place.
    """

    def __init__(self, outcome: TinesError) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome
