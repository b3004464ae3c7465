"""What a caller holds while its task runs: ``AsyncResult``, which is also the task itself.

A result is *settled* once its outcome is there. Whoever collects results stores the message as it
came, which is cheap, and wakes those who wait; it is decoded by whoever asks for the value first.

Storing is idempotent: a collector may be interrupted by Ctrl-C at any point, and then the message is
handled again.
"""

from __future__ import annotations

from collections.abc import Callable
from pickle import loads
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tines._arguments import check_function
from tines.errors import DecodeError, PoolBrokenError, TaskCancelledError, WaitTimeout
from tines.pool.jobs.failures import Unfetched, logger
from tines.pool.jobs.insides import ResultInsides
from tines.pool.options import TaskOptions
from tines.pool.scheduler.task import Task
from tines.progress.contract import Counts
from tines.wire import messages, pickling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tines.pool.ports import Links, Rings
    from tines.pool.worker.constants import Hold
    from tines.transport.contract import Buffer
    from tines.wire.pickling import Encoded

__all__ = ["ApplyResult", "AsyncResult", "Callbacks", "Waitable", "may_be_returned"]

T = TypeVar("T")

_NOT_YET = "{!r} not ready"


class Waitable:
    """Something a thread can wait for; see ``runtime/collector.py`` for how."""

    settled: Any = False
    express: bool = False
    """Whether a thread that waits for it may collect: plain outcomes settle it."""
    _waiters: list[Rings] | None = None

    def add_waiter(self, lock: Rings) -> None:
        """Have ``lock`` released when there is news. The caller looks at ``settled`` afterwards."""
        self.__dict__.setdefault("_waiters", []).append(lock)

    def remove_waiter(self, lock: Rings) -> None:
        """Undo :meth:`add_waiter`, if it came to that."""
        if self._waiters and lock in self._waiters:
            self._waiters.remove(lock)

    def wake(self) -> None:
        """Release the locks of all who wait."""
        for lock in list(self._waiters or ()):
            try:
                lock.release()
            except RuntimeError:
                pass  # it was woken before and has not come to it yet


class Callbacks:
    """The callbacks given with a call: at most one of each is called, in the collector thread."""

    __slots__ = ("error", "value")

    def __init__(
        self,
        value: Callable[[object], object] | None,
        error: Callable[[BaseException], object] | None,
    ) -> None:
        for name, callback in (("callback", value), ("error_callback", error)):
            if callback is not None and not callable(callback):
                raise TypeError(f"{name}={callback!r} is not callable")
        self.value = value
        self.error = error


