"""Messages in one process: what travels, in which order, and whose memory it is."""

from __future__ import annotations

import array
import pickle
import threading
from typing import Any

import pytest

from tines.transport.contract import Channel, Message, Shared, Transport
from tines.transport.statistics import ChannelStatistics

MEGABYTE = 1024 * 1024


def taken(message: Message | None) -> tuple[int, int, bytes, list[bytes]]:
    """Return a message as values that compare."""
    assert message is not None
    kind, tag, data, buffers = message
    return kind, tag, bytes(data), [bytes(buffer) for buffer in buffers]


@pytest.mark.parametrize("kind", [0, 1, 255])
@pytest.mark.parametrize("tag", [0, 1, 2**63, 2**64 - 1])
def test_kind_and_tag_travel_untouched(transport: Transport, kind: int, tag: int) -> None:
    channel = transport.channel()
    assert channel.send(b"data", kind=kind, tag=tag) >= 0
    assert taken(channel.recv(0)) == (kind, tag, b"data", [])


@pytest.mark.parametrize(
    "wrong", [{"kind": -1}, {"kind": 256}, {"tag": -1}, {"tag": 2**64}], ids=str
)
def test_a_kind_or_tag_out_of_range_is_refused(transport: Transport, wrong: dict[str, int]) -> None:
    channel = transport.channel()
    with pytest.raises((ValueError, OverflowError), match=next(iter(wrong))):
        channel.send(b"", **wrong)  # type: ignore[arg-type]
    message = (wrong.get("kind", 0), wrong.get("tag", 0), b"", ())
    with pytest.raises((ValueError, OverflowError), match=next(iter(wrong))):
        channel.send_many([(0, 0, b"", ()), message])
    assert channel.qsize() == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        bytes(range(256)) * 300,
        bytearray(b"abc"),
        memoryview(b"abcdef")[2:4],
        array.array("d", [1.5, 2.5]),
        pickle.PickleBuffer(b"pickle buffer"),
        memoryview(bytes(24)).cast("B", (2, 3, 4)),
    ],
    ids=lambda data: type(data).__name__,
)
def test_any_contiguous_bytes_travel(transport: Transport, data: Any) -> None:
    channel = transport.channel()
    expected = bytes(memoryview(data).cast("B")) if memoryview(data).nbytes else b""
    channel.send(data, [data])
    assert taken(channel.recv(0)) == (0, 0, expected, [expected])


def test_arrays_of_either_order_travel(transport: Transport) -> None:
    numpy = pytest.importorskip("numpy")
    channel = transport.channel()
    original = numpy.asfortranarray(numpy.arange(12.0).reshape(3, 4))
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(original, 5, buffer_callback=buffers.append)
    channel.send(data, buffers)
    message = channel.recv(0)
    assert message is not None
    copy = pickle.loads(message[2], buffers=message[3])
    assert (copy == original).all()
    copy[:] = 0
    assert original[2, 3] == 11.0


@pytest.mark.parametrize("wrong", ["text", 5, None], ids=repr)
def test_what_is_no_buffer_is_refused(transport: Transport, wrong: Any) -> None:
    channel = transport.channel()
    with pytest.raises(TypeError):
        channel.send(wrong)
    with pytest.raises(TypeError):
        channel.send(b"", [wrong])
    assert channel.qsize() == 0


def test_buffers_keep_their_number_order_and_sizes(transport: Transport) -> None:
    channel = transport.channel()
    buffers = [bytes([n % 251]) * (n * 37 % 1000) for n in range(300)]
    channel.send(b"many", buffers)
    assert taken(channel.recv(0)) == (0, 0, b"many", buffers)


