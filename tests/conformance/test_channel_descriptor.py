"""The descriptor of a channel is readable while there may be a message."""

from __future__ import annotations

import os
import select

import pytest

from channel_tools import running
from support.waiting import wait_for
from tines.transport.contract import Channel, Transport


def readable(channel: Channel, timeout: float) -> bool:
    return bool(select.select([channel.fileno()], [], [], timeout)[0])


def test_fileno_is_readable_while_there_is_a_message(transport: Transport) -> None:
    channel = transport.channel()
    assert not readable(channel, 0)
    assert channel.fileno() == channel.fileno()
    channel.send(b"1")
    channel.send(b"2")
    for _ in range(2):
        assert readable(channel, 30)
        assert readable(channel, 30), "looking does not change it"
        assert channel.recv(0) is not None
    assert channel.recv(0) is None
    wait_for(lambda: not readable(channel, 0))
    channel.send(b"3")
    assert readable(channel, 30)
    descriptor = channel.fileno()
    channel.close()
    with pytest.raises(OSError):
        os.fstat(descriptor)


def test_fileno_tells_of_what_was_there_before(transport: Transport) -> None:
    channel = transport.channel()
    channel.send(b"early")
    assert readable(channel, 30)
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
