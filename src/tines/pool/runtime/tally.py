"""How many messages a pool has finished, and how.

Counted in the collector's seat, but for ``failed``, which whoever carries out the state machine's
instructions counts. Nothing is locked: figures may be read at any time.
"""

from __future__ import annotations

__all__ = ["Tally"]


class Tally:
    """See the module.

    Attributes:
        done: How many messages each slot has finished.
        raised: How many of them were exceptions.
        failed: How many tasks failed without an outcome.
    """

    __slots__ = ("done", "failed", "raised")

    def __init__(self, slots: int) -> None:
        self.done = [0] * slots
        self.raised = 0
        self.failed = 0