@pytest.mark.parametrize("size", [1, 1000, 64 * 1024, 8 * MEGABYTE])
def test_buffers_are_writable_and_nobody_elses(transport: Transport, size: int) -> None:
    channel = transport.channel()
    data, buffer = bytearray(b"d" * size), bytearray(b"b" * size)
    channel.send(data, [buffer])
    channel.send(data, [buffer])
    data[:] = buffer[:] = b"?" * size
    first, second = channel.recv(0), channel.recv(0)
    assert first is not None
    assert second is not None
    assert bytes(first[2]) == b"d" * size
    view = memoryview(first[3][0])
    assert not view.readonly
    assert bytes(view) == b"b" * size
    view[:] = b"!" * size
    assert bytes(second[3][0]) == b"b" * size
    assert bytes(buffer) == b"?" * size


def test_a_received_buffer_outlives_what_comes_after(transport: Transport) -> None:
    channel = transport.channel()
    kept = []
    for n in range(20):
        channel.send(b"", [bytes([n]) * MEGABYTE])
        message = channel.recv(0)
        assert message is not None
        if n % 3 == 0:
            kept.append((n, message[3][0]))
        del message
    for n, buffer in kept:
        assert bytes(buffer) == bytes([n]) * MEGABYTE


def test_first_in_first_out(transport: Transport) -> None:
    channel = transport.channel()
    for n in range(500):
        channel.send(bytes(n % 7), tag=n)
    assert channel.qsize() == 500
    assert [taken(channel.recv(0))[1] for _ in range(500)] == list(range(500))
    assert channel.recv(0) is None


def test_send_many_and_recv_many_keep_the_order(transport: Transport) -> None:
    channel = transport.channel()
    messages = [
        (n % 256, 2**64 - 1 - n, bytes([n % 256]) * (n % 50), [bytes(n)] * (n % 3))
        for n in range(1500)
    ]
    channel.send(b"first", tag=1)
    assert channel.send_many(messages) == len(messages)
    channel.send(b"last", tag=2)
    received = []
    while channel.qsize():
        batch = channel.recv_many(100, 0)
        assert 1 <= len(batch) <= 100
        received += [taken(message) for message in batch]
    assert received[0] == (0, 1, b"first", [])
    assert received[-1] == (0, 2, b"last", [])
    assert received[1:-1] == messages


def test_send_many_tells_the_tickets(transport: Transport) -> None:
    channel = transport.channel()
    tickets: list[int] = []
    messages = [(0, n, bytes(n * 10), [bytes(n)] if n % 17 == 0 else ()) for n in range(100)]
    assert channel.send_many(messages, None, tickets) == 100
    assert len(tickets) == 100
    for ticket in tickets[::3]:
        assert channel.revoke(ticket)
    received = [taken(channel.recv(0))[1] for _ in range(channel.qsize())]
    assert received == [n for n in range(100) if n % 3]


def test_send_many_that_stays_full_tells_the_tickets_of_what_it_sent(transport: Transport) -> None:
    channel = transport.channel(max_items=3)
    tickets: list[int] = []
    assert channel.send_many([(0, n, b"", ()) for n in range(9)], 0, tickets) == 3
    assert [channel.revoke(ticket) for ticket in tickets] == [True] * 3
    assert channel.send_many([(0, 9, b"", ())], 0, tickets) == 1


def test_send_many_of_nothing_sends_nothing(transport: Transport) -> None:
    channel = transport.channel()
    assert channel.send_many([]) == 0
    assert channel.qsize() == 0


def test_recv_many_waits_only_for_the_first(transport: Transport) -> None:
    channel = transport.channel()
    assert channel.recv_many(5, 0) == []
    channel.send(b"one")
    assert [taken(message)[2] for message in channel.recv_many(5)] == [b"one"]


@pytest.mark.parametrize("limit", [0, -1])
def test_recv_many_of_less_than_one_is_refused(transport: Transport, limit: int) -> None:
    with pytest.raises(ValueError, match="limit"):
        transport.channel().recv_many(limit, 0)


@pytest.mark.parametrize("option", ["max_items", "max_bytes", "leases"])
def test_a_negative_option_is_refused(transport: Transport, option: str) -> None:
    with pytest.raises((ValueError, OverflowError), match=option):
        transport.channel(**{option: -1})


