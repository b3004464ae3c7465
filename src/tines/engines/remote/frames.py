"""What goes over the stream between a program and a node: frames, each of many messages.

A frame is a header, a body, and what is large of the body's messages, one piece behind the other, so
that each can be received straight into the memory where it is to stay. There are two kinds:

* messages of channels, as they are: ``(kind, tag, data, buffers)``;
* a *word*: a pickled tuple, whose first item says what it is about (:class:`Word`). Its buffers go in
  the pickle.

Nothing is unpickled before the other side has shown that it knows the pool's key (``handshake.py``).
"""

from __future__ import annotations

import enum
import pickle
import socket
import struct
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

from tines._sockets import Output
from tines.transport.contract import Buffer, Message

__all__ = [
    "APART",
    "BATCH",
    "Arguments",
    "Frame",
    "Receiver",
    "Terms",
    "Word",
    "pack",
    "pack_word",
    "send_all",
]

APART = 16 * 1024
"""Size in bytes from which data and buffers are sent apart from the body."""

BATCH = 256
"""How many messages go into a frame at most."""

STAGE = 256 * 1024

_HEADER = struct.Struct("<BxxxIQ")  # kind of the frame, count of messages, size of the body
_RECORD = struct.Struct("<BxxxIQQ")  # kind, count of buffers, tag, size of data
_SIZE = struct.Struct("<Q")

_MESSAGES, _WORD = 1, 2

Lend = Callable[[int], Buffer]

Arguments = tuple[Any, ...]
"""What comes with a word, or a word and what comes with it: see :class:`Word` for each."""

Frame = list[Message] | Arguments


class Word(enum.IntEnum):
    """What words are about. The first are the program's, the others a node's."""

    OPEN = 0
    """``(main, slots, method, transport, beat)``: be a node of a pool."""
    START = 1
    """``(number, (slot, data, buffers))``: start a worker."""
    ORDER = 2
    """``(slot, order)``: interrupt a worker."""
    TERMINATE = 3
    """``(slot,)``."""
    KILL = 4
    """``(slot,)``."""
    SHARE = 5
    """``(identity, data, buffers)``: keep a payload for workers."""
    UNSHARE = 6
    """``(identity,)``: nobody refers to it any more."""
    REVOKE = 7
    """``(number, tag)``: take a dispatch back, if no worker has taken it."""
    LOOK = 8
    """``(number,)``: what are workers doing?"""
    SHUT = 9
    """``(immediate,)``: no more tasks will come."""
    RUN = 10
    """``(number, (slot, terms, kind, data, buffers))``: start a process of the program's own."""

    HELLO = 16
    """``(facts,)``: what the node is."""
    ANSWER = 17
    """``(number, answer)``: to what had this number."""
    ENDED = 18
    """``(slot, exit, lease, held, returned)``: a worker has ended, and all that it had sent was sent before;
    or a process has ended, and this is what it has returned."""
    BEAT = 19
    """``()``: the agent is alive."""


class Terms(NamedTuple):
    """What an agent has to know of a process that it starts by :attr:`Word.RUN`."""

    name: str
    returns: bool
    keep_dump: bool
    own_group: bool
    environment: dict[str, str] | None


def pack(messages: Sequence[Message]) -> list[Buffer]:
    """Return the pieces of a frame of messages."""
    body: list[Buffer] = []
    apart: list[Buffer] = []
    for kind, tag, data, buffers in messages:
        size = len(data)
        body.append(_RECORD.pack(kind, len(buffers), tag, size))
        if buffers:
            for buffer in buffers:
                raw = memoryview(buffer).cast("B")
                body.append(_SIZE.pack(raw.nbytes))
                apart.append(raw)
        if size < APART:
            body.append(data)
        else:
            apart.insert(len(apart) - len(buffers), memoryview(data).cast("B"))
    joined = b"".join(body)
    return [_HEADER.pack(_MESSAGES, len(messages), len(joined)) + joined, *apart]


def pack_word(word: Word, *arguments: object) -> list[Buffer]:
    """Return the pieces of a word."""
    body = pickle.dumps((int(word), *arguments), 5)
    return [_HEADER.pack(_WORD, 1, len(body)) + body]


def send_all(sock: socket.socket, pieces: Sequence[Buffer]) -> None:
    """Send pieces through a socket that waits."""
    output = Output()
    output.add(pieces)
    output.write(sock)


class Receiver:
    """Puts together again what comes through a socket, a stretch at a time.

    Args:
        sock: The socket; whether it waits is its own business.
        lend: Returns memory for a buffer of some size: writable, and the receiver's to pass on.
    """

    def __init__(self, sock: socket.socket, lend: Lend) -> None:
        self._sock = sock
        self._lend = lend
        self._stage = memoryview(bytearray(STAGE))
        self._out: list[Frame] = []
        self._parser = self._parse()
        self._wanted = next(self._parser)
        self._filled = 0

    def receive(self) -> list[Frame]:
        """Receive a stretch; return the frames that are complete now: lists of messages, and words.

        Raises:
            EOFError: the stream has ended.
            OSError: it is broken, or, with a socket that does not wait, has nothing now.
        """
        wanted = self._wanted
        missing = wanted.nbytes - self._filled
        if missing >= STAGE:  # what is large goes where it is to stay
            count = self._sock.recv_into(wanted[self._filled :])
            if not count:
                raise EOFError
            self._filled += count
            if count == missing:
                self._advance()
        else:
            count = self._sock.recv_into(self._stage)
            if not count:
                raise EOFError
            self._take(self._stage[:count])
        complete, self._out = self._out, []
        return complete

    def _take(self, received: memoryview) -> None:
        at = 0
        while at < received.nbytes:
            wanted = self._wanted
            count = min(wanted.nbytes - self._filled, received.nbytes - at)
            wanted[self._filled : self._filled + count] = received[at : at + count]
            self._filled += count
            at += count
            if self._filled == wanted.nbytes:
                self._advance()

    def _advance(self) -> None:
        self._filled = 0
        self._wanted = next(self._parser)
        while not self._wanted.nbytes:
            self._wanted = next(self._parser)

    def _parse(self) -> Generator[memoryview, None, None]:
        """Yield what is to be filled next."""
        header = bytearray(_HEADER.size)
        while True:
            yield memoryview(header)
            kind, count, size = _HEADER.unpack(header)
            body = bytearray(size)
            yield memoryview(body)
            if kind == _WORD:
                self._out.append(pickle.loads(body))
            elif kind == _MESSAGES:
                yield from self._parse_messages(bytes(body), count)
            else:
                raise OSError(f"a frame of unknown kind {kind}")

    def _parse_messages(self, body: bytes, count: int) -> Generator[memoryview, None, None]:
        messages: list[Message] = []
        at = 0
        for _ in range(count):
            kind, number, tag, size = _RECORD.unpack_from(body, at)
            at += _RECORD.size
            sizes = [_SIZE.unpack_from(body, at + index * _SIZE.size)[0] for index in range(number)]
            at += number * _SIZE.size
            data: Buffer
            if size < APART:
                data = body[at : at + size]
                at += size
            else:
                data = bytearray(size)
                yield memoryview(data)
            buffers: Sequence[Buffer] = ()
            if sizes:
                buffers = [self._lend(each) for each in sizes]
                for buffer in buffers:
                    yield memoryview(buffer).cast("B")
            messages.append((kind, tag, data, buffers))
        self._out.append(messages)
