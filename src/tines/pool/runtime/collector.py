"""Who takes results out of the results channel, and how those who wait learn of theirs.

At any time at most one thread collects: the one in the *seat*. So messages are handled in the order
in which the channel delivers them, and whatever a worker sent is dealt with before the notice of its
death, which travels through the same channel (:meth:`Collector.post`).

* A caller that waits takes the seat if it is free and collects for everybody until its own result has
  arrived. So ``apply`` needs no other thread: the result wakes the caller itself.
* If the seat is taken the caller *follows*: it waits on a lock of its own, which is released when its
  result is settled, or when the seat becomes free.
* The collector thread collects while nobody waits, and gives the seat to followers after each
  batch. Callers deliver plain outcomes only; what else they find (chunks, events, results with
  callbacks) they leave in the inbox, and call the collector thread (*urgent*).

Nothing gets stuck, because whoever leaves the seat looks at what is left: it wakes a follower, or else
the collector thread if that is parked and something is pending. The collector thread, woken for no
urgent reason, waits ``PATIENCE`` before it takes the seat: a caller that goes through many results
leaves it and comes back thousands of times a second, and must not have to share the GIL each time.

Ctrl-C may interrupt a collecting caller anywhere. A message therefore goes from the channel to the
inbox without a byte code in between, and leaves the inbox when it has been handled; to handle one
twice does no harm.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from tines import _clock
from tines.errors import QueueShutDown, TransportError
from tines.pool.jobs.failures import logger
from tines.wire.descriptors import is_marked
from tines.wire.messages import ERROR, EVENT, LAST_PLAIN, READY, SLOT_SHIFT, TAG_MASK, VALUES

if TYPE_CHECKING:
    from tines.pool.events import Observer
    from tines.pool.ports import Awaited, Rings
    from tines.pool.runtime.arrivals import Arrivals
    from tines.pool.runtime.machine import Machine
    from tines.pool.runtime.tally import Tally
    from tines.transport.contract import Channel, Message

__all__ = ["Collector"]

T = TypeVar("T")

PATIENCE = 2e-3
BATCH = 256

_main = threading.main_thread().ident

_flatten = chain.from_iterable


class Collector:
    """The results side of one pool. See the module for the protocol.

    Attributes:
        parked: Whether the collector thread does nothing until it is called.
    """

    def __init__(
        self,
        results: Channel,
        machine: Machine,
        arrivals: Arrivals,
        tally: Tally,
        observer: Observer | None,
        *,
        atomic: bool,
    ) -> None:
        """Make it.

        Args:
            results: The channel.
            machine: Knows what is pending.
            arrivals: Handle what callers cannot.
            tally: Counts what is finished.
            observer: Is told of what was dealt with.
            atomic: Whether ``recv_many`` is one step for signal handlers. If not, the main thread,
                in which they run, always leaves collecting to others.
        """
        self._atomic = atomic
        self._results = results
        self._machine = machine
        self._state = machine.state
        self._arrivals = arrivals
        self._tally = tally
        self._observer = observer
        self._recv_many = results.recv_many
        self._inbox: deque[Message] = deque()
        self._events: deque[Callable[[], object]] = deque()
        self._calls: deque[Callable[[], object]] = deque()
        self._followers: deque[Rings] = deque()
        self._seat = threading.Lock()
        # A binary semaphore on which the collector thread parks.
        self._gate = threading.Lock()
        self._gate.acquire()
        self.parked = False
        self._urgent = False
        self._hasty = False
        self._stopped = False
        self._ident = -1
        # Held from the start of the thread until it has nothing more to do.
        self._working = threading.Lock()
        # Only while it may be alive: each fork has something to do for a thread that is referred to.
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the collector thread."""
        self._thread = threading.Thread(target=self._run, name="tines pool collector", daemon=True)
        self._working.acquire()
        try:
            self._thread.start()
        except RuntimeError:
            self._working.release()
            raise

    @property
    def is_current(self) -> bool:
        """Whether this is the collector thread."""
        return threading.get_ident() == self._ident

    # Waiting: any thread.

    def wait(self, target: Awaited, timeout: float | None = None) -> bool:
        """Wait until ``target`` is settled; ``False``: it is not, after so long."""
        deadline = _clock.deadline_after(timeout)
        if self.is_current:
            return self._serve(target, deadline)
        may_lead = target.express and (self._atomic or threading.get_ident() != _main)
        while not target.settled:
            if self._stopped:
                self._machine.await_end()
                return bool(target.settled)
            if may_lead and not self._urgent and self._seat.acquire(False):
                try:
                    self._lead(target, deadline)
                finally:
                    self._seat.release()
                    self._leave()
                if not self._urgent and not target.settled and _clock.passed(deadline):
                    return False
            elif not self._follow(target, deadline, may_lead):
                return bool(target.settled)
        return True

    def look(self) -> None:
        """Collect what is there without waiting, unless somebody is collecting anyway."""
        if not self._atomic and threading.get_ident() == _main:
            self.expect(False)
        elif not self._urgent and not self._stopped and self._seat.acquire(False):
            try:
                self._receive(0.0)
                self._deliver_plain()
            finally:
                self._seat.release()
                self._leave()

    def _lead(self, target: Awaited, deadline: float | None) -> None:
        """Collect, in the seat, until the target is settled, time is up or the thread is needed."""
        while self._deliver_plain() and not target.settled and not self._stopped:
            remaining = None
            if deadline is not None:
                remaining = _clock.left(deadline)
                if not remaining:
                    return
            self._receive(remaining)

    def _receive(self, timeout: float | None) -> None:
        """Move messages from the channel to the inbox."""
        try:
            # All in C: no signal handler runs while messages are in no container.
            self._inbox.extend(_flatten(map(self._recv_many, (BATCH,), (timeout,))))
            if self._observer is not None:
                self._observer.received()
        except (QueueShutDown, TransportError, ValueError) as error:
            if not self._stopped:
                self._machine.transport_lost(error)

    def _deliver_plain(self) -> bool:
        """Deliver plain outcomes from the inbox; ``False``: the next one is not for a caller."""
        inbox = self._inbox
        state = self._state
        find, take = state.find, state.take
        tally = self._tally
        observer = self._observer
        done = tally.done
        while inbox:
            kind, tag, data, buffers = inbox[0]
            if kind == READY:  # so the first caller need not wait for the thread
                self._arrivals.notice(kind, tag, data, buffers)
                inbox.popleft()
                continue
            if kind > LAST_PLAIN:
                self._summon()
                return False
            dispatch = tag & TAG_MASK
            task = find(dispatch)
            if task is None:
                if state.has_stops:
                    self._summon()
                    return False
            elif not task.express or is_marked(buffers):
                self._summon()
                return False
            else:
                if kind == ERROR:
                    tally.has_raised(task, data)
                task.settle(kind, data, buffers)
                take(dispatch, None)
                done[tag >> SLOT_SHIFT] += 1
            inbox.popleft()
            if observer is not None:
                observer.settled(kind, tag, data, buffers)
        return True

    def _follow(self, target: Awaited, deadline: float | None, may_lead: bool) -> bool:
        """Wait for news from whoever collects; ``False``: none came in time."""
        lock = threading.Lock()
        lock.acquire()
        try:
            target.add_waiter(lock)
            if may_lead:
                self._followers.append(lock)
            if target.settled or self._stopped:
                return True
            if may_lead and not self._urgent and not self._seat.locked():
                return True
            if not may_lead and not self._seat.locked():
                self.hurry()
            seconds = _clock.stretch(deadline)
            return lock.acquire(timeout=-1 if seconds is None else seconds) or not _clock.passed(
                deadline
            )
        finally:
            target.remove_waiter(lock)
            if may_lead:
                if lock in self._followers:
                    self._followers.remove(lock)
                self._leave()

    def _leave(self) -> None:
        """Having left the seat, or the followers: see that somebody goes on collecting."""
        if self._urgent:
            self._wake_thread()
        elif self._followers and not self._seat.locked():
            try:
                self._followers[0].release()
            except (IndexError, RuntimeError):
                pass  # it has left, or was woken before
        elif self.parked and self._has_work():
            self._wake_thread()
        if self._state.is_closed:
            self._machine.check_drained()

    # Calling the collector thread: any thread.

    def expect(self, express: bool) -> None:
        """Something was sent, so a result is to come: see that somebody collects it.

        Args:
            express: A caller may be about to wait for it, and is given time to.
        """
        if self.parked and not self._seat.locked():
            if not express or not self._atomic:
                self._hasty = True
            self._wake_thread()

    def hurry(self) -> None:
        """There is something for the collector thread to do now."""
        self._hasty = True
        self._wake_thread()

    def attend(self) -> None:
        """Somebody who will not wait in the seat is to be told of a result: collect at once."""
        if not self._seat.locked():
            self.hurry()

    def call_later(self, function: Callable[[], object]) -> None:
        """Have the collector thread call something, outside the seat."""
        self._calls.append(function)
        if self._stopped and not self._runs():
            self._run_calls()
        elif not self.is_current:
            self.post(_nothing)

    def post(self, event: Callable[[], object]) -> None:
        """Have the collector thread handle an event after everything that is in the channel now."""
        self._events.append(event)
        try:
            self._results.send(b"", (), EVENT)
        except (QueueShutDown, TransportError, ValueError):
            pass  # the end has come; who waits for it looks at that
        self._hasty = True
        self._wake_thread()

    def nudge(self) -> None:
        """Something was settled elsewhere: a caller in the seat may be waiting for just that."""
        if self._seat.locked() and not self.is_current:
            self.post(_nothing)

    def stop(self) -> None:
        """End the collector thread and every wait. Everything has been settled before."""
        self._stopped = True
        self._results.shutdown(immediate=True)
        self._wake_thread()
        for lock in list(self._followers):
            try:
                lock.release()
            except RuntimeError:
                pass

    def await_end(self) -> None:
        """Wait until the collector thread has nothing more to do: for a plain thread."""
        with self._working:
            pass

    def join(self) -> None:
        """Wait for the end of the collector thread, unless this is it."""
        if not self.is_current:
            thread = self._thread
            if thread is not None and thread.is_alive():
                self.await_end()  # first, as a ``join`` that was interrupted may not wait again
                thread.join()
            self._thread = None
            # Whoever found the thread alive has left a call to it that it may not have seen.
            self._run_calls()

    def _runs(self) -> bool:
        thread = self._thread
        return thread is not None and thread.is_alive()

    def _summon(self) -> None:
        self._urgent = True

    def _wake_thread(self) -> None:
        try:
            self._gate.release()
        except RuntimeError:
            pass  # it is awake, or about to be

    def _has_work(self) -> bool:
        return bool(self._state.has_pending or self._events or self._inbox or self._calls)

    # The collector thread.

    def call(self, callback: Callable[[T], object], value: T) -> None:
        """Call a callback of a caller; one that raises is logged and harms nobody."""
        try:
            callback(value)
        except Exception:
            logger().exception("a callback of the pool raised")
        except BaseException:
            logger().exception("a callback of the pool raised; it cannot end the pool from here")

    def _run(self) -> None:
        self._ident = threading.get_ident()
        try:
            while self._take_seat():
                self._collect(None)
            self._run_calls()
        finally:
            self._working.release()

    def _serve(self, target: Awaited, deadline: float | None) -> bool:
        """Wait in the collector thread itself: a callback uses the pool."""
        while not target.settled and not _clock.passed(deadline) and self._take_seat():
            self._collect(deadline)
        return bool(target.settled)

    def _collect(self, deadline: float | None) -> None:
        """Receive and handle a batch, in the seat, and what follows from it, outside."""
        try:
            self._urgent = self._hasty = False
            if not self._inbox and not self._calls:
                self._receive(_clock.left(deadline))
            self._handle_all()
        except BaseException:  # nothing may end this thread: all that wait depend on it
            logger().exception("the pool could not handle a message")
        finally:
            self._seat.release()
        self._leave()
        self._arrivals.after_batch()
        self._run_calls()

    def _run_calls(self) -> None:
        while self._calls:
            try:
                function = self._calls.popleft()
            except IndexError:
                return  # at the end several threads may be here
            self.call(_call, function)

    def _take_seat(self) -> bool:
        """Wait until the thread should take the seat, and take it; ``False``: the pool has ended."""
        giving_way = bool(self._followers)
        while not self._stopped:
            now = self._hasty or self._urgent or not giving_way
            if now and self._has_work() and self._seat.acquire(False):
                return True
            if not giving_way:
                # First parked, then the look: a caller that leaves after the look sees it parked.
                self.parked = True
                if self._seat.locked() or not self._has_work():
                    self._gate.acquire()
                self.parked = False
            giving_way = False
            if not (self._hasty or self._urgent or self._stopped):
                self._gate.acquire(timeout=PATIENCE)
        return False

    def _handle_all(self) -> None:
        """Handle what is in the inbox, in order."""
        inbox = self._inbox
        arrivals = self._arrivals
        observer = self._observer
        while inbox:
            kind, tag, data, buffers = inbox[0]
            try:
                if kind == EVENT:
                    if self._events:
                        self._events.popleft()()
                elif kind == VALUES or kind <= LAST_PLAIN:
                    arrivals.outcome(kind, tag, data, buffers)
                    if observer is not None:
                        observer.settled(kind, tag, data, buffers)
                else:
                    arrivals.notice(kind, tag, data, buffers)
            finally:
                inbox.popleft()


def _nothing() -> None:
    pass


def _call(function: Callable[[], object]) -> None:
    function()
