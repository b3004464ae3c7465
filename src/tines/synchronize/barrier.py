"""The barrier: ``parties`` come together, and whoever dies among them breaks it for the others.

Shared are a lock and a list of waiters with two numbers, ``ARRIVED`` and ``BROKEN``, which change under
the lock only. Who has arrived has a place in the list until it has left, the last one too, which
sleeps on nothing but may be long in the action; so a death is seen in each phase:

* of one that waits: the others wake (the core counts ``lost``), and the first breaks the barrier;
* of the one that holds the lock, in the action or halfway through a change: the same, as it has a
  place; and the next to get the lock sees that it was recovered, and breaks the barrier as well;
* of one that was released but has not left yet: nothing, as nobody waits for it any more. There is no phase
  of draining, for each waiter is told in its own place how it ended.

A process that dies before it arrives is not seen: nobody knows that it was to come. Use a timeout.
"""

from __future__ import annotations

import sys
from threading import BrokenBarrierError

from tines._arguments import check_function, whole_number
from tines.transport.primitives import Passed, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["SharedBarrier"]

ARRIVED, BROKEN = 0, 1
DISMISS = True


class SharedBarrier:
    """A barrier over a lock and a native list of waiters.

    Args:
        parties: How many have to arrive.
        action: Called by the last one to arrive, before anybody is released.
        timeout: For every ``wait`` that is not given one.
        lock: A :class:`tines.synchronize.native.Lock`.
        waiters: A native ``Waiters``.

    Raises:
        ValueError: ``parties`` is less than 1.
    """

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None,
        timeout: float | None,
        lock: object,
        waiters: object,
    ) -> None:
        parties = whole_number("parties", parties, least=1)
        if action is not None:
            check_function("action", action)
        self.__setstate__((parties, action, timeout, lock, Passed(waiters)))

    def __getstate__(self) -> object:
        return self._parties, self._action, self._timeout, self._mutex, Passed(self._waiters)

    def __setstate__(self, state: Any) -> None:
        self._parties, self._action, self._timeout, self._mutex, waiters = state
        self._waiters = waiters.native

    @property
    def parties(self) -> int:
        """How many have to arrive."""
        return int(self._parties)

    @property
    def n_waiting(self) -> int:
        """How many have arrived and wait."""
        return int(self._waiters.number(ARRIVED))

    @property
    def broken(self) -> bool:
        """Whether it is broken; ``reset()`` mends it."""
        return bool(self._waiters.number(BROKEN))

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all parties have arrived; return which one this was, counted from 0.

        Raises:
            threading.BrokenBarrierError: it was broken or reset, one of those who waited died, or
                not all came within ``timeout`` seconds.
        """
        self._enter()
        try:
            if self.broken:
                raise BrokenBarrierError
            return self._take_part(self._timeout if timeout is None else timeout)
        finally:
            self._mutex.release()

    def reset(self) -> None:
        """Begin anew; who waits gets a ``BrokenBarrierError``."""
        self._enter()
        try:
            self._change(broken=False)
        finally:
            self._mutex.release()

    def abort(self) -> None:
        """Break it: who waits, and who comes, gets a ``BrokenBarrierError``."""
        self._enter()
        try:
            self._change(broken=True)
        finally:
            self._mutex.release()

    def _enter(self) -> None:
        self._mutex.acquire()
        if self._mutex.recovered:
            self._change(broken=True)

    def _change(self, *, broken: bool) -> None:
        """Send all away, with the lock held."""
        self._waiters.number(BROKEN, int(broken))
        self._waiters.number(ARRIVED, 0)
        self._waiters.notify(sys.maxsize, DISMISS)

    def _take_part(self, timeout: float | None) -> int:
        place = self._waiters.enter()
        try:
            index = self._waiters.number(ARRIVED)
            self._waiters.number(ARRIVED, index + 1)
            if index + 1 == self._parties:
                self._release_all()
            else:
                self._sleep(place, timeout)
            return int(index)
        except BrokenBarrierError:
            raise
        except BaseException:  # of the action, or of a signal handler
            self._change(broken=True)
            raise
        finally:
            self._waiters.leave(place)

    def _release_all(self) -> None:
        if self._action is not None:
            self._action()
        self._waiters.number(ARRIVED, 0)
        self._waiters.notify(sys.maxsize)

    def _sleep(self, place: int, timeout: float | None) -> None:
        verdict = self._waiters.wait(self._mutex._semlock, timeout, place)
        if self._mutex.recovered:
            self._change(broken=True)
        if verdict == Verdict.NOTIFIED:
            return
        if verdict != Verdict.DISMISSED:
            self._change(broken=True)
        raise BrokenBarrierError
