"""What travels between a process and a channel's owner: frames, and who may speak.

A frame is a fixed head, a table of sizes, and its parts. A client sends one request at a time on a
connection and reads one reply; frames marked *one way* have none. The first frames on a
connection prove to each side that the other knows the program's authentication key:

    owner  -> client   HELLO    nonce of the owner
    client -> owner    PROOF    pid, node, nonce of the client, HMAC(key, "client", both nonces)
    owner  -> client   WELCOME  HMAC(key, "owner", both nonces)

A message counts as taken when the client's ACK reaches the owner. Until then the owner keeps it
and, if the connection ends, puts it back where it was.
"""

from __future__ import annotations

import enum
import hmac
import socket
import struct
from collections.abc import Callable, Generator, Sequence
from itertools import islice
from typing import NamedTuple

from tines.transport.contract import Buffer
from tines.transport.pipe.parcel import Parcel
from tines.transport.statistics import ChannelStatistics

__all__ = [
    "Decoder",
    "Frame",
    "Op",
    "Pass",
    "pack_parcels",
    "pack_statistics",
    "proof",
    "ticks",
    "unpack_parcels",
    "unpack_statistics",
]

_HEAD = struct.Struct("<BBxxIQqQd")  # op, kind, parts, channel, number, tag, timeout
_RECORD = struct.Struct("<BxxxIQ")  # kind, parts, tag
_STATISTICS = struct.Struct("<6Q")
_CHUNK = 64 * 1024

# Before a peer has proved itself, no frame of it may be larger than this.
_STRANGER = 4096


class Op(enum.IntEnum):
    """What a frame says. ``number`` and ``tag`` mean what stands in brackets."""

    HELLO = 1
    PROOF = 2
    WELCOME = 3

    SEND = 10
    SEND_MANY = 11
    RECV = 12  # [number: lease slot]
    RECV_MANY = 13  # [number: limit]
    ACK = 14  # one way
    REVOKE = 15  # [number: ticket]
    LEASE = 16  # [number: slot]
    RELEASE = 17  # one way [number: slot]
    TICK = 18  # one way [number: slot, tag: progress]
    TASK_DONE = 19
    JOIN = 20
    SHUTDOWN = 21  # [number: immediate]
    STATISTICS = 22
    OPEN_SHARED = 23
    HELD = 24  # [number: slot]
    PAGE = 25  # the place of the page with the numbers that TICK would carry

    HOLD = 30  # one way [tag: pass of the pickle it came in, 0 for none]
    DROP = 31  # one way
    PASS = 32  # one way [tag: pass for a pickle that is being made]
    WITHDRAW = (
        35  # one way [tag: pass of a pickle that nobody opens now, number: whose it was, a pid]
    )
    WATCH = 33  # one way: this connection becomes the descriptor of ``fileno``
    REARM = 34  # one way: the hint was read; write another if there is still something

    DONE = 40
    MESSAGE = 41  # [number: how many remain]
    MESSAGES = 42  # [number: how many remain]
    NOTHING = 43  # not in time
    SHUT_DOWN = 44
    GONE = 45
    INVALID = 46  # ValueError, text in the first part
    NO_MEMORY = 47
    HINT = 48


class Pass(int):
    """Stands for one pickled handle on its way, as a holder of its channel; a random number."""


class Frame(NamedTuple):
    """One frame; see :class:`Op` for what the numbers mean."""

    op: int
    channel: int = 0
    number: int = 0
    tag: int = 0
    kind: int = 0
    timeout: float = 0.0
    parts: Sequence[Buffer] = ()

    def encoded(self) -> list[Buffer]:
        """Return the buffers to write, in order."""
        parts = self.parts
        head = _HEAD.pack(
            self.op, self.kind, len(parts), self.channel, self.number, self.tag, self.timeout
        )
        if not parts:
            return [head]
        sizes = [len(part) for part in parts]
        table = struct.pack(f"<{len(parts)}Q", *sizes)
        if sum(sizes) < _CHUNK:
            return [b"".join((head, table, *parts))]
        return [head + table, *(part for part in parts if len(part))]


def ticks(channel: int, slot: int) -> Callable[[int], bytes]:
    """Return what encodes TICK frames of one lease slot: the same bytes but for the progress."""
    pack = _HEAD.pack
    return lambda progress: pack(Op.TICK, 0, 0, channel, slot, progress, 0.0)