def test_a_ticket_takes_a_message_back(transport: Transport) -> None:
    channel = transport.channel()
    tickets = [channel.send(b"x", tag=n) for n in range(6)]
    assert len(set(tickets)) == 6
    assert min(tickets) >= 0
    assert channel.revoke(tickets[0])
    assert channel.revoke(tickets[3])
    assert channel.revoke(tickets[5])
    assert not channel.revoke(tickets[3]), "it was taken back already"
    assert channel.qsize() == 3
    assert [taken(channel.recv(0))[1] for _ in range(3)] == [1, 2, 4]
    assert channel.recv(0) is None
    assert not channel.revoke(tickets[1]), "it was received"
    channel.send(b"y", tag=6)
    assert not channel.revoke(tickets[0]), "a later message is not meant by an old ticket"
    assert taken(channel.recv(0))[1] == 6


def test_a_revoked_message_makes_room(transport: Transport) -> None:
    channel = transport.channel(max_items=1)
    ticket = channel.send(b"")
    assert channel.send(b"", timeout=0) == -1
    assert channel.revoke(ticket)
    assert channel.send(b"", timeout=0) >= 0


def test_every_message_is_taken_back_or_received(transport: Transport) -> None:
    """A receiver and a revoker race for the same messages; each goes to exactly one."""
    channel = transport.channel()
    count = 2000
    tickets = [channel.send(b"", tag=n) for n in range(count)]
    received: list[int] = []

    def receive() -> None:
        while (message := channel.recv(0)) is not None:
            received.append(message[1])

    receiver = threading.Thread(target=receive)
    receiver.start()
    revoked = [n for n in reversed(range(count)) if channel.revoke(tickets[n])]
    receiver.join()
    assert sorted(received + revoked) == list(range(count))
    assert channel.qsize() == 0


def test_statistics_count(transport: Transport) -> None:
    channel = transport.channel()
    empty = ChannelStatistics(0, 0, 0, 0, 0, 0)
    assert channel.statistics() == empty
    channel.send(b"abc", [bytes(100)])
    channel.send(b"defg")
    assert channel.statistics() == ChannelStatistics(2, 107, 2, 0, 0, 0)
    channel.recv(0)
    assert channel.statistics() == ChannelStatistics(1, 4, 2, 1, 0, 0)
    channel.recv(0)
    assert channel.statistics() == ChannelStatistics(0, 0, 2, 2, 0, 0)


def test_a_closed_channel_says_so(transport: Transport) -> None:
    channel = transport.channel(leases=1)
    channel.send(b"")
    channel.close()
    channel.close()
    for call in (
        lambda: channel.send(b""),
        lambda: channel.recv(0),
        lambda: channel.qsize(),
        lambda: channel.fileno(),
    ):
        with pytest.raises((ValueError, OSError), match="closed"):
            call()


def test_a_second_handle_outlives_the_first(transport: Transport) -> None:
    from tines.wire.pickling import decode, encode

    channel = transport.channel()
    post = transport.channel()
    kind, data, buffers = encode(channel)
    post.send(data, buffers, kind)
    message = post.recv(0)
    assert message is not None
    other: Channel = decode(message[0], message[2], message[3])
    channel.send(b"through the first")
    channel.close()
    assert taken(other.recv(0))[2] == b"through the first"
    other.close()


def test_shared_payload_in_its_maker(transport: Transport) -> None:
    source = bytearray(b"s" * MEGABYTE)
    shared = transport.share(b"head", [source, b"t"])
    source[:] = b"?" * MEGABYTE
    assert isinstance(shared, Shared)
    data, buffers = shared.open()
    assert bytes(data) == b"head"
    assert [bytes(buffer) for buffer in buffers] == [b"s" * MEGABYTE, b"t"]
    shared.close()
    assert bytes(buffers[1]) == b"t", "what was opened stays valid"
