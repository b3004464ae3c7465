"""Shutdown, which wakes everybody, and ``join``, which waits until all was done."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from channel_tools import running
from support.waiting import wait_for
from tines.errors import QueueShutDown
from tines.transport.contract import Transport


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
