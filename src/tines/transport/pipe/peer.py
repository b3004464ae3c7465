"""One connection to a channel's owner, as the owner sees it. Everything here runs under its lock.

A peer answers one request at a time. A request that has to wait parks a waiter in the channel; its
reply is written by whoever ends the wait. Parcels that were handed to a peer stay in
``_delivering`` until its ACK: when the connection ends before that, they go back where they were.
"""

from __future__ import annotations

import hmac
import math
import secrets
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from tines import _clock
from tines._sockets import Output
from tines.errors import QueueShutDown
from tines.transport.pipe.parcel import Parcel
from tines.transport.pipe.protocol import (
    Decoder,
    Frame,
    Op,
    Pass,
    pack_parcels,
    pack_statistics,
    proof,
    unpack_parcels,
)
from tines.transport.pipe.state import ChannelState
from tines.transport.pipe.waiters import Ended, Hint, Joiner, Receiver, Sender, Waiter

if TYPE_CHECKING:
    from typing import Protocol

    from tines.transport.contract import Buffer

    class Home(Protocol):
        """The broker, to its peers. All of it in the broker's thread, under its lock."""

        channels: dict[int, ChannelState]
        shared: dict[int, tuple[Buffer, ...]]
        key: bytes
        excluded: set[int]

        def hold(self, state: ChannelState, holder: object) -> None:
            """Note that a channel has one more holder."""

        def drop(self, state: ChannelState, holder: object) -> None:
            """Note that it has one less; the last one's channel is closed."""

        def drain(self, pid: int) -> None:
            """Read all that a process has written."""

        def at(self, when: float, expire: Callable[[float], float | None]) -> None:
            """Have ``expire`` called at some time; it returns when next."""

        def changed(self, peer: Peer) -> None:
            """A peer has something left to write, or is broken."""


__all__ = ["Peer"]


