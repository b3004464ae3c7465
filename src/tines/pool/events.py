"""What a pool tells of itself while it works: to traces, to displays, to whoever subscribes.

A subscriber is asked at each pool that is made whether it wants to observe it, and gives an
:class:`Observer` if it does. A pool that nobody observes pays one look at a ``None`` a task.

All methods are called in the thread where the thing happens, some of them under the pool's locks or in
the collector's seat: so they are quick, wait for nothing, and raise nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tines.engines.contract import Exit
    from tines.pool.scheduler.commands import Step
    from tines.pool.scheduler.task import Task
    from tines.pool.worker.main import WorkerSpec
    from tines.transport.contract import Buffer

__all__ = ["Observer", "Subscriber", "observer_of", "subscribe", "unsubscribe"]


class Observer:
    """Hears of one pool. Each method does nothing; subclasses take what they want."""

    # Sending: the thread that sends.

    def submitting(self) -> None:
        """This thread begins to pickle a call, or the first of several chunks."""

    def sending(self, task: Task) -> None:
        """It was pickled, and goes to the channel now. Its outcome may be there before :meth:`sent`."""

    def sent(self, task: Task, tag: int, data: Buffer, buffers: Sequence[Buffer]) -> None:
        """It is with the channel; what follows in this thread is the pickling of the next."""

    # Collecting: the thread in the seat.

    def received(self) -> None:
        """Messages have come out of the results channel."""

    def begun(self, tag: int, slot: int) -> None:
        """A worker began with a task that has a time limit, or with the next item of one."""

    def settled(self, kind: int, tag: int, data: Buffer, buffers: Sequence[Buffer]) -> None:
        """The outcome of a dispatch was dealt with. Its tag bears the slot of its worker."""

    def ready(self, slot: int) -> None:
        """A worker has run its initializer."""

    def gone(self, slot: int, exit: Exit) -> None:
        """A worker has ended, and everything it had sent was dealt with."""

    # Workers: the supervisor's thread, and whoever makes the pool.

    def starting(self, spec: WorkerSpec) -> None:
        """A worker is about to be started; ``spec.witness`` is run in its place, if it is set here."""

    def started(self, slot: int, pid: int | None) -> None:
        """Its process is there."""

    def stopping(self, pid: int | None, step: Step, timed_out: bool) -> None:
        """A worker is told to stop what it does, or to end."""


Subscriber = Callable[[str, int], Observer | None]
"""Asked with a pool's transport and how many workers it is to have; ``None``: not this one."""

_subscribers: list[Subscriber] = []


def subscribe(subscriber: Subscriber) -> None:
    """Have a subscriber asked at each pool that this process makes from now on."""
    _subscribers.append(subscriber)


def unsubscribe(subscriber: Subscriber) -> None:
    """Undo :meth:`subscribe`; pools that it observes already go on telling it."""
    _subscribers.remove(subscriber)


def observer_of(transport: str, processes: int) -> Observer | None:
    """Return what is told of a pool that is about to be made; ``None``: nobody wants to know."""
    found = [subscriber(transport, processes) for subscriber in list(_subscribers)]
    observers = [observer for observer in found if observer is not None]
    if not observers:
        return None
    return observers[0] if len(observers) == 1 else _Several(observers)


class _Several(Observer):
    """Passes everything on to each of several observers."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        for name in _EVENTS:
            setattr(self, name, _each([getattr(observer, name) for observer in observers]))


_EVENTS = [name for name in vars(Observer) if not name.startswith("_")]


def _each(methods: Sequence[Callable[..., object]]) -> Callable[..., None]:
    def tell(*arguments: object) -> None:
        for method in methods:
            method(*arguments)

    return tell