class ApplyResult(Task, Waitable, ResultInsides, Generic[T]):
    """The result of one call that runs in a pool. Made by the pool."""

    express = True
    _callbacks: Callbacks | None = None
    _done_callbacks: list[Callable[[object], object]] | None = None
    _outcome: tuple[bool, Any] | None = None
    _unfetched: Unfetched | None = None
    constant: Hold | None = None
    """What keeps a large constant of its function until it is done."""

    def __init__(self, links: Links | None, pool: object = None) -> None:
        """Make it.

        Args:
            links: The ways to the pool; ``None``: it will be settled without one.
            pool: Held for as long as the task is under way, as in the standard library: a pool that
                nobody else holds must not go before its results are there.
        """
        self._links = links
        self._pool = pool

    def configure(self, options: TaskOptions, callbacks: Callbacks | None) -> None:
        """Set what most calls do not have; such results are settled by the collector thread."""
        self.options = options
        self._callbacks = callbacks
        self.express = False

    def split(self, start: int, stop: int) -> Task:
        """Return itself: one call is not divisible."""
        return self

    # What callers use.

    def ready(self) -> bool:
        """Whether the outcome is there: a value, an exception, or that it was cancelled."""
        links = self._links
        if links is not None and not self.settled:
            links.collector.look()
        return bool(self.settled)

    done = ready

    def successful(self) -> bool:
        """Whether the call returned, as opposed to raised.

        Raises:
            ValueError: it is not done yet.
        """
        if not self.ready():
            raise ValueError(_NOT_YET.format(self))
        return self._open()[0]

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it is done, at most ``timeout`` seconds."""
        links = self._links
        if links is not None and not self.settled:
            links.collector.wait(self, timeout)

    def get(self, timeout: float | None = None) -> T:
        """Return the value, or raise what the call raised.

        Raises:
            multiprocessing.TimeoutError: it is not done after ``timeout`` seconds.
        """
        links = self._links
        if links is not None and not self.settled:
            self._await(links, timeout)
        good, value = self._outcome or self._open()
        if good:
            return value  # type: ignore[no-any-return]
        self._look_at()
        try:
            raise value
        finally:
            del value, self  # the traceback refers to this frame

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the call raised, or ``None`` if it returned; wait as :meth:`get` does."""
        links = self._links
        if links is not None and not self.settled:
            self._await(links, timeout)
        good, value = self._open()
        self._look_at()
        return None if good else value

    def cancel(self) -> bool:
        """Cancel the call: if it has not started it never will, otherwise it is interrupted.

        A call that does not end when ``TaskCancelledError`` is raised in it loses its worker.

        Returns:
            Whether it is cancelled; ``False`` if its outcome is there, or on its way.
        """
        links = self._links
        if links is not None and not self.settled:
            links.cancelling.cancel([self])
        return self.cancelled()

    def revoke(self) -> bool:
        """Cancel the call if no worker has it yet; return whether it is over, one way or the other."""
        links = self._links
        return links is None or self.settled or links.cancelling.revoke(self)

    def get_or_withdraw(self) -> T:
        """As :meth:`get`, where nobody else has this result: if it is interrupted, the call is cancelled."""
        try:
            return self.get()
        except BaseException:
            self.withdraw()
            raise

    def withdraw(self) -> None:
        """Cancel the call, unless it is over: nobody is left who could ask for its outcome.

        By the collector thread: in this one the next signal may be about to raise.
        """
        links = self._links
        if links is not None and not self.settled:
            links.collector.call_later(self.cancel)

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        outcome = self._outcome
        return outcome is not None and isinstance(outcome[1], TaskCancelledError) and not outcome[0]

    def counts(self) -> Counts:
        """Return how far it is, for a display. Takes no lock and decodes nothing."""
        if not self.settled:
            return Counts(0, 0, self.attempt - 1, 1)
        outcome = self._outcome
        failed = self.kind == messages.ERROR if outcome is None else not outcome[0]
        return Counts(1, int(failed), self.attempt - 1, 1)

    def running(self) -> bool:
        """Whether a worker is running it at this moment."""
        links = self._links
        return links is not None and not self.settled and links.cancelling.holder(self) is not None

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Call ``fn(self)`` once it is done, or right now if it already is. Exceptions are logged."""
        check_function("fn", fn)
        links = self._links
        self.__dict__.setdefault("_done_callbacks", []).append(fn)
        if links is None or self.settled:
            self._run_done_callbacks()
        else:
            links.collector.expect(True)

    # What the pool and its fronts use.

    def hasten(self) -> None:
        """Have it collected at once: somebody has left a callback for it, and does not wait."""
        links = self._links
        if links is not None and not self.settled:
            links.collector.attend()

    def encoded(self) -> Encoded:
        """Return the message that carries the call."""
        return self.kind, self.data, self.buffers

    def settle(self, kind: int, data: Buffer, buffers: Sequence[Buffer]) -> None:
        """Store the outcome as it came, and wake who waits. Idempotent."""
        self.kind = kind
        self.data = data
        self.buffers = buffers
        if kind == messages.ERROR:
            self._unfetched = Unfetched(self._links, data)
        self._conclude_or_call()

    def settle_error(self, error: BaseException) -> None:
        """Store a failure of the pool's own, and wake who waits."""
        self.data = None
        self.buffers = ()
        self._outcome = self._asked_for((False, error))
        if not self._outcome[0] and not isinstance(error, TaskCancelledError):
            self._unfetched = Unfetched(self._links, error)
        self._conclude_or_call()

    def _conclude_or_call(self) -> None:
        """Its outcome is there. One with callbacks counts as done when these were called."""
        if self._callbacks is None or self._links is None:
            self.conclude()
        else:
            self._links.collector.call_later(self.conclude)

    def conclude(self) -> None:
        """Everything but the callbacks is done: call them, then it counts as done."""
        if self._callbacks is not None:
            self._call_back(self._callbacks)
        links = self._links
        if self.constant is not None:
            self.constant = None
        self.settled = True
        if self._waiters:
            self.wake()
        if self._done_callbacks and links is not None:
            links.collector.call_later(self._run_done_callbacks)
        self._links = self._pool = None

    def _call_back(self, callbacks: Callbacks) -> None:
        """Call the callback that fits, in the collector thread. Raises nothing.

        A result that exits where it is unpickled is for no callback: whoever asks for it gets that.
        """
        try:
            good, value = self._open()
            callback = callbacks.value if good else callbacks.error
            if callback is not None:
                self._look_at()
                callback(value)
        except BaseException:
            logger().exception("a callback of the pool raised")

    def _await(self, links: Links, timeout: float | None) -> None:
        if not links.collector.wait(self, timeout):
            raise WaitTimeout(f"the task was not finished within {timeout} s")

    def _open(self) -> tuple[bool, Any]:
        """Decode the outcome, once: all callers get the same object."""
        # Before the look at the outcome: another thread sets that, and then takes these away.
        message = self.kind, self.data, self.buffers
        outcome = self._outcome
        if outcome is None:
            decoded_now = decoded(*message, self)
            if not decoded_now[0]:
                decoded_now = self._asked_for(decoded_now)
            self.__dict__.setdefault("_outcome", decoded_now)
            outcome = self._outcome
            self.data = None
            self.buffers = ()
        return outcome  # type: ignore[return-value]

    def _asked_for(self, outcome: tuple[bool, object]) -> tuple[bool, object]:
        """Return an outcome that is an exception as the caller wants it: raised, or returned."""
        if not self.options.return_exceptions or not may_be_returned(outcome[1]):
            return outcome
        self._look_at()
        return True, outcome[1]

    def _look_at(self) -> None:
        if self._unfetched is not None:
            self._unfetched.seen()

    def _run_done_callbacks(self) -> None:
        # The list stays: another thread may be about to append to it, and comes here afterwards.
        callbacks = self._done_callbacks
        while callbacks:
            try:
                callback = callbacks.pop(0)
            except IndexError:
                return  # another thread has the last one
            try:
                callback(self)
            except Exception:
                logger().exception("a callback of add_done_callback() raised")


AsyncResult = ApplyResult


def may_be_returned(error: object) -> bool:
    """Whether ``return_exceptions`` is about this exception: it is a task's, not of the pool's end."""
    return not isinstance(error, (TaskCancelledError, PoolBrokenError))


def decoded(
    kind: int, data: Buffer, buffers: Sequence[Buffer], task: Task | None = None
) -> tuple[bool, Any]:
    """Return ``(True, value)`` or ``(False, exception)`` for the outcome of a task as it came."""
    try:
        if kind == pickling.PICKLED and not buffers:
            return True, loads(data)
        if kind == messages.ERROR:
            remote = pickling.decode(pickling.PICKLED, data, buffers)
            if task is None:
                return False, remote.revive()
            return False, remote.revive(None if task.job is None else task.start, task.attempt)
        return True, pickling.decode(kind, data, buffers)
    except DecodeError as error:
        return False, error
    except Exception as error:
        failure = pickling.decode_error(data, error)
        failure.__cause__ = error
        return False, failure