class _Watch(Hint):
    """The descriptor of another process: one byte frame is written, and none until it was read."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.shown = False

    def show(self) -> None:
        if not self.shown:
            self.shown = True
            self._peer.answer(Frame(Op.HINT))

    def hide(self) -> None:
        """What was written cannot be taken back; the reader finds nothing and rearms."""


class Peer:
    """See the module's docstring."""

    def __init__(self, broker: Home, sock: socket.socket) -> None:
        self.sock = sock
        self.output = Output()
        self.broken = False
        self.pid = self.node = 0
        self._broker = broker
        self._blocked = False
        self._decoder = Decoder()
        self._nonce = secrets.token_bytes(32)
        self._waiter: Waiter | None = None
        self._deadline = math.inf
        self._timer = math.inf
        self._state: ChannelState | None = None
        self._delivering: tuple[ChannelState, list[Parcel], int] | None = None
        self._held: set[ChannelState] = set()
        self._watch: tuple[ChannelState, _Watch] | None = None

    # The connection.

    def greet(self) -> None:
        """Write the first frame."""
        self.answer(Frame(Op.HELLO, parts=[self._nonce]))

    @property
    def is_stranger(self) -> bool:
        """Whether it has not proved yet that it belongs to the program."""
        return not (self._decoder.trusted or self.broken)

    def give_up_on(self, now: float) -> None:
        """The time for that is over."""
        if self.is_stranger:
            self.fail()

    def ready(self, mask: int) -> None:
        """The socket can be read or written."""
        if not self.broken:
            if self.output:
                self._flush()
            self.read()

    def read(self) -> bool:
        """Read once and do what it says; whether there may be more."""
        try:
            frames = self._decoder.pull(self.sock)
        except BlockingIOError:
            return False
        except (OSError, EOFError):
            self.fail()
            return False
        for frame in frames:
            self._handle(frame)
        return True

    def answer(self, frame: Frame) -> None:
        """Write a frame, now or as soon as the socket takes it."""
        self.output.add(frame.encoded())
        self._flush()

    def _flush(self) -> None:
        if self.broken:
            return
        try:
            self.output.write(self.sock)
        except BlockingIOError:
            if not self._blocked:
                self._blocked = True
                self._broker.changed(self)
        except OSError:
            self.fail()
        else:
            if self._blocked:
                self._blocked = False
                self._broker.changed(self)

    def fail(self) -> None:
        """The connection is of no use any more; the broker's thread will close it."""
        self.broken = True
        self._broker.changed(self)

    def end(self) -> None:
        """Undo what a client that is gone had half done. Safe to call twice."""
        if self._waiter is not None and self._state is not None:
            self._state.forget(self._waiter)
        self._waiter = self._state = None
        if self._delivering is not None:
            state, parcels, lease = self._delivering
            self._delivering = None
            state.put_back(parcels, lease)
        if self._watch is not None:
            self._watch[0].remove_hint(self._watch[1])
            self._watch = None
        while self._held:
            self._broker.drop(self._held.pop(), self)

    # Requests.

    def _handle(self, frame: Frame) -> None:
        # The client had read all of the last reply before it wrote this: any frame acknowledges.
        self._delivering = None
        if not self._decoder.trusted:
            self._admit(frame)
            return
        state = self._broker.channels.get(frame.channel)
        try:
            if frame.op in _ONE_WAY:
                if state is not None:
                    _ONE_WAY[frame.op](self, state, frame)
                return
            if frame.op == Op.OPEN_SHARED:
                reply: Frame | None = self._shared(frame)
            elif frame.op == Op.NO_MEMORY:
                reply = Frame(Op.NO_MEMORY)
            elif state is None:
                reply = Frame(Op.GONE)
            else:
                reply = _REQUESTS[frame.op](self, state, frame)
        except QueueShutDown:
            reply = Frame(Op.SHUT_DOWN)
        except (ValueError, IndexError) as error:
            reply = Frame(Op.INVALID, parts=[str(error).encode()])
        if reply is not None:
            self.answer(reply)

    def _admit(self, frame: Frame) -> None:
        """Check the proof of a stranger."""
        key = self._broker.key
        if frame.op != Op.PROOF or len(frame.parts) != 2:
            self.fail()
            return
        nonce, given = frame.parts
        if not hmac.compare_digest(given, proof(key, "client", self._nonce, nonce)):
            self.fail()
            return
        self._decoder.trusted = True
        self.pid, self.node = frame.number, frame.tag
        if self.node in self._broker.excluded:
            self.fail()
            return
        self.answer(Frame(Op.WELCOME, parts=[proof(key, "owner", self._nonce, nonce)]))

    def _shared(self, frame: Frame) -> Frame:
        parts = self._broker.shared.get(frame.number)
        return Frame(Op.GONE) if parts is None else Frame(Op.DONE, parts=parts)

    def _send(self, state: ChannelState, frame: Frame) -> Frame | None:
        return self._offer(state, frame, [Parcel(frame.kind, frame.tag, frame.parts)])

    def _send_many(self, state: ChannelState, frame: Frame) -> Frame | None:
        return self._offer(state, frame, unpack_parcels(frame.parts))

    def _offer(self, state: ChannelState, frame: Frame, parcels: list[Parcel]) -> Frame | None:
        sender = Sender(self._sent, parcels)
        if state.send(sender) or frame.timeout <= 0:
            return _receipt(sender)
        state.park_sender(sender)
        self._park(state, sender, frame.timeout)
        return None

    def _recv(self, state: ChannelState, frame: Frame) -> Frame | None:
        return self._take(state, frame, 1, frame.number)

    def _recv_many(self, state: ChannelState, frame: Frame) -> Frame | None:
        return self._take(state, frame, frame.number, -1)

    def _take(self, state: ChannelState, frame: Frame, limit: int, lease: int) -> Frame | None:
        parcels = state.receive(limit, lease, self.pid)
        if parcels:
            return self._delivery(state, parcels, lease)
        if frame.timeout <= 0:
            return Frame(Op.NOTHING)
        receiver = Receiver(self._received, limit, lease, self.pid)
        state.park_receiver(receiver)
        self._park(state, receiver, frame.timeout)
        return None

    def _delivery(self, state: ChannelState, parcels: list[Parcel], lease: int) -> Frame:
        self._delivering = (state, parcels, lease)
        if len(parcels) == 1:
            one = parcels[0]
            return Frame(
                Op.MESSAGE, number=state.depth, tag=one.tag, kind=one.kind, parts=one.parts
            )
        return Frame(Op.MESSAGES, number=state.depth, parts=pack_parcels(parcels))

    def _revoke(self, state: ChannelState, frame: Frame) -> Frame:
        return Frame(Op.DONE, number=state.revoke(frame.number))

    def _lease(self, state: ChannelState, frame: Frame) -> Frame:
        lease = state.lease(frame.number)
        if lease is None:
            return Frame(Op.NOTHING)
        return Frame(Op.DONE, tag=lease.tag, number=lease.progress, timeout=lease.since)

    def _held_for(self, state: ChannelState, frame: Frame) -> Frame:
        return Frame(Op.DONE, timeout=state.held(frame.number))

    def _page(self, state: ChannelState, frame: Frame) -> Frame:
        return Frame(Op.DONE, parts=[state.page.place])

    def _task_done(self, state: ChannelState, frame: Frame) -> Frame:
        state.task_done()
        return Frame(Op.DONE)

    def _join(self, state: ChannelState, frame: Frame) -> Frame | None:
        if state.finished:
            return Frame(Op.DONE)
        if frame.timeout <= 0:
            return Frame(Op.NOTHING)
        joiner = Joiner(self._joined)
        state.park_joiner(joiner)
        self._park(state, joiner, frame.timeout)
        return None

    def _shutdown(self, state: ChannelState, frame: Frame) -> Frame:
        state.shut_down(bool(frame.number))
        return Frame(Op.DONE)

    def _statistics(self, state: ChannelState, frame: Frame) -> Frame:
        return Frame(Op.DONE, number=state.full, parts=[pack_statistics(state.statistics())])

    # One way.

    def _ack(self, state: ChannelState, frame: Frame) -> None:
        """Nothing more: see :meth:`_handle`."""

    def _release(self, state: ChannelState, frame: Frame) -> None:
        state.release(frame.number)

    def _tick(self, state: ChannelState, frame: Frame) -> None:
        state.tick(frame.number, frame.tag)

    def _hold(self, state: ChannelState, frame: Frame) -> None:
        self._held.add(state)
        self._broker.hold(state, self)
        if frame.tag:
            self._broker.drop(state, Pass(frame.tag))

    def _drop(self, state: ChannelState, frame: Frame) -> None:
        self._held.discard(state)
        self._broker.drop(state, self)

    def _pass(self, state: ChannelState, frame: Frame) -> None:
        self._broker.hold(state, Pass(frame.tag))

    def _withdraw(self, state: ChannelState, frame: Frame) -> None:
        if frame.number:
            # It may have handed on what it had opened; that is held from then on.
            self._broker.drain(frame.number)
        self._broker.drop(state, Pass(frame.tag))

    def _watch_from_now(self, state: ChannelState, frame: Frame) -> None:
        if self._watch is None:
            self._watch = (state, _Watch(self))
            state.add_hint(self._watch[1])

    def _rearm(self, state: ChannelState, frame: Frame) -> None:
        if self._watch is not None:
            self._watch[1].shown = False
            if state.readable:
                self._watch[1].show()

    # Waiting.

    def _park(self, state: ChannelState, waiter: Waiter, timeout: float) -> None:
        self._state, self._waiter = state, waiter
        self._deadline = _clock.monotonic() + timeout
        if self._deadline < self._timer:
            self._timer = self._deadline
            self._broker.at(self._deadline, self._expire)

    def _expire(self, now: float) -> float | None:
        """End the wait if its time is up. Of several timer entries only the earliest counts."""
        if now < self._timer:
            return None
        self._timer = math.inf
        waiter, state = self._waiter, self._state
        if waiter is None or state is None or self.broken:
            return None
        if now < self._deadline:
            if self._deadline < math.inf:
                self._timer = self._deadline
                return self._deadline
            return None
        state.forget(waiter)
        self._waiter = self._state = None
        self.answer(_receipt(waiter) if isinstance(waiter, Sender) else Frame(Op.NOTHING))
        return None

    def _ended(self, waiter: Waiter, reply: Callable[[ChannelState], Frame]) -> None:
        state = self._state
        assert state is not None
        self._waiter = self._state = None
        if waiter.ended is Ended.DONE:
            self.answer(reply(state))
        else:
            self.answer(Frame(Op.SHUT_DOWN if waiter.ended is Ended.SHUT_DOWN else Op.GONE))

    def _sent(self, waiter: Sender) -> None:
        self._ended(waiter, lambda state: _receipt(waiter))

    def _received(self, waiter: Receiver) -> None:
        self._ended(waiter, lambda state: self._delivery(state, waiter.parcels, waiter.lease))

    def _joined(self, waiter: Joiner) -> None:
        self._ended(waiter, lambda state: Frame(Op.DONE))


