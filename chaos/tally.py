"""What a rig counts, and when that is a failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields

__all__ = ["PLANTS", "Report", "Tally"]

PLANTS = ("lost", "twice", "torn", "leak")


@dataclass
class Tally:
    """The account of one run. ``must`` marks what has to be zero.

    At the end of a rig ``submitted = delivered + died_with + failed``, up to what was being submitted
    by a process at the moment when it was killed; anything else is lost, or twice.
    """

    submitted: int = 0
    delivered: int = 0
    died_with: int = 0
    """Messages or tasks that ended with the process that had them, each known by name."""
    failed: int = 0
    """Tasks that ended with the very error that they were made to end with."""
    refused: int = 0
    """Calls that raised what they should, and left nothing behind."""
    kills: int = 0
    stops: int = 0
    signals: int = 0
    """Signals with a handler that does nothing; those of interval timers are not counted."""
    callbacks: int = 0
    exploded: int = 0
    """Callbacks that raised."""
    waits: int = 0
    """Timeouts that were waited for to the end."""
    lost: int = field(default=0, metadata={"must": True})
    twice: int = field(default=0, metadata={"must": True})
    torn: int = field(default=0, metadata={"must": True})
    """Messages, results and errors that are not what they were."""
    early: int = field(default=0, metadata={"must": True})
    """Timeouts that were over before their time."""
    crashed: int = field(default=0, metadata={"must": True})
    """Processes that ended otherwise than they should or were made to."""
    hung: int = field(default=0, metadata={"must": True})
    leaked_processes: int = field(default=0, metadata={"must": True})
    leaked_descriptors: int = field(default=0, metadata={"must": True})
    leaked_bytes: int = field(default=0, metadata={"must": True})

    def failures(self) -> list[str]:
        """Name what should be zero and is not."""
        wrong = (f.name for f in fields(self) if f.metadata.get("must"))
        return [f"{name}={getattr(self, name)}" for name in wrong if getattr(self, name)]

    def add(self, other: Tally) -> None:
        """Add another account to this one."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def __add__(self, other: Tally) -> Tally:
        total = Tally()
        total.add(self)
        total.add(other)
        return total

    def __str__(self) -> str:
        """What has to be zero is always shown, of the rest what is not."""
        pairs = ((f, getattr(self, f.name)) for f in fields(self))
        return " ".join(
            f"{each.name}={value}" for each, value in pairs if value or each.metadata.get("must")
        )


Report = Callable[[Tally], None]
"""Called now and then by a rig, for the display."""
