"""The primitives on the ring transport: they survive the death of who holds them or waits for them.

Each is a thin object around one or two native ones in shared memory. ``acquire`` and ``release`` are
the native methods themselves, bound when the object is made or unpickled.

What holds after a process was killed, or has ended otherwise, at any moment:

* A ``Lock`` or ``RLock`` that it held goes to the next who waits, within a fraction of a second, or who
  acquires it later. ``lock.recovered`` is true for that one until it releases the lock, and a warning
  is logged (``tines.synchronize``): what the lock protects may be half changed.
* A waiter of a ``Condition`` that was notified but could not act on it passes the notification on.
* A ``Barrier`` in which it was waiting is broken for the others, as after a timeout.
* A ``Semaphore`` is a count, and nobody knows whether who acquired was going to release: its tokens are
  not given back, unless it was made with ``owned=True``.

They may be inherited, passed to ``Process``, sent through a queue, or given to a pool. The design is
in ``docs/design/locks.md``.
"""

from __future__ import annotations

import logging
import os
import sys

from tines._arguments import whole_number
from tines._std import standard
from tines.synchronize.barrier import SharedBarrier
from tines.transport.primitives import Kind, Passed, Verdict, make

TYPE_CHECKING = False
if TYPE_CHECKING:
    import multiprocessing.synchronize as _std
    from collections.abc import Callable
    from typing import TypeAlias

    from tines.transport.primitives import Flag, Semlock, Waiters

    AnyLock: TypeAlias = "Lock | RLock"
else:
    _std = standard("synchronize")

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "RLock",
    "Semaphore",
    "tell_recovered",
]

MOST = 2**31 - 1
MOST_OWNED = 1024

_log = logging.getLogger("tines.synchronize")
_NAMES = {Kind.LOCK: "Lock", Kind.RLOCK: "RLock", Kind.OWNED: "Semaphore"}


def tell_recovered(kind: int, pid: int) -> None:
    """Say that something was taken over from a dead holder; called by the native core."""
    _log.warning(
        "%s ended while it held a %s; process %d has it now, and what it protects may be "
        "half changed: see %s.recovered",
        f"process {pid}" if pid else "a process that is gone",
        _NAMES[Kind(kind)],
        os.getpid(),
        _NAMES[Kind(kind)],
    )


class _Holding:
    """What locks and semaphores share. ``_semlock`` is the standard library's name for the core."""

    _semlock: Semlock

    def _bind(self, semlock: Semlock) -> None:
        self._semlock = semlock
        self.acquire = semlock.acquire
        self.release = semlock.release

    def __getstate__(self) -> object:
        return Passed(self._semlock)

    def __setstate__(self, state: Passed) -> None:
        self._bind(state.native)

    def locked(self) -> bool:
        """Return whether somebody holds it; of a semaphore, whether no token is left."""
        return bool(self._semlock._is_zero())

    @property
    def recovered(self) -> bool:
        """Whether this process holds it, and got it from one that died; until it is released."""
        return bool(self._semlock.recovered)

    @property
    def deaths(self) -> int:
        """How often it was taken over from a process that died, by anybody."""
        return int(self._semlock.deaths)


class Lock(_Holding, _std.Lock):
    """A lock between any processes; as in the standard library, anybody may release it.

    A process that ends while it holds the lock, in whatever way, has abandoned it: the next one gets it.
    """

    def __init__(self, *, ctx: object = None) -> None:
        self._bind(make(Kind.LOCK))


class RLock(_Holding, _std.RLock):
    """A lock that the thread that holds it may acquire again, and that only it may release."""

    def __init__(self, *, ctx: object = None) -> None:
        self._bind(make(Kind.RLOCK))


def _make_semaphore(value: object, bounded: bool, owned: bool) -> Semlock:
    value = whole_number("value", value, least=0, most=MOST)
    if owned:
        if value > MOST_OWNED:
            raise ValueError(
                f"value={value} is too large with owned=True: it must be at most {MOST_OWNED}"
            )
        semlock: Semlock = make(Kind.OWNED, value, value)
    else:
        semlock = make(Kind.SEMAPHORE, value, value if bounded else MOST)
    return semlock


class Semaphore(_Holding, _std.Semaphore):
    """A count that ``acquire`` takes from and ``release`` adds to.

    Args:
        value: Tokens at first.
        owned: A token belongs to the process that acquired it: only that one may release it, and
            if it dies the token is given to the next. Without it anybody may release, as in the
            standard library, and what a dead process has acquired stays so.
        ctx: The context it belongs to, as in the standard library.

    Raises:
        TypeError: ``value`` is not a whole number.
        ValueError: it is negative or too large.
    """

    def __init__(self, value: int = 1, *, owned: bool = False, ctx: object = None) -> None:
        self._bind(_make_semaphore(value, False, owned))


