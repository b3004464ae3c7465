"""Channels between processes that all behave, under every start method."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from channel_tools import WAIT, Finish, must
from support.processes import Start
from support.waiting import wait_for
from tines.errors import QueueShutDown
from tines.transport.contract import Channel, Shared, Transport
from tines.wire.pickling import decode, encode

MEGABYTE = 1024 * 1024


# Children.


def echo(inbox: Channel, outbox: Channel) -> None:
    """Send everything back, each buffer changed in place, until the inbox is shut down."""
    try:
        while True:
            kind, tag, data, buffers = must(inbox.recv(WAIT))
            for buffer in buffers:
                view = memoryview(buffer)
                if len(view):
                    view[0] = view[-1] = 0xFF
            outbox.send(data, buffers, kind, tag)
    except QueueShutDown:
        outbox.shutdown()


def produce(channel: Channel, producer: int, count: int, batch: int) -> None:
    for n in range(0, count, batch):
        tags = [producer << 32 | number for number in range(n, min(n + batch, count))]
        if batch == 1:
            assert channel.send(bytes(n % 300), tag=tags[0]) >= 0
        else:
            assert channel.send_many([(0, tag, b"m", ()) for tag in tags]) == len(tags)


def consume(channel: Channel, results: Channel, batch: int) -> None:
    """Receive until the shutdown, then send what was received as one message."""
    tags: list[int] = []
    try:
        while True:
            if batch == 1:
                tags.append(must(channel.recv(WAIT))[1])
            else:
                tags += [message[1] for message in channel.recv_many(batch, WAIT)]
    except QueueShutDown:
        results.send(" ".join(map(str, tags)).encode())


def use_everything(channel: Channel, bounded: Channel, leased: Channel) -> None:
    """The calls that need no second process at the same time, made from a child."""
    assert channel.qsize() == 0
    began = time.monotonic()
    assert channel.recv(0) is None
    assert channel.recv(-1) is None
    assert channel.recv_many(3, 0) == []
    assert channel.recv(0.2) is None
    assert 0.198 <= time.monotonic() - began < 20
    first, second = channel.send(b"one", tag=1), channel.send(b"two", tag=2)
    assert 0 <= first != second >= 0
    assert channel.qsize() == 2
    assert channel.revoke(first)
    assert not channel.revoke(first)
    assert must(channel.recv(0))[1] == 2
    assert not channel.revoke(second)
    assert not channel.join(0.05)
    channel.task_done()
    assert channel.join(0)
    with pytest.raises(ValueError, match="task_done"):
        channel.task_done()

    assert bounded.send_many([(0, n, b"", ()) for n in range(5)], 0) == 2
    assert bounded.full()
    assert bounded.send(b"", timeout=0) == -1
    assert bounded.send(b"", timeout=0.05) == -1
    statistics = bounded.statistics()
    assert (statistics.depth, statistics.sent, statistics.received) == (2, 2, 0)
    assert [message[1] for message in bounded.recv_many(10, 0)] == [0, 1]
    assert not bounded.full()

    leased.send(b"", tag=9)
    assert must(leased.recv(0, lease=1))[1] == 9
    assert list(leased.ticking("abc", 1)) == ["a", "b", "c"]
    with pytest.raises((ValueError, IndexError)):
        leased.recv(0, lease=2)

    channel.shutdown()
    with pytest.raises(QueueShutDown):
        channel.send(b"")
    with pytest.raises(QueueShutDown):
        channel.recv()


def wait_for_the_end(empty: Channel, full: Channel, joined: Channel, results: Channel) -> None:
    """Block in every way at once, in threads; report what ended each."""

    def expect_shutdown(call: Callable[[], object]) -> None:
        try:
            call()
        except QueueShutDown:
            results.send(b"shut down")

    def expect_join() -> None:
        assert joined.join(WAIT)
        results.send(b"joined")

    threads = [
        threading.Thread(target=expect_shutdown, args=(lambda: empty.recv(WAIT),)),
        threading.Thread(target=expect_shutdown, args=(lambda: empty.recv_many(3),)),
        threading.Thread(target=expect_shutdown, args=(lambda: full.send(b"late"),)),
        threading.Thread(target=expect_join),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def open_shared(shared: Shared, results: Channel) -> None:
    data, buffers = shared.open()
    assert bytes(data) == b"head"
    view = memoryview(buffers[0])
    assert bytes(view[:3]) == b"sss", "another process's change must not be seen"
    view[:3] = b"???"
    again, _ = shared.open()
    assert bytes(again) == b"head"
    results.send(bytes(view[:4]))


def pass_on(post: Channel) -> None:
    """Receive a channel in a message, and use it."""
    kind, _, data, buffers = must(post.recv(WAIT))
    channel = decode(kind, data, buffers)
    assert must(channel.recv(WAIT))[1] == 1
    channel.send(b"from the child", tag=2)
    channel.close()


def select_and_receive(channel: Channel, answers: Channel) -> None:
    try:
        while True:
            assert select.select([channel.fileno()], [], [], WAIT)[0]
            while (message := channel.recv(0)) is not None:
                answers.send(b"", tag=message[1])
    except QueueShutDown:
        channel.close()


def interrupted_receiver(channel: Channel, reports: Channel) -> None:
    """Be interrupted by exceptions in blocked calls, and go on each time."""
    try:
        for n in range(5):
            try:
                channel.recv()
            except KeyboardInterrupt:
                reports.send(b"interrupted", tag=n)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while True:
            reports.send(b"received", tag=must(channel.recv(WAIT))[1])
    except QueueShutDown:
        reports.shutdown()


def bothered_echo(inbox: Channel, outbox: Channel) -> None:
    """Echo while a signal with a harmless handler arrives a thousand times a second."""
    signal.signal(signal.SIGPROF, lambda *_: None)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    timer = threading.Event()
    main = threading.main_thread().ident or 0

    def bother() -> None:
        while not timer.wait(0.001):
            signal.pthread_kill(main, signal.SIGUSR1)

    thread = threading.Thread(target=bother)
    thread.start()
    try:
        echo(inbox, outbox)
    finally:
        timer.set()
        thread.join()


# Tests.


def test_there_and_back(transport: Transport, start: Start, finish: Finish) -> None:
    there, back = transport.channel(), transport.channel()
    child = start(echo, there, back)
    for size in (0, 1, 1000, MEGABYTE):
        there.send(b"d" * size, [b"b" * size] * 2, 255, 2**64 - 1)
        kind, tag, data, buffers = must(back.recv(WAIT))
        assert (kind, tag, bytes(data)) == (255, 2**64 - 1, b"d" * size)
        expected = b"\xff" + b"b" * (size - 2) + b"\xff" if size > 1 else b"\xff" * size
        assert [bytes(buffer) for buffer in buffers] == [expected] * 2
    source = bytearray(b"b" * 8 * MEGABYTE)
    there.send(b"", [source])
    source[0] = 1
    view = memoryview(must(back.recv(WAIT))[3][0])
    assert len(view) == len(source)
    assert view[0] == view[-1] == 0xFF
    view[1] = 7
    assert (source[0], source[1], source[-1]) == (1, ord("b"), ord("b"))
    there.shutdown()
    with pytest.raises(QueueShutDown):
        back.recv(WAIT)
    finish(child)


@pytest.mark.parametrize("batch", [1, 64])
def test_exactly_once_and_in_order(
    transport: Transport, start: Start, finish: Finish, batch: int
) -> None:
    producers, consumers, each = 3, 2, 500
    channel, results = transport.channel(max_items=100), transport.channel()
    sending = [start(produce, channel, n, each, batch) for n in range(producers)]
    receiving = [start(consume, channel, results, batch) for _ in range(consumers)]
    finish(*sending)
    channel.shutdown()
    received = [
        list(map(int, bytes(must(results.recv(WAIT))[2]).split())) for _ in range(consumers)
    ]
    finish(*receiving)
    counted = Counter(tag for mine in received for tag in mine)
    assert counted == {p << 32 | n: 1 for p in range(producers) for n in range(each)}
    for mine in received:
        for producer in range(producers):
            own = [tag for tag in mine if tag >> 32 == producer]
            assert own == sorted(own)


def test_a_sender_may_end_at_once(transport: Transport, start: Start, finish: Finish) -> None:
    channel = transport.channel()
    finish(start(produce, channel, 1, 200, 1))
    assert channel.qsize() == 200
    assert [must(channel.recv(0))[1] & 0xFFFF for _ in range(200)] == list(range(200))


def test_all_calls_from_a_child(transport: Transport, start: Start, finish: Finish) -> None:
    channel = transport.channel()
    bounded = transport.channel(max_items=2)
    leased = transport.channel(leases=2)
    finish(start(use_everything, channel, bounded, leased))
    lease = leased.lease(1)
    assert lease is not None
    assert (lease.tag, lease.progress) == (9, 3)
    assert leased.lease(0) is None
    leased.release(1)
    assert leased.lease(1) is None
    with pytest.raises(QueueShutDown):
        channel.recv()


@pytest.mark.parametrize("immediate", [False, True])
def test_what_ends_waits_elsewhere(
    transport: Transport, start: Start, finish: Finish, immediate: bool
) -> None:
    empty, full, joined = (transport.channel(max_items=1) for _ in range(3))
    results = transport.channel()
    full.send(b"")
    joined.send(b"")
    child = start(wait_for_the_end, empty, full, joined, results)
    wait_for(lambda: empty.statistics().waiting_receivers == 2)
    wait_for(lambda: full.statistics().waiting_senders == 1)
    assert results.recv(0) is None
    empty.shutdown(immediate)
    full.shutdown(immediate)
    assert [bytes(must(results.recv(WAIT))[2]) for _ in range(3)] == [b"shut down"] * 3
    joined.recv(0)
    joined.task_done()
    assert bytes(must(results.recv(WAIT))[2]) == b"joined"
    finish(child)


def test_a_shared_payload_is_private_to_each(
    transport: Transport, start: Start, finish: Finish
) -> None:
    results = transport.channel()
    shared = transport.share(b"head", [bytearray(b"s" * MEGABYTE)])
    memoryview(shared.open()[1][0])[:3] = b"mine"[:3]
    children = [start(open_shared, shared, results) for _ in range(2)]
    assert [bytes(must(results.recv(WAIT))[2]) for _ in children] == [b"???s"] * 2
    finish(*children)
    assert bytes(memoryview(shared.open()[1][0])[:4]) == b"mins"
    shared.close()


def test_a_channel_travels_through_a_channel(
    transport: Transport, start: Start, finish: Finish
) -> None:
    post, channel = transport.channel(), transport.channel()
    child = start(pass_on, post)
    kind, data, buffers = encode(channel)
    post.send(data, buffers, kind)
    channel.send(b"from the parent", tag=1)
    finish(child)
    message = must(channel.recv(0))
    assert (message[1], bytes(message[2])) == (2, b"from the child")


def test_a_channel_lives_while_a_child_has_it(
    transport: Transport, start: Start, finish: Finish
) -> None:
    results = transport.channel()
    channel = transport.channel()
    for n in range(3):
        channel.send(b"", tag=n)
    channel.shutdown()
    child = start(consume, channel, results, 1)
    channel.close()
    del channel
    assert bytes(must(results.recv(WAIT))[2]) == b"0 1 2"
    finish(child)


@pytest.mark.skipif(sys.platform == "win32", reason="select takes only sockets there")
def test_select_in_a_child(transport: Transport, start: Start, finish: Finish) -> None:
    channel, answers = transport.channel(), transport.channel()
    children = [start(select_and_receive, channel, answers) for _ in range(2)]
    rounds = 100
    for n in range(rounds):
        channel.send(b"", tag=n)
        assert must(answers.recv(WAIT))[1] == n
    channel.send_many([(0, n, b"", ()) for n in range(rounds)])
    assert sorted(must(answers.recv(WAIT))[1] for _ in range(rounds)) == list(range(rounds))
    channel.shutdown()
    finish(*children)


@pytest.mark.skipif(sys.platform == "win32", reason="no signals to send there")
def test_ctrl_c_in_a_child_loses_nothing(
    transport: Transport, start: Start, finish: Finish
) -> None:
    channel, reports = transport.channel(), transport.channel()
    child = start(interrupted_receiver, channel, reports)
    for n in range(5):
        wait_for(lambda: channel.statistics().waiting_receivers == 1)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGINT)
        message = must(reports.recv(WAIT))
        assert (message[1], bytes(message[2])) == (n, b"interrupted")
    for n in range(20):
        channel.send(b"", tag=n)
    assert [must(reports.recv(WAIT))[1] for _ in range(20)] == list(range(20))
    channel.shutdown()
    finish(child)


@pytest.mark.skipif(sys.platform == "win32", reason="no signals to send there")
def test_harmless_signals_disturb_nothing(
    transport: Transport, start: Start, finish: Finish
) -> None:
    there, back = transport.channel(), transport.channel()
    child = start(bothered_echo, there, back)
    for n in range(150):
        size = MEGABYTE if n % 10 == 0 else n
        there.send(b"d" * size, [b"b" * size], tag=n)
    for n in range(150):
        size = MEGABYTE if n % 10 == 0 else n
        message = must(back.recv(WAIT))
        assert (message[1], len(message[2]), len(message[3][0])) == (n, size, size)
    there.shutdown()
    finish(child)
