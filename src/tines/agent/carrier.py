"""What carries messages between the stream and the workers' channels.

One thread reads the stream: messages go into the tasks channel, questions about it are answered at once,
and what is about workers is left to the warden, all in the order in which it came. The other thread
reads the results channel, which is also how the warden has something done behind all that a worker has
sent (:meth:`Carrier.behind`).
"""

from __future__ import annotations

import collections
import contextlib
import pickle
import select
import socket
import threading
from collections.abc import Callable
from typing import Any

from tines import _clock, transport
from tines._fork import Rank, at_fork
from tines.engines.remote import sharing
from tines.engines.remote.borders import check
from tines.engines.remote.engine import memory
from tines.engines.remote.frames import (
    BATCH,
    Arguments,
    Receiver,
    Word,
    pack,
    pack_word,
    send_all,
)
from tines.engines.remote.looks import Look
from tines.errors import EncodeError, QueueShutDown, TransportError
from tines.pool.worker.functions import read_trailer, trailer
from tines.transport.contract import Channel, Lease, Message, Transport
from tines.wire import messages
from tines.wire.tracebacks import RemoteException

__all__ = ["Carrier"]

TRAILER_BYTES = 512
"""A trailer that refers to a shared payload is shorter than that."""


class Carrier:
    """See the module.

    Args:
        sock: The stream, which waits.

    Attributes:
        tasks: The tasks channel of this node; from :meth:`open` on.
        results: Its results channel.
        transport: What made them.
    """

    tasks: Channel
    results: Channel
    transport: Transport

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._receiver = Receiver(sock, lambda size: memory(self.transport, size))
        self._writing = threading.Lock()
        self._tickets: dict[int, int] = {}
        self._trailers: dict[bytes, bytes] = {}
        self._behind: collections.deque[Callable[[], object]] = collections.deque()
        at_fork(Rank.NODES, child=self._disown)

    def _disown(self) -> None:
        """In a worker: the stream is the agent's, and ends with the agent."""
        self._sock.close()

    # The main thread.

    def first(self) -> Arguments:
        """Wait for the word that opens the node; return its arguments.

        Raises:
            EOFError, OSError: the program is gone.
        """
        while not (frames := self._receiver.receive()):
            pass
        word, *arguments = frames[0]
        if word != Word.OPEN:
            raise OSError(f"a stream begins with {word}")
        return tuple(arguments)

    def open(self, slots: int, name: str) -> None:
        """Make the channels."""
        self.transport = transport.named(name)
        self.tasks = self.transport.channel(leases=slots)
        self.results = self.transport.channel()

    def carry(self, deal: Callable[..., object], look: Callable[[int], tuple[int, float]]) -> None:
        """Start the threads.

        Args:
            deal: Is called with words about workers, and without any when the stream has ended.
            look: Returns the memory and the processor time of the worker in a slot. Any thread.
        """
        self._deal = deal
        self._look = look
        threading.Thread(target=self._read, name="tines agent reader", daemon=True).start()
        threading.Thread(target=self._write, name="tines agent writer", daemon=True).start()

    def say(self, word: Word, *arguments: object) -> None:
        """Say something to the program. Any thread."""
        with contextlib.suppress(OSError), self._writing:  # it is gone: the reader sees that too
            send_all(self._sock, pack_word(word, *arguments))

    def beat(self) -> None:
        """Say that the agent is alive, unless something is being said already. Never waits. Any thread."""
        if not self._writing.acquire(blocking=False):
            return
        try:
            if select.select((), (self._sock,), (), 0)[1]:  # there is more room than a word takes
                send_all(self._sock, pack_word(Word.BEAT))
        except (OSError, ValueError):
            pass  # the program is gone: the reader sees that too
        finally:
            self._writing.release()

    def behind(self, function: Callable[[], object]) -> None:
        """Have something done when all that is in the results channel now was sent."""
        self._behind.append(function)
        self.results.send(b"", (), messages.EVENT)

    # From the program to workers.

    def _read(self) -> None:
        try:
            while True:
                for frame in self._receiver.receive():
                    if isinstance(frame, list):
                        self._tasks(frame)
                    else:
                        self._word(*frame)
        except (OSError, EOFError):
            pass  # the program is gone, or has ended the node
        finally:
            self._deal(None)

    def _tasks(self, frame: list[Message]) -> None:
        if self._trailers or sharing.here:
            frame = [self._at_home(message) for message in frame]
        tickets: list[int] = []
        try:
            self.tasks.send_many(frame, None, tickets)
        except QueueShutDown:
            return
        except (MemoryError, TransportError) as error:
            for _, tag, _, _ in frame[len(tickets) :]:
                self._fail(tag, error)
        for (_, tag, _, _), ticket in zip(frame, tickets):
            self._tickets[tag] = ticket

    def _at_home(self, message: Message) -> Message:
        """Have a message that refers to a shared payload refer to the one that this node has."""
        kind, tag, data, buffers = message
        if sharing.MARK not in data[-TRAILER_BYTES:]:
            return message
        number, carrier = read_trailer(data)
        if carrier is None or number >= 0:
            return message
        old = trailer(number, carrier)
        new = self._trailers.get(old)
        if new is None:
            new = self._trailers[old] = trailer(number, pickle.dumps(pickle.loads(carrier)))
        return kind, tag, bytes(data[: -len(old)]) + new, buffers

    def _word(self, word: int, *arguments: Any) -> None:
        if word == Word.REVOKE:
            number, tag = arguments
            ticket = self._tickets.get(tag, -1)
            revoked = ticket >= 0 and self.tasks.revoke(ticket)
            if revoked:
                self._tickets.pop(tag, None)
            self.say(Word.ANSWER, number, revoked)
        elif word == Word.LOOK:
            number, slot = arguments
            self.say(Word.ANSWER, number, self._look_at(slot))
        elif word == Word.SHARE:
            identity, data, buffers = arguments
            sharing.here[identity] = self.transport.share(data, buffers)
        elif word == Word.UNSHARE:
            self._unshare(*arguments)
        elif word == Word.SHUT:
            with contextlib.suppress(QueueShutDown, TransportError):
                self.tasks.shutdown(immediate=arguments[0])
        else:
            self._deal(word, *arguments)

    def _unshare(self, identity: bytes) -> None:
        shared = sharing.here.pop(identity, None)
        if shared is not None:
            shared.close()
        for old in [old for old in self._trailers if identity in old]:
            del self._trailers[old]

    def _look_at(self, slot: int) -> Look | tuple[int, int]:
        if slot < 0:
            channel = self.tasks.statistics()
            return channel.depth, channel.bytes
        lease: Lease | None = self.tasks.lease(slot)
        held = self.tasks.held(slot)
        memory_used, cpu_seconds = self._look(slot)
        if lease is None:
            return Look(None, 0, 0.0, held, memory_used, cpu_seconds)
        seconds = _clock.monotonic() - lease.since
        return Look(lease.tag, lease.progress, seconds, held, memory_used, cpu_seconds)

    # From workers to the program.

    def _write(self) -> None:
        try:
            while True:
                self._pass_on(self.results.recv_many(BATCH, None))
        except (OSError, ValueError):
            pass  # the program is gone, or the node is ending
        finally:
            self._deal(None)

    def _pass_on(self, received: list[Message]) -> None:
        outgoing: list[Message] = []
        for message in received:
            kind, tag, _, _ = message
            if kind == messages.EVENT:
                self._send(outgoing)
                outgoing = []
                self._behind.popleft()()
                continue
            if kind <= messages.VALUES:
                self._tickets.pop(tag & messages.TAG_MASK, None)
            if kind in (messages.VALUE, messages.VALUES, messages.PART):
                message = _checked(message)
            outgoing.append(message)
        self._send(outgoing)

    def _send(self, outgoing: list[Message]) -> None:
        if outgoing:
            with self._writing:
                send_all(self._sock, pack(outgoing))

    def _fail(self, tag: int, error: BaseException) -> None:
        self.results.send(pickle.dumps(RemoteException.capture(error)), (), messages.ERROR, tag)


def _checked(message: Message) -> Message:
    """Return an outcome, or what says why it cannot travel."""
    _, tag, data, buffers = message
    try:
        check(data, buffers)
    except EncodeError as error:
        return messages.ERROR, tag, pickle.dumps(RemoteException.capture(error)), ()
    return message