class BoundedSemaphore(Semaphore, _std.BoundedSemaphore):
    """A semaphore that ``release`` does not take beyond its first value; see :class:`Semaphore`."""

    def __init__(self, value: int = 1, *, owned: bool = False, ctx: object = None) -> None:
        self._bind(_make_semaphore(value, True, owned))


class _Count:
    """Looks like one of the semaphores of the standard library's condition."""

    def __init__(self, value: int) -> None:
        self._value = value

    def get_value(self) -> int:
        return self._value


class Condition(_std.Condition):
    """A condition variable; each waiter is known by name, so a dead one is not waited for.

    Args:
        lock: A :class:`Lock` or :class:`RLock` of this module; a new ``RLock`` if not given.
        ctx: The context it belongs to, as in the standard library.

    Raises:
        TypeError: ``lock`` is something else.
    """

    def __init__(self, lock: AnyLock | None = None, *, ctx: object = None) -> None:
        if lock is not None and not isinstance(lock, (Lock, RLock)):
            raise TypeError(f"lock={lock!r} must be a Lock or RLock of tines, or None")
        self._bind(lock or RLock(), make(Kind.WAITERS))

    def _bind(self, lock: AnyLock, waiters: Waiters) -> None:
        self._lock: AnyLock = lock
        self._waiters = waiters
        self.acquire = lock.acquire  # type: ignore[method-assign]
        self.release = lock.release  # type: ignore[method-assign]

    def __getstate__(self) -> object:
        return self._lock, Passed(self._waiters)

    def __setstate__(self, state: tuple[AnyLock, Passed]) -> None:
        lock, waiters = state
        self._bind(lock, waiters.native)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._lock}, {self._waiters.count()})>"

    @property
    def recovered(self) -> bool:
        """As of the lock; also after ``wait()``, which acquires it again."""
        return bool(self._lock.recovered)

    @property
    def deaths(self) -> int:
        """As of the lock."""
        return int(self._lock.deaths)

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock, wait to be notified, and acquire it again; false after ``timeout``.

        Raises:
            AssertionError: this thread does not hold the lock.
        """
        if not self._lock._semlock._is_mine():
            raise AssertionError("must acquire() condition before using wait()")
        return bool(self._waiters.wait(self._lock._semlock, timeout) != Verdict.TIMED_OUT)

    def notify(self, n: int = 1) -> None:
        """Wake the ``n`` that have waited longest.

        Raises:
            AssertionError: this thread does not hold the lock.
        """
        if not self._lock._semlock._is_mine():
            raise AssertionError("lock is not owned")
        self._waiters.notify(n)

    def notify_all(self) -> None:
        """Wake all that wait; see :meth:`notify`."""
        self.notify(sys.maxsize)

    @property
    def _sleeping_count(self) -> object:
        """The three counts that the standard library has, for programs that look at them."""
        return _Count(self._waiters.count())

    @property
    def _woken_count(self) -> object:
        return _Count(0)

    @property
    def _wait_semaphore(self) -> object:
        return _Count(0)


class Event(_std.Event):
    """A flag to wait for. Everybody who waits when it is set goes on, even if it is cleared at once."""

    def __init__(self, *, ctx: object = None) -> None:
        self._bind(make(Kind.FLAG))

    def _bind(self, flag: Flag) -> None:
        self._shared = flag

    def is_set(self) -> bool:
        """Return whether it is set."""
        return bool(self._shared.is_set())

    def set(self) -> None:
        """Set it and wake all that wait."""
        self._shared.set()

    def clear(self) -> None:
        """Clear it."""
        self._shared.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; false if it was not within ``timeout`` seconds."""
        return bool(self._shared.wait(timeout))

    def __getstate__(self) -> object:
        return Passed(self._shared)

    def __setstate__(self, state: Passed) -> None:
        self._bind(state.native)

    def __repr__(self) -> str:
        state = "set" if self.is_set() else "unset"
        return f"<{type(self).__qualname__} at {id(self):#x} {state}>"


class Barrier(SharedBarrier, _std.Barrier):
    """A barrier for ``parties`` processes or threads, with the standard library's interface."""

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        *,
        ctx: object = None,
    ) -> None:
        SharedBarrier.__init__(self, parties, action, timeout, Lock(), make(Kind.WAITERS))
