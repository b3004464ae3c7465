"""A channel in the process that owns it: the state itself, under the broker's lock, no socket.

A signal handler, or ``__del__``, may call in the midst of a call of the same thread. What it sends is then
sent when that call is through, before whatever this process sends next; it cannot receive just then, and
must not wait: nobody could end the wait.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence

from tines import _clock, _sockets
from tines.errors import QueueShutDown
from tines.transport.contract import Lease
from tines.transport.pipe.broker import Broker
from tines.transport.pipe.client import closed
from tines.transport.pipe.parcel import Parcel
from tines.transport.pipe.state import ChannelState
from tines.transport.pipe.waiters import Ended, Hint, Joiner, Receiver, Sender, Waiter
from tines.transport.statistics import ChannelStatistics

__all__ = ["Local", "LocalWatch"]


class _Gate:
    """What one waiting thread sleeps on; a plain lock, so that signals interrupt the sleep."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self, waiter: Waiter) -> None:
        self._lock.release()

    def wait(self, timeout: float) -> None:
        _clock.until(_clock.deadline_after(timeout), self._stretch)

    def _stretch(self, seconds: float | None) -> bool:
        return self._lock.acquire(timeout=-1 if seconds is None else seconds)


LATE = (1 << 63) - 1
"""The ticket of what is sent later: it cannot be taken back."""


def _would_hang(what: str) -> RuntimeError:
    return RuntimeError(
        f"a signal handler or __del__ tried to wait for {what}, but it had interrupted this thread in the "
        "middle of a call to a queue, so that wait could never end: do not wait there"
    )


def _nobody(waiter: Waiter) -> None:
    """The ``notify`` of a waiter that is not parked."""


class LocalWatch(Hint):
    """A descriptor that is readable exactly while the channel has something to say."""

    def __init__(self, broker: Broker, state: ChannelState) -> None:
        self._broker = broker
        self._state = state
        self._shown = False
        self._reader, self._writer = _sockets.pair()
        with broker.lock:
            state.add_hint(self)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._reader.fileno()

    def show(self) -> None:
        """There is something to receive, or the channel was shut down."""
        if not self._shown:
            self._shown = True
            self._writer.send(b"\0")

    def hide(self) -> None:
        """There is nothing to receive any more."""
        if self._shown:
            self._shown = False
            self._reader.recv(1)

    def settle(self) -> None:
        """Nothing to do: it is exact."""

    def close(self) -> None:
        """Close it."""
        with self._broker.lock:
            self._state.remove_hint(self)
            self.abandon()

    def abandon(self) -> None:
        """In a forked child: close this copy. Takes no lock, somebody may have held it."""
        self._reader.close()
        self._writer.close()


class Local:
    """The same methods as :class:`~.client.Remote`; any thread may call them."""

    __slots__ = ("_broker", "_lock", "_state")

    copies = True
    """Whether parcels given to ``send`` must be copies of what the caller has."""

    def __init__(self, broker: Broker, state: ChannelState) -> None:
        self._broker = broker
        self._lock = broker.lock
        self._state = state

    def send(self, parcels: Sequence[Parcel], timeout: float) -> int:
        """Send in order; return how many were, and set the ticket of each of them."""
        sender = Sender(_nobody, parcels)
        if self._broker.interrupted:
            return self._send_late(sender, timeout)
        with self._lock:
            self._broker.catch_up()
            if self._state.send(sender) or timeout <= 0:
                return sender.position
            gate = _Gate()
            sender.notify = gate.open
            self._state.park_sender(sender)
        self._wait(gate, sender, timeout, "nothing can be sent any more")
        return sender.position

    def _send_late(self, sender: Sender, timeout: float) -> int:
        if self._state.is_shut:
            raise QueueShutDown("the channel was shut down: nothing can be sent any more")
        if self._state.full:
            if timeout > 0:
                raise _would_hang("room in it")
            return 0
        for parcel in sender.parcels:
            parcel.ticket = LATE
        self._broker.do_late(lambda: self._state.send_all(sender))
        return len(sender.parcels)

    def receive(self, limit: int, timeout: float, lease: int) -> tuple[list[Parcel], int]:
        """Take up to ``limit`` parcels; also return how many remain."""
        if self._broker.interrupted:
            if timeout > 0:
                raise _would_hang("a message")
            return [], 1
        with self._lock:
            self._broker.catch_up()
            parcels = self._state.receive(limit, lease)
            if parcels or timeout <= 0:
                return parcels, 1
            gate = _Gate()
            receiver = Receiver(gate.open, limit, lease)
            self._state.park_receiver(receiver)
        self._wait(gate, receiver, timeout, "and all it held was received")
        return receiver.parcels, 1

    def _wait(self, gate: _Gate, waiter: Waiter, timeout: float, reason: str) -> None:
        """Sleep until the waiter is served or its time is up.

        An exception (a signal's) takes the waiter out again, and gives back what it was handed.
        """
        try:
            gate.wait(timeout)
            if waiter.ended is None:
                with self._lock:
                    self._state.forget(waiter)
        except BaseException:
            with self._lock:
                self._state.forget(waiter)
                if isinstance(waiter, Receiver) and waiter.parcels:
                    self._state.put_back(waiter.parcels, waiter.lease)
            raise
        if waiter.ended is Ended.SHUT_DOWN:
            raise QueueShutDown(f"the channel was shut down: {reason}")
        if waiter.ended is Ended.GONE:
            raise closed()

    def revoke(self, ticket: int) -> bool:
        """See the contract."""
        if self._broker.interrupted:
            return False
        with self._lock:
            self._broker.catch_up()
            return self._state.revoke(ticket)

    def lease(self, index: int) -> Lease | None:
        """See the contract. First reads what the holder has written: exact once it is dead."""
        with self._lock:
            pid = self._state.holder(index)
            if pid:
                self._broker.drain(pid)
            return self._state.lease(index)

    def held(self, index: int) -> float:
        """See the contract."""
        with self._lock:
            return self._state.held(index)

    def release(self, index: int) -> None:
        """See the contract."""
        with self._lock:
            self._state.release(index)

    def ticking(self, iterable: Iterable[object], index: int) -> Iterator[object]:
        """See the contract."""
        tick = self._state.tick
        for progress, item in enumerate(iterable, 1):
            tick(index, progress)
            yield item

    def task_done(self) -> None:
        """See the contract."""
        if self._broker.interrupted:
            self._broker.do_late(self._state.task_done)
            return
        with self._lock:
            self._broker.catch_up()
            self._state.task_done()

    def join(self, timeout: float) -> bool:
        """See the contract."""
        if self._broker.interrupted and timeout > 0:
            raise _would_hang("all to be done")
        with self._lock:
            if self._state.finished or timeout <= 0:
                return self._state.finished
            gate = _Gate()
            joiner = Joiner(gate.open)
            self._state.park_joiner(joiner)
        self._wait(gate, joiner, timeout, "")
        return joiner.ended is Ended.DONE

    def shutdown(self, immediate: bool) -> None:
        """See the contract."""
        if self._broker.interrupted:
            self._broker.do_late(lambda: self._state.shut_down(immediate))
            return
        with self._lock:
            self._broker.catch_up()
            self._state.shut_down(immediate)

    def statistics(self) -> tuple[ChannelStatistics, bool]:
        """Return the statistics, and whether the channel is full."""
        with self._lock:
            return self._state.statistics(), self._state.full

    def watch(self) -> LocalWatch:
        """Return a descriptor of this process's own for ``fileno``."""
        return LocalWatch(self._broker, self._state)
