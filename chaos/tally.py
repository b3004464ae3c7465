"""What a rig counts, and when that is a failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields

__all__ = ["PLANTS", "Report", "Tally"]

PLANTS = ("lost", "twice", "torn", "leak")


@dataclass
class Tally:
    """The account of one run. ``must`` marks what has to be zero."""

    submitted: int = 0
    delivered: int = 0
    died_with: int = 0
    """Messages or tasks that ended with the process that had them, each known by name."""
    kills: int = 0
    stops: int = 0
    signals: int = 0
    lost: int = field(default=0, metadata={"must": True})
    twice: int = field(default=0, metadata={"must": True})
    torn: int = field(default=0, metadata={"must": True})
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

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __str__(self) -> str:
        return " ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self))


Report = Callable[[Tally], None]
"""Called now and then by a rig, for the display."""
