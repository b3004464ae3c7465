"""A worker, as the state machine sees it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Worker"]


@dataclass
class Worker:
    """What is known of a worker; exists from its start to the notice of its end."""

    slot: int
    ready: bool = False
    retiring: bool = False
    stopping: bool = False
    excess: int = 0
    """The bytes of memory for which it is being killed."""
