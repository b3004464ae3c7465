"""Signals while a call waits: an exception in the handler ends it, and nothing else does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from channel_tools import RECEIVES, SENDS, blocked_channel, has_length, must, running
from support.waiting import wait_for
from tines.errors import QueueShutDown
from tines.transport import named
from tines.transport.contract import Transport
from tines.transport.pipe.state import ChannelState

needs_signals = pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="signals cannot be sent to a thread here"
)


class Interrupted(Exception):
    """Raised by the handler of these tests."""


@contextmanager
def handling(handler: Callable[..., object]) -> Iterator[None]:
    """Have SIGUSR1 handled by this."""
    previous = signal.signal(signal.SIGUSR1, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, previous)


def shoot() -> None:
    """Signal the main thread."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)


@pytest.fixture
def interrupt() -> Iterator[Callable[[Callable[[], object]], Callable[[], None]]]:
    """Return a maker of functions that signal the main thread once a condition holds."""

    def handler(*_: object) -> None:
        raise Interrupted

    def make(condition: Callable[[], object]) -> Callable[[], None]:
        def shoot_when_it_holds() -> None:
            wait_for(condition)
            shoot()

        return shoot_when_it_holds

    with handling(handler):
        yield make


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
            shoot()
            wait_for(partial(has_length, handled, n + 1))
        channel.send(b"calm")

    with handling(handler), running(bother):
        message = channel.recv(60)
    assert message is not None
    assert bytes(message[2]) == b"calm"
    assert len(handled) == 20


@needs_signals
def test_a_signal_handler_may_send(transport: Transport) -> None:
    channel = transport.channel()

    def shoot_at_the_waiting() -> None:
        wait_for(lambda: channel.statistics().waiting_receivers == 1)
        shoot()

    with handling(lambda *_: channel.send(b"from the handler")), running(shoot_at_the_waiting):
        message = channel.recv(30)
    assert message is not None
    assert bytes(message[2]) == b"from the handler"


@needs_signals
def test_a_handler_may_send_at_any_point_of_a_call(transport: Transport) -> None:
    """Everything arrives once, and what the program itself sends stays in order."""
    channel = transport.channel()
    sent = turns = 0

    def handler(*_: object) -> None:
        nonlocal sent
        sent += 1
        channel.send(b"", tag=2**32 + sent)

    previous = signal.signal(signal.SIGVTALRM, handler)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.002, 0.002)
    own, from_handler = [], []
    try:
        # The kernel may count processor time in ticks that are much longer than the timer's.
        while turns < 10_000 or sent < 20:
            channel.send(b"", tag=turns)
            turns += 1
            tag = must(channel.recv(30.0))[1]
            (from_handler if tag > 2**32 else own).append(tag)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, previous)
    while len(own) + len(from_handler) < turns + sent:
        tag = must(channel.recv(30.0))[1]
        (from_handler if tag > 2**32 else own).append(tag)
    assert own == list(range(turns))
    assert from_handler == [2**32 + number for number in range(1, sent + 1)]
    channel.close()


def test_what_comes_in_the_midst_of_a_step_is_done_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channel = named("pipe").channel(max_items=3)
    channel.send(b"first")
    inside: list[object] = []
    take = ChannelState._take

    def interrupted(*arguments: Any) -> Any:
        monkeypatch.undo()
        inside.append(channel.recv(0))
        with pytest.raises(RuntimeError, match="that wait could never end"):
            channel.recv(1.0)
        ticket = channel.send(b"second")
        inside.append(channel.revoke(ticket))
        channel.task_done()
        return take(*arguments)

    monkeypatch.setattr(ChannelState, "_take", interrupted)
    assert must(channel.recv(0))[2] == b"first"
    assert inside == [None, False]
    channel.send(b"third")
    assert [bytes(must(channel.recv(0))[2]) for _ in range(2)] == [b"second", b"third"]
    for _ in range(2):
        channel.task_done()
    assert channel.join(0)
    channel.close()


def test_what_comes_in_the_midst_of_a_step_keeps_to_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channel = named("pipe").channel(max_items=1)
    admit = ChannelState._admit

    def interrupted(*arguments: Any) -> Any:
        monkeypatch.undo()
        done = admit(*arguments)
        assert channel.send(b"no room", timeout=0) == -1
        with pytest.raises(RuntimeError, match="that wait could never end"):
            channel.send(b"no room")
        channel.shutdown()
        return done

    monkeypatch.setattr(ChannelState, "_admit", interrupted)
    channel.send(b"first")
    assert must(channel.recv(0))[2] == b"first"
    with pytest.raises(QueueShutDown):
        channel.recv(30.0)
    channel.close()
