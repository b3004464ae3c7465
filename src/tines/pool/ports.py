"""What the parts of a pool ask of each other, and nothing beyond that.

No part is handed the whole pool. Each is given those of these that it needs, so that what it can do to
the rest is what is written here. Who implements them:

==============  ======================================  ===================================
port            asked by                                answered by
==============  ======================================  ===================================
``Registry``    whoever sends                           ``scheduler/state.py``
``Looks``       whoever looks at a pool from outside    ``scheduler/state.py``
``Waits``       whoever waits, or wants to be told      ``runtime/collector.py``
``Sends``       maps and iterators                      ``runtime/dispatcher.py``
``Feeds``       maps and iterators                      ``runtime/machine.py``
``Cancels``     results                                 ``runtime/cancelling.py``
``Room``        maps and iterators                      ``jobs/back_pressure.py``
``CallRoom``    event loops                             ``jobs/back_pressure.py``
==============  ======================================  ===================================

:class:`Links` is what a job is made with: its ways to the pool. :class:`View` is what the names that
programs look for are answered from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from tines.engines.contract import Running
    from tines.pool.scheduler.commands import Broken
    from tines.pool.scheduler.task import Job, Task
    from tines.pool.worker.functions import Functions
    from tines.transport.contract import Channel

__all__ = [
    "Awaited",
    "CallRoom",
    "Cancels",
    "Feeds",
    "Links",
    "Looks",
    "Registry",
    "Rings",
    "Room",
    "Sends",
    "View",
    "Waits",
    "Wakes",
]


class Wakes(Protocol):
    """Something that is told when it is worth looking again."""

    def wake(self) -> None:
        """Look again."""


class Rings(Protocol):
    """A lock, or something like one: whoever waits for it is woken when it is released."""

    def release(self) -> object:
        """Wake who waits."""


class Awaited(Protocol):
    """Something a thread can wait for: see ``jobs/result.py`` for what does so."""

    express: bool

    @property
    def settled(self) -> bool:
        """Whether it is there."""

    def add_waiter(self, lock: Rings) -> None:
        """Have ``lock`` released when there is news."""

    def remove_waiter(self, lock: Rings) -> None:
        """Undo :meth:`add_waiter`."""


class Registry(Protocol):
    """The state machine, to those who send: see there for who may call what."""

    is_open: bool
    has_ended: bool
    target: int

    def submit(self, task: Task) -> int:
        """Give a task the number of its dispatch."""

    def finished(self, tag: int) -> Task | None:
        """Take a task out again."""

    def open_tasks(self) -> list[Task]:
        """Return the tasks that have no outcome yet."""


class Looks(Registry, Protocol):
    """The state machine, to those who only look at it: what they see may have moved on."""

    broken: Broken | None

    @property
    def standing(self) -> str:
        """Where it stands, in a word."""

    def open_jobs(self) -> list[Job]:
        """Return the maps and iterators that have not yet sent all of their input."""


class Waits(Protocol):
    """The collector, to those who wait. Any thread."""

    @property
    def is_current(self) -> bool:
        """Whether this is the collector thread."""

    def wait(self, target: Awaited, timeout: float | None = None) -> bool:
        """Wait until something is settled; ``False``: it is not, after so long."""

    def look(self) -> None:
        """Collect what is there without waiting."""

    def expect(self, express: bool) -> None:
        """Something was sent: see that somebody collects its outcome."""

    def attend(self) -> None:
        """Somebody who will not wait is to be told of a result: collect at once."""

    def nudge(self) -> None:
        """Something was settled elsewhere."""

    def post(self, event: Callable[[], object]) -> None:
        """Have an event handled after everything that is in the channel now."""

    def call_later(self, function: Callable[[], object]) -> None:
        """Have the collector thread call something, outside the seat."""


class Sends(Protocol):
    """The dispatcher, to jobs. Any thread."""

    def send_chunks(self, chunks: list[Any]) -> None:
        """Send chunks; one that cannot be pickled fails."""


class Feeds(Protocol):
    """Where jobs say that their input begins and ends. Any thread."""

    def begin(self, job: Job) -> None:
        """Begin to feed a map or iterator."""

    def exhausted(self, job: Job) -> None:
        """A job has sent all of its input."""

    def refuse(self) -> None:
        """Raise what says why nothing is accepted."""


class Cancels(Protocol):
    """Where results are cancelled, and looked for. Any thread."""

    def holder(self, task: Task) -> int | None:
        """Return the slot of the worker that holds a task."""

    def cancel(self, tasks: Iterable[Task]) -> None:
        """Take back what is queued, then stop what runs."""

    def revoke(self, task: Task) -> bool:
        """Cancel a task that no worker has yet; whether it is one."""

    def cancel_job(self, job: Job) -> None:
        """Cancel what a map has sent, and send no more of it."""


class Room(Protocol):
    """How many bytes are under way, to maps and iterators. Any thread."""

    heavy: int
    limit: int
    total: int

    def has_room(self, more: int = 0) -> bool:
        """Whether a job may send."""

    def done(self, key: int) -> None:
        """The task with this id is over, whether or not it was counted."""


class CallRoom(Room, Protocol):
    """The same, to those who make calls where they must not wait."""

    @property
    def full(self) -> bool:
        """Whether calls, of whatever size, would have to wait."""

    def watch(self, turn: Wakes) -> None:
        """Have ``turn.wake()`` called, in any thread, whenever something is over."""

    def unwatch(self, turn: Wakes) -> None:
        """Undo :meth:`watch`."""


class Links(NamedTuple):
    """The ways of a job to its pool.

    Attributes:
        collector: To wait, and to be told.
        dispatcher: To send.
        feeding: To say that its input begins and ends.
        cancelling: To stop what it has sent.
        pressure: Whether there is room to send.
        functions: The numbers of functions.
        registry: How many workers there are to be, and whether the pool is open.
    """

    collector: Waits
    dispatcher: Sends
    feeding: Feeds
    cancelling: Cancels
    pressure: CallRoom
    functions: Functions
    registry: Registry


class View(NamedTuple):
    """What can be seen of a pool from outside; nothing of it is to be changed there.

    Attributes:
        state: Where it stands, and what is still to be done.
        workers: The workers, by slot.
        tasks: The channel of the tasks that no worker has taken yet.
    """

    state: Looks
    workers: Mapping[int, Running]
    tasks: Channel
