"""The state of one channel in its owner's memory: messages, who waits, leases. No I/O, no locks.

Every method is called under the broker's lock. Data flows so: a sender's parcels are admitted into
``_pending`` in ticket order; :meth:`ChannelState._settle` hands them to parked receivers and then
admits parked senders, until neither moves. A waiter is told by its ``notify`` callback, which must
not block and must not call back into the state.

Invariants:

* ``_pending`` is in ascending ticket order, also after a parcel was put back.
* A receiver is parked only while nothing is pending, a sender only while its next parcel does not
  fit or an earlier sender is parked: both queues are first come, first served.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from tines import _clock
from tines.errors import QueueShutDown
from tines.transport.contract import Lease
from tines.transport.pipe.parcel import Parcel
from tines.transport.pipe.ticks import Page
from tines.transport.pipe.waiters import Ended, Hint, Joiner, Receiver, Sender, Waiter
from tines.transport.statistics import ChannelStatistics

__all__ = ["ChannelState"]

# A batch is cut here, so that one reply never holds a whole queue of large messages.
_BATCH_BYTES = 4 * 1024 * 1024


class _Slot:
    """What the holder of one lease slot is doing."""

    __slots__ = ("pid", "since", "tag", "ticket")

    def __init__(self, parcel: Parcel, pid: int) -> None:
        self.pid = pid
        self.tag = parcel.tag
        self.ticket = parcel.ticket
        self.since = _clock.monotonic()


class ChannelState:
    """One channel. See the module's docstring."""

    def __init__(self, *, max_items: int = 0, max_bytes: int = 0, leases: int = 0) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._pending: OrderedDict[int, Parcel] = OrderedDict()
        self._bytes = 0
        self._sent = 0
        self._received = 0
        self._unfinished = 0
        self._shut = False
        self._discarding = False
        self._receivers: OrderedDict[Receiver, None] = OrderedDict()
        self._senders: OrderedDict[Sender, None] = OrderedDict()
        self._joiners: OrderedDict[Joiner, None] = OrderedDict()
        self._slots: list[_Slot | None] = [None] * leases
        self.page = Page(leases)
        self._held = [0.0] * leases
        self._hints: list[Hint] = []
        # The broker's name for it, and who keeps it alive: see ``broker``.
        self.number = 0
        self.holders: set[object] = set()

    # Sending.

    def send(self, sender: Sender) -> bool:
        """Admit what fits now; whether that was all. The caller parks the sender if it was not.

        Raises:
            QueueShutDown: no sends any more.
        """
        if self._shut:
            raise QueueShutDown("the channel was shut down: nothing can be sent any more")
        if not self._senders:
            self._admit(sender)
            if self._receivers or self._hints:
                self._settle()
                while sender.position < len(sender.parcels) and self._admit(sender):
                    self._settle()
        return sender.position == len(sender.parcels)

    def send_all(self, sender: Sender) -> None:
        """Admit everything, also beyond the bounds: what was accepted before, and could not be sent then.

        Raises:
            QueueShutDown: no sends any more.
        """
        if self._shut:
            raise QueueShutDown("the channel was shut down: nothing can be sent any more")
        for parcel in sender.parcels[sender.position :]:
            self._accept(parcel)
        sender.position = len(sender.parcels)
        self._settle()

    def _fits(self, parcel: Parcel) -> bool:
        if self._max_items and len(self._pending) >= self._max_items:
            return False
        # One message larger than the bound may travel alone.
        return not (
            self._max_bytes and self._pending and self._bytes + parcel.size > self._max_bytes
        )

    def _admit(self, sender: Sender) -> bool:
        """Move parcels of one sender in while they fit; whether any did."""
        before = position = sender.position
        parcels = sender.parcels
        while position < len(parcels) and self._fits(parcels[position]):
            self._accept(parcels[position])
            position += 1
        sender.position = position
        return position > before

    def _accept(self, parcel: Parcel) -> None:
        parcel.ticket = self._sent
        self._pending[self._sent] = parcel
        self._sent += 1
        self._bytes += parcel.size
        self._unfinished += 1

    def park_sender(self, sender: Sender) -> None:
        """Queue a sender that :meth:`send` could not finish."""
        self._senders[sender] = None

    def revoke(self, ticket: int) -> bool:
        """Take a parcel back that nobody received yet."""
        parcel = self._pending.pop(ticket, None)
        if parcel is None:
            return False
        self._bytes -= parcel.size
        self._count_as_done(1)
        self._settle()
        return True

    # Receiving.

    def receive(self, limit: int, lease: int, pid: int = 0) -> list[Parcel]:
        """Take up to ``limit`` parcels, none if none is there.

        Raises:
            QueueShutDown: shut down, and drained.
        """
        if self._pending:
            parcels = self._take(limit, lease, pid)
            if self._senders or self._hints:
                self._settle()
            return parcels
        if self._shut:
            raise QueueShutDown("the channel was shut down, and all it held was received")
        return []

    def _take(self, limit: int, lease: int, pid: int) -> list[Parcel]:
        pending = self._pending
        parcels: list[Parcel] = []
        size = 0
        while pending and len(parcels) < limit:
            following = next(iter(pending.values()))
            if parcels and size + following.size > _BATCH_BYTES:
                break
            parcels.append(pending.popitem(last=False)[1])
            size += following.size
        self._bytes -= size
        self._received += len(parcels)
        if lease >= 0:
            self.page.numbers[lease] = 0
            self._slots[lease] = _Slot(parcels[0], pid)
        return parcels

    def park_receiver(self, receiver: Receiver) -> None:
        """Queue a receiver for which :meth:`receive` had nothing."""
        self._receivers[receiver] = None

    def put_back(self, parcels: Iterable[Parcel], lease: int = -1) -> None:
        """Return parcels whose receiver never had them, to where they were in the order."""
        for parcel in parcels:
            if lease >= 0:
                slot = self._slots[lease]
                if slot is not None and slot.ticket == parcel.ticket:
                    self._slots[lease] = None
            self._received -= 1
            if self._discarding:
                self._received += 1
                self._count_as_done(1)
                continue
            self._insert(parcel)
            self._bytes += parcel.size
        self._settle()

    def _insert(self, parcel: Parcel) -> None:
        pending = self._pending
        earlier = []
        while pending and next(iter(pending)) < parcel.ticket:
            earlier.append(pending.popitem(last=False)[1])
        for each in (parcel, *reversed(earlier)):
            pending[each.ticket] = each
            pending.move_to_end(each.ticket, last=False)

    # Both.

    def _settle(self) -> None:
        """Serve parked receivers and senders until nobody moves; then correct the hints."""
        while True:
            if self._receivers and self._pending:
                receiver = self._receivers.popitem(last=False)[0]
                receiver.parcels = self._take(receiver.limit, receiver.lease, receiver.pid)
                receiver.end(Ended.DONE)
            elif self._senders and self._admit(sender := next(iter(self._senders))):
                if sender.position == len(sender.parcels):
                    del self._senders[sender]
                    sender.end(Ended.DONE)
            else:
                break
        for hint in self._hints:
            if self._pending or self._shut:
                hint.show()
            else:
                hint.hide()

    def forget(self, waiter: Waiter) -> None:
        """Drop a parked waiter, if it still is parked. What a sender has admitted stays sent."""
        if isinstance(waiter, Receiver):
            self._receivers.pop(waiter, None)
        elif isinstance(waiter, Sender):
            if self._senders.pop(waiter, waiter) is None:
                self._settle()
        elif isinstance(waiter, Joiner):
            self._joiners.pop(waiter, None)

    def shut_down(self, immediate: bool) -> None:
        """End sending; with ``immediate`` also discard what is queued. Wakes who cannot go on."""
        self._shut = True
        if immediate:
            self._discarding = True
            discarded = len(self._pending)
            self._pending.clear()
            self._bytes = 0
            self._count_as_done(discarded)
        while self._senders:
            self._senders.popitem(last=False)[0].end(Ended.SHUT_DOWN)
        while self._receivers:  # parked, so nothing is pending
            self._receivers.popitem(last=False)[0].end(Ended.SHUT_DOWN)
        self._settle()

    def vanish(self) -> None:
        """The channel is given up: let go of everybody and everything."""
        waiters: list[Waiter] = [*self._receivers, *self._senders, *self._joiners]
        self._receivers.clear()
        self._senders.clear()
        self._joiners.clear()
        self._pending.clear()
        self.page.close()
        for waiter in waiters:
            waiter.end(Ended.GONE)

    # Counting.

    def task_done(self) -> None:
        """Count one message as dealt with.

        Raises:
            ValueError: more often than there were messages.
        """
        if not self._unfinished:
            raise ValueError("task_done() called too many times")
        self._count_as_done(1)

    def _count_as_done(self, count: int) -> None:
        self._unfinished = max(0, self._unfinished - count)
        if self._unfinished == 0:
            while self._joiners:
                self._joiners.popitem(last=False)[0].end(Ended.DONE)

    @property
    def finished(self) -> bool:
        """Whether every message sent was counted as done."""
        return self._unfinished == 0

    def park_joiner(self, joiner: Joiner) -> None:
        """Queue somebody until :attr:`finished`."""
        self._joiners[joiner] = None

    # Leases.

    def lease(self, index: int) -> Lease | None:
        """Return what the holder of a slot took and did not release."""
        slot = self._slots[index]
        return None if slot is None else Lease(slot.tag, self.page.numbers[index], slot.since)

    def holder(self, index: int) -> int:
        """Return the process that holds a slot; 0 if none does, or the owner itself."""
        slot = self._slots[index]
        return 0 if slot is None else slot.pid

    def release(self, index: int) -> None:
        """Empty a slot."""
        self._held[index] = self.held(index)
        self._slots[index] = None

    def held(self, index: int) -> float:
        """Return for how many seconds a slot has been held, up to now."""
        slot = self._slots[index]
        return self._held[index] + (0.0 if slot is None else _clock.monotonic() - slot.since)

    def tick(self, index: int, progress: int) -> None:
        """Record progress in a slot, if it is held."""
        if self._slots[index] is not None:
            self.page.numbers[index] = progress

    # Looking.

    def add_hint(self, hint: Hint) -> None:
        """Keep somebody's descriptor right from now on."""
        self._hints.append(hint)
        if self._pending or self._shut:
            hint.show()

    def remove_hint(self, hint: Hint) -> None:
        """Stop that."""
        if hint in self._hints:
            self._hints.remove(hint)

    @property
    def is_shut(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._shut

    @property
    def readable(self) -> bool:
        """Whether ``receive`` would return at once, with something or with the shutdown."""
        return bool(self._pending) or self._shut

    @property
    def depth(self) -> int:
        """How many parcels are pending."""
        return len(self._pending)

    @property
    def full(self) -> bool:
        """Whether one small message would have to wait."""
        if self._senders or (self._max_items and len(self._pending) >= self._max_items):
            return True
        return bool(self._max_bytes and self._pending and self._bytes >= self._max_bytes)

    def statistics(self) -> ChannelStatistics:
        """Return a picture of this moment."""
        return ChannelStatistics(
            depth=len(self._pending),
            bytes=self._bytes,
            sent=self._sent,
            received=self._received,
            waiting_receivers=len(self._receivers),
            waiting_senders=len(self._senders),
        )
