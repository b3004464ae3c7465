"""What goes over the pipe transport's sockets: frames, and strangers who are turned away."""

from __future__ import annotations

import math
import multiprocessing
import pickle
import random
import socket
from typing import Any

import pytest

from channel_tools import WAIT, Finish, must
from support.processes import Start
from tines.errors import TransportError
from tines.transport import named
from tines.transport.contract import Channel
from tines.transport.pipe.parcel import Parcel
from tines.transport.pipe.protocol import Decoder, Frame, Op, pack_parcels, unpack_parcels

pipe = named("pipe")


def stranger(channel: Any) -> socket.socket:
    address = channel._key[0]
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(WAIT)
    sock.connect(address)
    return sock


@pytest.mark.parametrize(
    "said",
    [
        b"".join(Frame(Op.RECV, 1, timeout=0.0).encoded()),
        b"".join(Frame(Op.PROOF, parts=[b"n" * 32, b"wrong" * 6]).encoded()),
        b"".join(Frame(Op.PROOF, parts=[b"n" * 32]).encoded()),
        b"".join(Frame(Op.PROOF, parts=[b"n" * 5000, b""]).encoded()),
        # A head that announces 4 billion parts, and one that announces a huge one.
        b"\x02\x00\x00\x00\xff\xff\xff\xff" + bytes(32),
        b"\x02\x00\x00\x00\x01\x00\x00\x00" + bytes(32) + b"\xff" * 8,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + b"x" * 100,
    ],
    ids=["request", "wrong proof", "half a proof", "too long", "parts", "huge", "http"],
)
def test_a_stranger_is_turned_away(said: bytes) -> None:
    channel = pipe.channel()
    channel.send(b"secret")
    with stranger(channel) as sock:
        sock.sendall(said)
        heard = b""
        try:
            while part := sock.recv(4096):
                heard += part
        except ConnectionResetError:
            pass
    assert b"secret" not in heard
    assert must(channel.recv(0))[2] == b"secret"


def with_another_key(pickled: bytes, report: Channel) -> None:
    channel = pickle.loads(pickled)
    multiprocessing.current_process().authkey = b"another"
    try:
        channel.recv(0)
    except TransportError as error:
        text = str(error)
        multiprocessing.current_process().authkey = bytes(registry_key)
        report.send(text.encode())


registry_key = multiprocessing.current_process().authkey


def test_another_key_is_refused_and_says_so(fork: Start, finish: Finish) -> None:
    channel, report = pipe.channel(), pipe.channel()
    finish(fork(with_another_key, pickle.dumps(channel), report))
    assert b"authkey" in bytes(must(report.recv(0))[2])


def test_frames_survive_any_cutting() -> None:
    """Whole frames come out, however the stream is cut, and large parts are writable."""
    chance = random.Random(2)
    parcels = [Parcel(n, 2**64 - 1 - n, [bytes(n), bytearray(b"b" * (n * 1000))]) for n in range(9)]
    frames = [
        Frame(Op.SEND, 2**64 - 1, -(2**63), 2**64 - 1, 255, math.inf, [b""]),
        Frame(Op.SEND, 1, 2, 3, 4, 0.5, [b"a" * 200_000, b"", b"b" * 65_536, b"c"]),
        Frame(Op.SEND_MANY, 7, parts=pack_parcels(parcels)),
        Frame(Op.ACK),
        Frame(Op.SEND, parts=[b"d"] * 20_000),
    ] * 2
    stream = b"".join(bytes(chunk) for frame in frames for chunk in frame.encoded())
    reading, writing = socket.socketpair()
    with reading, writing:
        reading.setblocking(False)
        writing.setblocking(False)
        decoder = Decoder()
        decoder.trusted = True
        decoded: list[Frame] = []
        position = 0
        while len(decoded) < len(frames):
            step = chance.choice([1, 7, 40, 1000, 70_000])
            position += writing.send(stream[position : position + step])
            try:
                while True:
                    decoded += decoder.pull(reading)
            except BlockingIOError:
                pass
    for got, sent in zip(decoded, frames, strict=True):
        assert got[:6] == sent[:6]
        assert [bytes(part) for part in got.parts] == [bytes(part) for part in sent.parts]
        assert not any(memoryview(part).readonly for part in got.parts)
    unpacked = unpack_parcels(decoded[2].parts)
    assert [(p.kind, p.tag, list(map(bytes, p.parts))) for p in unpacked] == [
        (p.kind, p.tag, list(map(bytes, p.parts))) for p in parcels
    ]
