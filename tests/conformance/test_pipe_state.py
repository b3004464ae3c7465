"""The state of one pipe channel, without sockets or threads, against a model."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tines.errors import QueueShutDown
from tines.transport.pipe.parcel import Parcel
from tines.transport.pipe.state import ChannelState
from tines.transport.pipe.waiters import Ended, Receiver, Sender


class Model(RuleBasedStateMachine):
    """Random calls on a channel's state, against plain lists of tags in the order of admission."""

    BOUND = 3

    def __init__(self) -> None:
        super().__init__()
        self.state = ChannelState(max_items=self.BOUND, leases=1)
        self.queue: list[int] = []
        self.order: list[int] = []
        self.held: list[Parcel] = []
        self.senders: dict[Sender, list[int]] = {}
        self.receivers: list[Receiver] = []
        self.tags = itertools.count()
        self.shut = False

    def admit(self, waiting: list[int]) -> None:
        while waiting and len(self.queue) < self.BOUND:
            self.order.append(waiting[0])
            self.queue.append(waiting.pop(0))

    def settle(self) -> None:
        """Do to the model what the state does by itself, in the same order of turns."""
        while True:
            if self.receivers and self.queue:
                receiver = self.receivers.pop(0)
                assert receiver.ended is Ended.DONE
                expected, self.queue = self.queue[: receiver.limit], self.queue[receiver.limit :]
                assert [parcel.tag for parcel in receiver.parcels] == expected
                self.held += receiver.parcels
            elif self.senders and len(self.queue) < self.BOUND:
                sender, waiting = next(iter(self.senders.items()))
                self.admit(waiting)
                if not waiting:
                    assert sender.ended is Ended.DONE
                    del self.senders[sender]
            else:
                return

    @rule(count=st.integers(1, 5), park=st.booleans())
    def send(self, count: int, park: bool) -> None:
        waiting = [next(self.tags) for _ in range(count)]
        sender = Sender(lambda _: None, [Parcel(0, tag, [b"x" * 10]) for tag in waiting])
        if self.shut:
            with pytest.raises(QueueShutDown):
                self.state.send(sender)
            return
        done = self.state.send(sender)
        if not self.senders:
            while waiting and len(self.queue) < self.BOUND:
                self.admit(waiting)
                self.settle()
        assert done == (not waiting)
        assert sender.position == count - len(waiting)
        if not done and park:
            self.senders[sender] = waiting
            self.state.park_sender(sender)

    @rule(limit=st.integers(1, 3), park=st.booleans())
    def receive(self, limit: int, park: bool) -> None:
        if not self.queue and self.shut:
            with pytest.raises(QueueShutDown):
                self.state.receive(limit, -1)
            return
        parcels = self.state.receive(limit, -1)
        expected, self.queue = self.queue[:limit], self.queue[limit:]
        assert [parcel.tag for parcel in parcels] == expected
        self.held += parcels
        self.settle()
        if not parcels and park:
            receiver = Receiver(lambda _: None, limit, -1)
            self.receivers.append(receiver)
            self.state.park_receiver(receiver)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        parcel = data.draw(st.sampled_from(self.held))
        self.held.remove(parcel)
        self.queue = sorted([*self.queue, parcel.tag], key=self.order.index)
        self.state.put_back([parcel])
        self.settle()

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        tag = data.draw(st.sampled_from(self.queue))
        assert self.state.revoke(self.order.index(tag))
        assert not self.state.revoke(self.order.index(tag))
        self.queue.remove(tag)
        self.settle()

    @precondition(lambda self: self.receivers)
    @rule(data=st.data())
    def forget_receiver(self, data: st.DataObject) -> None:
        receiver = data.draw(st.sampled_from(self.receivers))
        self.receivers.remove(receiver)
        self.state.forget(receiver)

    @precondition(lambda self: self.senders)
    @rule(data=st.data())
    def forget_sender(self, data: st.DataObject) -> None:
        sender = data.draw(st.sampled_from(list(self.senders)))
        del self.senders[sender]
        self.state.forget(sender)
        self.settle()

    @precondition(lambda self: not self.shut)
    @rule(chance=st.integers(0, 9))
    def shut_down(self, chance: int) -> None:
        if chance:
            return  # once it is shut down not much happens any more
        self.state.shut_down(immediate=False)
        for waiter in (*self.senders, *self.receivers):
            assert waiter.ended is Ended.SHUT_DOWN
        self.senders.clear()
        self.receivers.clear()
        self.shut = True

    @invariant()
    def counts_agree(self) -> None:
        statistics = self.state.statistics()
        assert statistics.depth == len(self.queue)
        assert statistics.bytes == 10 * len(self.queue)
        assert statistics.sent == len(self.order)
        assert statistics.waiting_receivers == len(self.receivers)
        assert statistics.waiting_senders == len(self.senders)
        assert self.state.full == (len(self.queue) >= self.BOUND or bool(self.senders))
        assert not any(waiter.ended for waiter in (*self.senders, *self.receivers))


Model.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no defect of the model
)
TestModel = Model.TestCase
