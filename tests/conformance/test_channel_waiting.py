"""Waiting in one process: timeouts, bounds, shutdown, join, signals, descriptors, many threads."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from support.waiting import wait_for
from tines.errors import QueueShutDown
from tines.transport.contract import Channel, Message, Transport

Wait = Callable[[Channel, float], object]

# On a busy machine a thread may get its turn late, but never early.
EARLY = 0.002
LATE = 2.0


def _bounded_send(channel: Channel, timeout: float) -> object:
    return channel.send(b"x", timeout=timeout)


def _bounded_send_many(channel: Channel, timeout: float) -> object:
    return channel.send_many([(0, 0, b"x", ())] * 3, timeout)


# What waits, on a channel that has nothing to give and no room, and what it returns in the end.
RECEIVES: dict[str, tuple[Wait, object]] = {
    "recv": (lambda channel, timeout: channel.recv(timeout), None),
    "leased": (lambda channel, timeout: channel.recv(timeout, lease=0), None),
    "recv_many": (lambda channel, timeout: channel.recv_many(3, timeout), []),
}
SENDS: dict[str, tuple[Wait, object]] = {
    "send": (_bounded_send, -1),
    "send_many": (_bounded_send_many, 0),
    "join": (lambda channel, timeout: channel.join(timeout), False),
}


def _has_length(items: list[Any], length: int) -> bool:
    return len(items) == length


@contextlib.contextmanager
def running(*targets: Callable[[], object]) -> Iterator[None]:
    """Run functions in threads meanwhile; what they raise is raised here."""
    errors: list[BaseException] = []

    def run(target: Callable[[], object]) -> None:
        try:
            target()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(target,), daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def blocked_channel(transport: Transport, name: str) -> Channel:
    """Return a channel on which the call of that name has to wait."""
    channel = transport.channel(max_items=1, leases=1)
    if name in SENDS:
        channel.send(b"full")
    return channel


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


# -- bounds


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


# -- many threads


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
            wait_for(partial(_has_length, got, count))
            assert got[-1] - sent < LATE
    assert channel.qsize() == 0


# -- the end


def test_after_shutdown_nothing_is_sent_and_the_rest_received(transport: Transport) -> None:
    channel = transport.channel()
    channel.send(b"", tag=1)
    channel.send(b"", tag=2)
    channel.shutdown()
    channel.shutdown()
    with pytest.raises(QueueShutDown):
        channel.send(b"")
    with pytest.raises(QueueShutDown):
        channel.send_many([(0, 0, b"", ())])
    assert channel.qsize() == 2
    assert channel.recv()[1] == 1  # type: ignore[index]
    assert [message[1] for message in channel.recv_many(5)] == [2]
    for timeout in (None, 0, 1):
        with pytest.raises(QueueShutDown):
            channel.recv(timeout)
        with pytest.raises(QueueShutDown):
            channel.recv_many(3, timeout)


def test_immediate_shutdown_discards(transport: Transport) -> None:
    channel = transport.channel()
    for _ in range(5):
        channel.send(b"", [bytes(100_000)])
    channel.shutdown(immediate=True)
    assert channel.qsize() == 0
    with pytest.raises(QueueShutDown):
        channel.recv(0)
    assert channel.join(0), "what was discarded needs no task_done"


@pytest.mark.parametrize("immediate", [False, True])
def test_shutdown_wakes_everybody(transport: Transport, immediate: bool) -> None:
    empty, full = transport.channel(leases=1), transport.channel(max_items=1)
    full.send(b"")

    def refused(call: Callable[[], object]) -> Callable[[], None]:
        def expect() -> None:
            with pytest.raises(QueueShutDown):
                call()

        return expect

    with running(
        refused(empty.recv),
        refused(lambda: empty.recv(30, lease=0)),
        refused(lambda: empty.recv_many(2)),
        refused(lambda: full.send(b"")),
        refused(lambda: full.send_many([(0, 0, b"", ())] * 3)),
    ):
        wait_for(lambda: empty.statistics().waiting_receivers == 3)
        wait_for(lambda: full.statistics().waiting_senders == 2)
        empty.shutdown(immediate)
        full.shutdown(immediate)
    assert full.qsize() == (0 if immediate else 1)


# -- task_done and join


def test_join_waits_for_every_task_done(transport: Transport) -> None:
    channel = transport.channel()
    assert channel.join(0)
    assert channel.join()
    for _ in range(3):
        channel.send(b"")
    done = threading.Event()

    def join() -> None:
        assert channel.join()
        done.set()

    with running(join):
        for _ in range(3):
            assert not done.is_set()
            assert not channel.join(0)
            assert channel.recv(0) is not None
            channel.task_done()
    assert done.is_set()
    with pytest.raises(ValueError, match="task_done"):
        channel.task_done()


def test_a_revoked_message_needs_no_task_done(transport: Transport) -> None:
    channel = transport.channel()
    ticket = channel.send(b"")
    assert not channel.join(0)
    assert channel.revoke(ticket)
    assert channel.join(0)


# -- leases


def test_a_lease_tells_what_is_held(transport: Transport) -> None:
    channel = transport.channel(leases=2)
    assert channel.lease(0) is None
    assert channel.lease(1) is None
    channel.send(b"", tag=2**64 - 1)
    channel.send(b"", tag=7)
    before = time.monotonic()
    channel.recv(0, lease=1)
    channel.recv(0, lease=0)
    after = time.monotonic()
    for index, tag in ((1, 2**64 - 1), (0, 7)):
        lease = channel.lease(index)
        assert lease is not None
        assert (lease.tag, lease.progress) == (tag, 0)
        assert before - EARLY <= lease.since <= after + EARLY
    seen = []
    for item in channel.ticking(iter("abc"), 1):
        lease = channel.lease(1)
        assert lease is not None
        seen.append((item, lease.progress))
    assert seen == [("a", 1), ("b", 2), ("c", 3)]
    assert channel.lease(0).progress == 0  # type: ignore[union-attr]
    channel.release(1)
    assert channel.lease(1) is None
    assert channel.lease(0) is not None
    channel.send(b"", tag=9)
    channel.recv(0, lease=1)
    assert channel.lease(1)[:2] == (9, 0)  # type: ignore[index]


def test_how_long_a_slot_is_held_adds_up(transport: Transport) -> None:
    channel = transport.channel(leases=2)
    before = time.monotonic()
    total = 0.0
    for _ in range(3):
        channel.send(b"")
        channel.recv(0, lease=1)
        begun = channel.held(1)
        assert begun >= total
        time.sleep(0.02)
        total = channel.held(1)
        assert total >= begun + 0.02 - EARLY
        channel.release(1)
        released = channel.held(1)
        assert total <= released <= time.monotonic() - before + EARLY
        total = released
        channel.release(1)
        assert channel.held(1) == released, "released twice, counted once"
    assert channel.held(0) == 0.0
    with pytest.raises(ValueError, match="lease"):
        channel.held(2)


def test_ticking_pulls_one_item_at_a_time(transport: Transport) -> None:
    channel = transport.channel(leases=1)
    channel.send(b"")
    channel.recv(0, lease=0)
    pulled = []

    def source() -> Iterator[int]:
        for n in range(3):
            pulled.append(n)
            yield n
        raise LookupError("the source's own")

    iterator = channel.ticking(source(), 0)
    assert next(iterator) == 0
    assert pulled == [0]
    assert [next(iterator), next(iterator)] == [1, 2]
    with pytest.raises(LookupError):
        next(iterator)
    assert channel.lease(0).progress == 3  # type: ignore[union-attr]


@pytest.mark.parametrize("index", [2, 1000])
def test_a_lease_slot_that_does_not_exist_is_refused(transport: Transport, index: int) -> None:
    channel = transport.channel(leases=2)
    channel.send(b"")
    for call in (
        lambda: channel.recv(0, lease=index),
        lambda: channel.lease(index),
        lambda: channel.release(index),
        lambda: list(channel.ticking([1], index)),
    ):
        with pytest.raises((ValueError, IndexError)):
            call()
    assert channel.qsize() == 1


# -- signals

needs_signals = pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="signals cannot be sent to a thread here"
)


class Interrupted(Exception):
    """Raised by the handler of these tests."""


@pytest.fixture
def interrupt() -> Iterator[Callable[[Callable[[], object]], Callable[[], None]]]:
    """Return a maker of functions that signal the main thread once a condition holds."""

    def handler(*_: object) -> None:
        raise Interrupted

    previous = signal.signal(signal.SIGUSR1, handler)

    def make(condition: Callable[[], object]) -> Callable[[], None]:
        def shoot() -> None:
            wait_for(condition)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

        return shoot

    yield make
    signal.signal(signal.SIGUSR1, previous)


@needs_signals
@pytest.mark.parametrize("timeout", [None, 30.0])
@pytest.mark.parametrize("name", [*RECEIVES, "send", "send_many"])
def test_an_exception_in_a_signal_handler_ends_a_wait(
    transport: Transport,
    interrupt: Callable[[Callable[[], object]], Callable[[], None]],
    name: str,
    timeout: float,
) -> None:
    call, _ = {**RECEIVES, **SENDS}[name]
    channel = blocked_channel(transport, name)

    def waiting() -> int:
        statistics = channel.statistics()
        return statistics.waiting_receivers + statistics.waiting_senders

    with running(interrupt(waiting)), pytest.raises(Interrupted):
        call(channel, timeout)
    # It goes on as if the call had never been made.
    assert channel.qsize() == (name in SENDS)
    if name in SENDS:
        channel.recv(0)
    assert channel.send(b"after", tag=5, timeout=0) >= 0
    message = channel.recv(0)
    assert message is not None
    assert message[1] == 5
    assert channel.lease(0) is None


@needs_signals
def test_signals_do_not_end_a_wait_by_themselves(transport: Transport) -> None:
    channel = transport.channel()
    handled: list[int] = []

    def handler(signum: int, frame: object) -> None:
        handled.append(signum)

    def bother() -> None:
        wait_for(lambda: channel.statistics().waiting_receivers == 1)
        for n in range(20):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            wait_for(partial(_has_length, handled, n + 1))
        channel.send(b"calm")

    previous = signal.signal(signal.SIGUSR1, handler)
    try:
        with running(bother):
            message = channel.recv(60)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert message is not None
    assert bytes(message[2]) == b"calm"
    assert len(handled) == 20


@needs_signals
def test_a_signal_handler_may_send(transport: Transport) -> None:
    channel = transport.channel()
    previous = signal.signal(signal.SIGUSR1, lambda *_: channel.send(b"from the handler"))

    def shoot() -> None:
        wait_for(lambda: channel.statistics().waiting_receivers == 1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    try:
        with running(shoot):
            message = channel.recv(30)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert message is not None
    assert bytes(message[2]) == b"from the handler"


# -- the descriptor


def readable(channel: Channel, timeout: float) -> bool:
    return bool(select.select([channel.fileno()], [], [], timeout)[0])


def test_fileno_is_readable_while_there_is_a_message(transport: Transport) -> None:
    channel = transport.channel()
    assert not readable(channel, 0)
    assert channel.fileno() == channel.fileno()
    channel.send(b"1")
    channel.send(b"2")
    for _ in range(2):
        assert readable(channel, 10)
        assert readable(channel, 10), "looking does not change it"
        assert channel.recv(0) is not None
    assert channel.recv(0) is None
    wait_for(lambda: not readable(channel, 0))
    channel.send(b"3")
    assert readable(channel, 10)
    descriptor = channel.fileno()
    channel.close()
    with pytest.raises(OSError):
        os.fstat(descriptor)


def test_fileno_tells_of_what_was_there_before(transport: Transport) -> None:
    channel = transport.channel()
    channel.send(b"early")
    assert readable(channel, 10)
    channel.close()


def test_fileno_wakes_a_select(transport: Transport) -> None:
    channel = transport.channel()
    rounds = 200
    answers = transport.channel()

    def send() -> None:
        for n in range(rounds):
            channel.send(b"", tag=n)
            assert answers.recv(30) is not None

    with running(send):
        for n in range(rounds):
            message = None
            while message is None:  # readiness is a hint
                assert readable(channel, 30)
                message = channel.recv(0)
            assert message[1] == n
            answers.send(b"")
    channel.close()
