"""What each worker has done with its time: from a few stamps, and what the transport counts anyway.

For how long a slot holds messages is added up where a worker releases its lease, which costs a look at
the clock a message. The rest is subtraction, when somebody asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tines import _clock

if TYPE_CHECKING:
    from tines.transport.contract import Channel

__all__ = ["Activity", "Times"]


@dataclass(frozen=True)
class Times:
    """Of one worker process, since it was ready; see :class:`WorkerStatistics`."""

    busy: float
    idle: float
    waiting: float


@dataclass
class _Start:
    """The beginning of a worker process."""

    when: float
    held: float
    cpu: float = 0.0


class Activity:
    """The stamps of one pool. Each slot's are replaced as a whole, so any thread may read them."""

    def __init__(self, tasks: Channel, slots: int) -> None:
        self._tasks = tasks
        self._starts: list[_Start] = [_Start(0.0, 0.0)] * slots

    def starting(self, slot: int) -> None:
        """A worker is about to be started in a slot, whose last one is gone."""
        self._starts[slot] = _Start(_clock.monotonic(), self._tasks.held(slot))

    def ready(self, slot: int, when: float, cpu: float) -> None:
        """It has run its initializer, at this time, with so much processor time used."""
        self._starts[slot] = _Start(when, self._starts[slot].held, cpu)

    def times(self, slot: int, cpu: float) -> Times:
        """Return what a worker has done with its time, of which so much was processor time."""
        start = self._starts[slot]
        busy = max(0.0, self._tasks.held(slot) - start.held)
        return Times(
            busy=busy,
            idle=max(0.0, _clock.monotonic() - start.when - busy),
            waiting=max(0.0, busy - max(0.0, cpu - start.cpu)),
        )
