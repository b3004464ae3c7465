"""The stream between a program and a node: who may speak, and what is put together at the other end."""

from __future__ import annotations

import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tines import _sockets
from tines.engines.contract import Exit
from tines.engines.remote.frames import APART, Receiver, Word, pack, pack_word, send_all
from tines.engines.remote.handshake import new_key, prove, verify
from tines.engines.remote.hub import Hub
from tines.engines.remote.node import Node, choose
from tines.engines.remote.streams import Stream
from tines.engines.remote.workers import RemoteWorker


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    for end in (one, other):
        end.settimeout(20)
    with one, other:
        yield one, other


def test_a_machine_that_says_nothing_any_more_is_not_waited_for_long() -> None:
    """Its system is asked, which is not up to the processes there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        _sockets.keep_alive(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            idle, interval, count = (
                sock.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            )
            assert 2 <= idle + interval * count <= 10


def test_who_knows_the_key_is_let_in(pair: tuple[socket.socket, socket.socket]) -> None:
    key = new_key()
    node = threading.Thread(target=prove, args=(pair[1], key))
    node.start()
    verify(pair[0], key)
    node.join()


def proving(end: socket.socket) -> tuple[threading.Thread, list[BaseException]]:
    """Be a node with a key of its own; return the thread, and how it fails."""
    failures: list[BaseException] = []

    def try_it() -> None:
        try:
            prove(end, new_key())
        except OSError as error:
            failures.append(error)

    node = threading.Thread(target=try_it)
    node.start()
    return node, failures


def test_who_does_not_know_the_key_is_not(pair: tuple[socket.socket, socket.socket]) -> None:
    node, failures = proving(pair[1])
    with pytest.raises(PermissionError, match="does not know the key"):
        verify(pair[0], new_key())
    pair[0].close()
    node.join()
    assert failures


def test_a_node_does_not_speak_with_whoever_pretends_to_be_the_program(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """It is told nothing but a digest of what was drawn by lot, and what it then sends is not unpickled."""
    node, failures = proving(pair[1])
    pair[0].sendall(b"tines-node-1\n" + b"l" * 32)
    pair[0].recv(64)
    pair[0].sendall(pickle.dumps(Exploding()).ljust(32, b"."))
    node.join()
    assert isinstance(failures[0], PermissionError)
    assert not Exploding.exploded


class Exploding:
    exploded = False

    def __reduce__(self) -> Any:
        return _explode, ()


def _explode() -> None:
    Exploding.exploded = True


def test_frames_are_put_together_however_they_arrive() -> None:
    large = bytes(range(256)) * 400
    messages = [
        (0, 7, b"small", ()),
        (3, 2**63, large, [b"x" * APART, b"y" * 300_000]),
        (255, 0, b"", ()),
        (1, 1, b"d" * (APART - 1), [large]),
    ]
    stream = b"".join(
        bytes(piece)
        for piece in [*pack(messages), *pack_word(Word.SHUT, True), *pack(messages[:1])]
    )
    for step in (1, 13, 4096, len(stream)):
        sock: Any = Pieces(stream, step if step > 1 else 997)
        receiver = Receiver(sock, bytearray)
        frames: list[Any] = []
        with pytest.raises(EOFError):
            while True:
                frames += receiver.receive()
        assert len(frames) == 3
        assert [
            (kind, tag, bytes(data), [bytes(each) for each in buffers])
            for kind, tag, data, buffers in frames[0]
        ] == [(kind, tag, data, list(buffers)) for kind, tag, data, buffers in messages]
        assert frames[1] == (Word.SHUT, True)
        assert len(frames[2]) == 1


class Pieces:
    """A socket from which a stream comes in pieces."""

    def __init__(self, stream: bytes, step: int) -> None:
        self._stream = stream
        self._step = step

    def recv_into(self, target: memoryview) -> int:
        piece = self._stream[: min(self._step, len(target))]
        self._stream = self._stream[len(piece) :]
        target[: len(piece)] = piece
        return len(piece)


def test_what_is_larger_than_a_socket_holds_arrives(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    data = b"z" * 5_000_000
    sender = threading.Thread(target=send_all, args=(pair[0], pack([(1, 2, data, [data])])))
    sender.start()
    receiver = Receiver(pair[1], bytearray)
    while not (frames := receiver.receive()):
        pass
    sender.join()
    ((kind, tag, received, (buffer,)),) = frames[0]
    assert (kind, tag, bytes(received), bytes(buffer)) == (1, 2, data, data)


WRITING = """
import signal, socket
from tines.engines.remote.frames import Word, pack_word, send_all
from tines.engines.remote.handshake import new_key, verify
from tines.engines.remote.node import Node
from tines.engines.remote.streams import Stream, Streams

signal.signal(signal.SIGPIPE, signal.SIG_DFL)

def write(sock):
    streams, node = Streams(), Node("lost", "", 1)
    streams.open()
    streams.add(node, Stream(sock, None, sock))
    node.outgoing.add(pack_word(Word.UNSHARE, b""))
    streams.write(node)

def say(sock):
    send_all(sock, pack_word(Word.SHUT, True))

def greet(sock):
    verify(sock, new_key())

for attempt in (write, say, greet):
    sock, other = socket.socketpair()
    other.close()
    try:
        attempt(sock)
    except OSError as error:
        print(type(error).__name__)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="nobody is killed for writing there")
def test_a_node_that_has_gone_kills_nobody_who_writes_to_it() -> None:
    """Where SIGPIPE has its default action, as in many command line tools."""
    done = subprocess.run(
        [sys.executable, "-c", WRITING], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("BrokenPipeError\n" * 3, "", 0)


def test_a_node_is_given_what_it_can_begin() -> None:
    slow, fast = Node("slow", "", 1), Node("fast", "", 2)
    assert choose([slow, fast]) is None  # nobody is ready
    slow.ready, fast.ready = {0}, {1, 2}
    given = 0
    while (node := choose([slow, fast])) is not None:
        given += 1
        node.given[given] = (0, given, b"", ())
    assert (len(slow.given), len(fast.given)) == (1, 2)
    fast.finished(1000, 0.01)  # since 0.0: a hundred thousand a second
    assert fast.room() > 100
    assert slow.room() == 0
    fast.finished(1, 10.0)  # after a long time, nobody knows any more
    assert fast.room() == 0


def test_an_exit_survives_the_way() -> None:
    exit = Exit(1, -9, node="a", dispatches=(1, 2))
    assert pickle.loads(pickle.dumps(exit)) == exit


def test_what_may_have_begun_on_a_worker_that_was_just_starting_is_reported(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """Its node was told to start it, and what became of that nobody knows."""
    line, other_line = socket.socketpair()
    hub, lost = Hub(), Node("lost", "", 1)
    worker = RemoteWorker(hub, 0, "worker-0")
    answers: list[object] = []
    with line, other_line:
        hub.start({lost: Stream(pair[0], Receiver(pair[0], bytearray), line)}, 1.0)
        lost.given[7] = (0, 7, b"", ())
        placing = threading.Thread(target=lambda: answers.append(hub.place(worker, (b"", []))))
        placing.start()
        assert pair[1].recv(1)  # the word has left
        pair[1].close()
        placing.join()
        hub.end()
    assert answers == [0]
    exit = worker.outcome()
    assert (exit.pid, exit.node, exit.dispatches) == (None, "lost", (7,))