def pack_parcels(parcels: Sequence[Parcel]) -> list[Buffer]:
    """Return the parts of a frame that carries several parcels."""
    table = b"".join(_RECORD.pack(each.kind, len(each.parts), each.tag) for each in parcels)
    return [table, *(part for each in parcels for part in each.parts)]


def unpack_parcels(parts: Sequence[Buffer]) -> list[Parcel]:
    """Return the parcels of such a frame."""
    rest = iter(parts)
    return [
        Parcel(kind, tag, list(islice(rest, count)))
        for kind, count, tag in _RECORD.iter_unpack(next(rest))
    ]


def pack_statistics(statistics: ChannelStatistics) -> bytes:
    """Return the part that carries a channel's statistics."""
    s = statistics
    return _STATISTICS.pack(
        s.depth, s.bytes, s.sent, s.received, s.waiting_receivers, s.waiting_senders
    )


def unpack_statistics(part: Buffer) -> ChannelStatistics:
    """Return the statistics of such a part."""
    return ChannelStatistics(*_STATISTICS.unpack(part))


def proof(key: bytes, who: str, first: Buffer, second: Buffer) -> bytes:
    """Return the HMAC by which ``who`` shows that it knows the key."""
    return hmac.digest(bytes(key), who.encode() + bytes(first) + bytes(second), "sha256")


class Decoder:
    """Turns the bytes of a connection into frames.

    Small frames come through one buffer; large parts go straight into memory of their own, which
    the receiver of the message then owns.
    """

    def __init__(self) -> None:
        self.trusted = False
        self._frames: list[Frame] = []
        self._buffer = bytearray(_CHUNK)
        self._start = self._end = 0
        self._parser = self._parse()
        self._target = next(self._parser)

    def pull(self, sock: socket.socket) -> list[Frame]:
        """Read once and return the frames that are now complete.

        Raises:
            EOFError: the other side is gone.
            OSError: as ``socket.recv_into``; nothing was read.
        """
        count = sock.recv_into(self._target)
        if count == 0:
            raise EOFError
        self._target = self._parser.send(count)
        frames = self._frames
        if frames:
            self._frames = []
        return frames

    def _parse(self) -> Generator[memoryview, int, None]:
        while True:
            head = yield from self._small(_HEAD.size)
            op, kind, count, channel, number, tag, timeout = _HEAD.unpack(head)
            sizes: tuple[int, ...] = ()
            if count:
                self._check(8 * count)
                table = yield from self._exactly(8 * count)
                if table is None:
                    raise EOFError
                sizes = struct.unpack(f"<{count}Q", table)
                self._check(sum(sizes))
            parts: list[Buffer] | None = []
            for size in sizes:
                part = yield from self._exactly(size)
                if part is None:
                    parts = None
                elif parts is not None:
                    parts.append(part)
            if parts is None:  # read and thrown away: there was no memory for it
                op = Op.NO_MEMORY
            self._frames.append(Frame(op, channel, number, tag, kind, timeout, parts or ()))

    def _check(self, size: int) -> None:
        if not self.trusted and size > _STRANGER:
            raise EOFError

    def _exactly(self, size: int) -> Generator[memoryview, int, bytearray | None]:
        """Yield where to read to until ``size`` bytes are there; ``None`` if there is no room."""
        if size > len(self._buffer):
            return (yield from self._direct(size))
        return (yield from self._small(size))

    def _small(self, size: int) -> Generator[memoryview, int, bytearray]:
        while self._end - self._start < size:
            if self._start:
                rest = self._buffer[self._start : self._end]
                self._buffer[: len(rest)] = rest
                self._start, self._end = 0, len(rest)
            self._end += yield memoryview(self._buffer)[self._end :]
        start = self._start
        self._start += size
        if self._start == self._end:
            self._start = self._end = 0
        return self._buffer[start : start + size]

    def _direct(self, size: int) -> Generator[memoryview, int, bytearray | None]:
        have = self._end - self._start
        try:
            part = bytearray(size)
        except MemoryError:
            self._start = self._end = 0
            missing = size - have
            while missing:
                missing -= yield memoryview(self._buffer)[: min(missing, _CHUNK)]
            return None
        part[:have] = self._buffer[self._start : self._end]
        self._start = self._end = 0
        view = memoryview(part)
        while have < size:
            have += yield view[have:]
        return part
