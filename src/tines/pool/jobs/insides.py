"""The private names of the standard library's results that programs reach for, to show how far a map is.

They can be read, not changed, and answer from what a result knows anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Protocol

    from tines.progress.contract import Counts

    class Awaited(Protocol):
        """What a result can be asked and waited for."""

        def ready(self) -> bool:
            """Return whether the outcome is there."""

        def wait(self, timeout: float | None = None) -> object:
            """Wait for the outcome."""


__all__ = ["IteratorInsides", "MapInsides", "ResultInsides"]


class Settled:
    """What there is of a ``threading.Event`` for a result."""

    def __init__(self, result: Awaited) -> None:
        self._result = result

    def is_set(self) -> bool:
        """Return whether the outcome is there."""
        return self._result.ready()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the outcome; return whether it is there."""
        self._result.wait(timeout)
        return self.is_set()


class ResultInsides:
    """Of the result of a call."""

    settled: object
    ready: Callable[[], bool]
    wait: Callable[..., object]
    _open: Callable[[], tuple[bool, object]]

    @property
    def _event(self) -> Settled:
        return Settled(self)

    @property
    def _success(self) -> bool:
        """Whether nothing has failed so far."""
        return not self.settled or self._open()[0]

    @property
    def _value(self) -> object:
        """The value, or the exception; before that ``None``."""
        return self._open()[1] if self.settled else None


class MapInsides(ResultInsides):
    """Of the result of a map."""

    counts: Callable[[], Counts]
    _asked: int | None
    _workers: int
    _values: list[object]

    @property
    def _chunksize(self) -> int:
        """The size of chunks that was asked for, or else that the standard library would have chosen."""
        return self._asked or -(-len(self._values) // (4 * self._workers))

    @property
    def _number_left(self) -> int:
        """How many chunks of that size the items make that are not done."""
        counts = self.counts()
        left = 0 if self.settled else len(self._values) - counts.done
        return -(-left // max(1, self._chunksize))

    @property
    def _value(self) -> Any:
        return self._open()[1] if self.settled else self._values


class IteratorInsides:
    """Of the iterators of ``imap``. One may be made by a program, with nothing but the pool.

    The tasks of such an iterator are put into the pool's ``_taskqueue``, together with ``_set_length``.
    """

    _maker: Any = None
    counts: Callable[[], Counts]

    @property
    def _job(self) -> int:
        return id(self)

    @property
    def _index(self) -> int:
        """How many results there are, the consumed ones included."""
        return self.counts().done

    @property
    def _length(self) -> int | None:
        """How many there will be; ``None`` while the input has not come to its end."""
        return self.counts().total

    def _set_length(self, length: int) -> None:
        """Do nothing: the end of the tasks says it too."""

    def take_over(self, tasks: Iterable[tuple[object, ...]]) -> None:
        """Begin to have tasks done that a program has made."""
        pool = self._maker
        options = pool._options
        body = (task[2:] for task in tasks)
        self.__init__(  # type: ignore[misc]
            pool._links, pool, run_task, body, 1, options.buffersize, options.task
        )
        pool._links.feeding.begin(self)


def run_task(task: tuple[Callable[..., object], tuple[object, ...], dict[str, object]]) -> object:
    """Run one such task, in a worker."""
    function, args, kwds = task
    return function(*args, **kwds)
