"""Waiting in one process: timeouts, bounds, many threads."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from functools import partial

import pytest

from channel_tools import EARLY, LATE, RECEIVES, SENDS, blocked_channel, has_length, running
from support.waiting import wait_for
from tines.errors import QueueShutDown
from tines.transport.contract import Message, Transport


@pytest.mark.parametrize("timeout", [0, 0.0, -1, -0.5, float("-inf")])
@pytest.mark.parametrize("name", [*RECEIVES, *SENDS])
def test_zero_and_less_never_wait(transport: Transport, name: str, timeout: float) -> None:
    call, nothing = {**RECEIVES, **SENDS}[name]
    channel = blocked_channel(transport, name)
    began = time.monotonic()
    assert call(channel, timeout) == nothing
    assert time.monotonic() - began < LATE


@pytest.mark.parametrize("timeout", [0.001, 0.05, 0.3])
@pytest.mark.parametrize("name", [*RECEIVES, *SENDS])
def test_a_timeout_is_kept(transport: Transport, name: str, timeout: float) -> None:
    call, nothing = {**RECEIVES, **SENDS}[name]
    channel = blocked_channel(transport, name)
    began = time.monotonic()
    assert call(channel, timeout) == nothing
    assert timeout - EARLY <= time.monotonic() - began < timeout + LATE
    statistics = channel.statistics()
    assert statistics.sent == (name in SENDS)
    assert statistics.waiting_receivers == statistics.waiting_senders == 0


@pytest.mark.parametrize("timeout", [None, 1e9, float("inf")])
def test_a_long_timeout_is_no_error(transport: Transport, timeout: float | None) -> None:
    channel = transport.channel()
    received: list[Message | None] = []
    with running(lambda: received.append(channel.recv(timeout))):
        wait_for(lambda: channel.statistics().waiting_receivers == 1)
        channel.send(b"at last")
    assert [bytes(message[2]) for message in received if message] == [b"at last"]


def test_a_timeout_that_is_no_number_is_refused(transport: Transport) -> None:
    channel = transport.channel()
    with pytest.raises(ValueError, match="timeout"):
        channel.recv(float("nan"))
    with pytest.raises(TypeError):
        channel.recv("1")  # type: ignore[arg-type]


def test_timeouts_do_not_lose_what_comes_just_then(transport: Transport) -> None:
    """Messages arrive at about the moment the receiver gives up: none is lost, none comes twice."""
    channel = transport.channel()
    count = 300

    def send() -> None:
        for n in range(count):
            time.sleep(0.0005 + 0.00001 * (n % 60))  # the moment varies on purpose
            channel.send(b"", tag=n)

    received: list[int] = []
    with running(send):
        while len(received) < count:
            message = channel.recv(0.0007)
            if message is not None:
                received.append(message[1])
    assert received == list(range(count))


def test_a_bound_in_items(transport: Transport) -> None:
    channel = transport.channel(max_items=3)
    for n in range(3):
        assert not channel.full()
        assert channel.send(b"", tag=n, timeout=0) >= 0
    assert channel.full()
    assert channel.send(b"", timeout=0) == -1
    assert channel.qsize() == 3
    assert channel.recv(0) is not None
    assert not channel.full()
    assert channel.send(b"", tag=3, timeout=0) >= 0
    assert [channel.recv(0)[1] for _ in range(3)] == [1, 2, 3]  # type: ignore[index]


def test_a_bound_in_bytes(transport: Transport) -> None:
    channel = transport.channel(max_bytes=25_000)
    assert channel.send(bytes(10_000), timeout=0) >= 0
    assert channel.send(b"", [bytes(10_000)], timeout=0) >= 0
    assert channel.send(bytes(10_000), timeout=0) == -1
    assert channel.qsize() == 2
    assert channel.recv(0) is not None
    assert channel.send(bytes(10_000), timeout=0) >= 0


def test_send_many_sends_what_fits(transport: Transport) -> None:
    channel = transport.channel(max_items=4)
    messages = [(0, n, b"", ()) for n in range(10)]
    assert channel.send_many(messages, 0) == 4
    assert channel.send_many(messages[4:], 0.01) == 0
    with running(lambda: channel.send_many(messages[4:])):
        assert [channel.recv(30)[1] for _ in range(10)] == list(range(10))  # type: ignore[index]


def test_room_wakes_a_blocked_sender(transport: Transport) -> None:
    channel = transport.channel(max_items=1)
    channel.send(b"", tag=0)
    tickets = []
    with running(lambda: tickets.append(channel.send(b"", tag=1))):
        wait_for(lambda: channel.statistics().waiting_senders == 1)
        assert channel.recv(0)[1] == 0  # type: ignore[index]
        assert channel.recv(30)[1] == 1  # type: ignore[index]
    assert tickets[0] >= 0


def test_an_unbounded_channel_never_blocks(transport: Transport) -> None:
    channel = transport.channel()
    for _ in range(64):
        assert channel.send(bytes(512 * 1024), timeout=0) >= 0
    assert not channel.full()
    while channel.recv(0) is not None:
        pass
    assert channel.statistics().bytes == 0


def test_each_message_goes_to_exactly_one_thread(transport: Transport) -> None:
    channel = transport.channel(max_items=16)
    producers, consumers, each = 3, 3, 400
    received: list[list[int]] = [[] for _ in range(consumers)]

    def produce(producer: int) -> None:
        for n in range(each):
            channel.send(bytes(n % 100), tag=producer << 32 | n)

    def consume(mine: list[int]) -> None:
        with contextlib.suppress(QueueShutDown):
            while True:
                message = channel.recv()
                assert message is not None
                mine.append(message[1])

    with running(*[lambda mine=mine: consume(mine) for mine in received]):
        with running(*[lambda n=n: produce(n) for n in range(producers)]):
            pass
        channel.shutdown()
    counted = Counter(tag for mine in received for tag in mine)
    assert counted == {p << 32 | n: 1 for p in range(producers) for n in range(each)}
    for mine in received:
        for producer in range(producers):
            own = [tag for tag in mine if tag >> 32 == producer]
            assert own == sorted(own)


def test_a_message_wakes_one_receiver_at_once(transport: Transport) -> None:
    channel = transport.channel()
    got: list[float] = []

    def receive() -> None:
        assert channel.recv(30) is not None
        got.append(time.monotonic())

    with running(receive, receive, receive):
        wait_for(lambda: channel.statistics().waiting_receivers == 3)
        for count in range(1, 4):
            sent = time.monotonic()
            channel.send(b"")
            wait_for(partial(has_length, got, count))
            assert got[-1] - sent < LATE
    assert channel.qsize() == 0