def _receipt(sender: Sender) -> Frame:
    """Say how many parcels were admitted, and the ticket of the last one."""
    count = sender.position
    return Frame(Op.DONE, number=count, tag=sender.parcels[count - 1].ticket if count else 0)


_REQUESTS: dict[int, Callable[[Peer, ChannelState, Frame], Frame | None]] = {
    Op.SEND: Peer._send,
    Op.SEND_MANY: Peer._send_many,
    Op.RECV: Peer._recv,
    Op.RECV_MANY: Peer._recv_many,
    Op.REVOKE: Peer._revoke,
    Op.LEASE: Peer._lease,
    Op.HELD: Peer._held_for,
    Op.PAGE: Peer._page,
    Op.TASK_DONE: Peer._task_done,
    Op.JOIN: Peer._join,
    Op.SHUTDOWN: Peer._shutdown,
    Op.STATISTICS: Peer._statistics,
}

_ONE_WAY: dict[int, Callable[[Peer, ChannelState, Frame], None]] = {
    Op.ACK: Peer._ack,
    Op.RELEASE: Peer._release,
    Op.TICK: Peer._tick,
    Op.HOLD: Peer._hold,
    Op.DROP: Peer._drop,
    Op.PASS: Peer._pass,
    Op.WITHDRAW: Peer._withdraw,
    Op.WATCH: Peer._watch_from_now,
    Op.REARM: Peer._rearm,
}
