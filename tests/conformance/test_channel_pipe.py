"""What only the pipe transport has: an owner that may die, a protocol, a state without I/O."""

from __future__ import annotations

import contextlib
import gc
import itertools
import math
import multiprocessing
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from support.processes import Start
from support.waiting import wait_for
from tines.errors import QueueShutDown, TransportError
from tines.transport import named
from tines.transport.contract import Channel, Message, Shared
from tines.transport.pipe import connection, registry
from tines.transport.pipe.parcel import Parcel
from tines.transport.pipe.protocol import Decoder, Frame, Op, pack_parcels, unpack_parcels
from tines.transport.pipe.state import ChannelState
from tines.transport.pipe.waiters import Ended, Receiver, Sender

WAIT = 30.0
Finish = Callable[..., None]

pipe = named("pipe")


def must(message: Message | None) -> Message:
    assert message is not None
    return message


# -- the owner dies


def own(ready: Channel, how: str) -> None:
    """Make channels, hand them out, and end in some way when told to."""
    empty, full, go = pipe.channel(), pipe.channel(max_items=1), pipe.channel()
    full.send(b"")
    ready.send(pickle.dumps((empty, full, go)))
    go.recv(WAIT)
    if how == "leaves a child":
        pid = os.fork()
        if pid == 0:
            signal.pause()
        ready.send(b"", tag=pid)
    if how != "ends":
        os.kill(os.getpid(), signal.SIGKILL)


def end(go: Channel) -> None:
    """Tell an owner to end; it may be gone before it has answered."""
    with contextlib.suppress(TransportError):
        go.send(b"")


def blocked(channels: bytes, report: Channel, call: str) -> None:
    empty, full, _ = pickle.loads(channels)
    calls: dict[str, Callable[[], object]] = {
        "recv": lambda: empty.recv(WAIT),
        "recv for ever": lambda: empty.recv(),
        "recv_many": lambda: empty.recv_many(3),
        "send": lambda: full.send(b"x"),
        "join": lambda: full.join(),
    }
    report.send(b"ready")
    try:
        calls[call]()
    except TransportError as error:
        report.send(str(error).encode())


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.parametrize("how", ["killed", "leaves a child", "ends"])
def test_the_owners_end_is_an_error_for_everybody(fork: Start, finish: Finish, how: str) -> None:
    ready, report = pipe.channel(), pipe.channel()
    owner = fork(own, ready, how)
    channels = bytes(must(ready.recv(WAIT))[2])
    names = ["recv", "recv for ever", "recv_many", "send", "join"]
    children = [fork(blocked, channels, report, name) for name in names]
    for _ in names:
        assert bytes(must(report.recv(WAIT))[2]) == b"ready"
    empty, full, go = pickle.loads(channels)
    wait_for(lambda: empty.statistics().waiting_receivers == 3)
    wait_for(lambda: full.statistics().waiting_senders == 1)
    began = time.monotonic()
    end(go)
    for _ in names:
        assert f"pid {owner.pid}" in bytes(must(report.recv(WAIT))[2]).decode()
    finish(*children)
    with pytest.raises(TransportError, match=f"pid {owner.pid}"):
        empty.recv(0)
    with pytest.raises(TransportError, match=f"pid {owner.pid}"):
        full.send(b"")
    with pytest.raises(TransportError, match=f"pid {owner.pid}"):
        go.qsize()
    assert time.monotonic() - began < 10
    if how == "leaves a child":
        os.kill(must(ready.recv(WAIT))[1], signal.SIGKILL)
    # A handle of a channel that is gone still unpickles; only its use fails.
    orphan = pickle.loads(channels)[0]
    with pytest.raises(TransportError):
        orphan.recv(0)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP here")
def test_a_stopped_owner_does_not_stop_others_for_ever(
    fork: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.3)
    ready = pipe.channel()
    owner = fork(own, ready, "ends")
    empty, full, go = pickle.loads(bytes(must(ready.recv(WAIT))[2]))
    assert empty.recv(0) is None
    assert full.qsize() == 1
    os.kill(owner.pid, signal.SIGSTOP)
    os.waitpid(owner.pid, os.WUNTRACED)
    try:
        # The kernel takes a request on a connection that stands: nobody can say what becomes of it.
        with pytest.raises(TransportError, match="not known"):
            full.send(b"?", timeout=0)
        # On a new one the request is not even written.
        assert full.send(b"?", timeout=0) == -1
        for timeout in (0, 0.2):
            began = time.monotonic()
            assert empty.recv(timeout) is None
            assert not full.join(timeout)
            assert time.monotonic() - began < 5
    finally:
        os.kill(owner.pid, signal.SIGCONT)
    wait_for(lambda: empty.statistics().waiting_receivers == 0)
    empty.send(b"", tag=5)
    assert must(empty.recv(WAIT))[1] == 5
    end(go)
    owner.join(WAIT)


def test_an_owner_that_exits_is_not_kept_alive(tmp_path: Any) -> None:
    """The broker's thread is no reason to live, and warns of nothing at the end."""
    program = textwrap.dedent(
        """
        from tines.transport import named
        channel = named("pipe").channel()
        channel.fileno()
        channel.send(b"left in it")
        kept = named("pipe").share(b"x")
        print("end")
        """
    )
    result = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=WAIT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "end\n", "")


# -- too little memory

LARGE = 300 * 1024 * 1024
needs_limit = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is not kept elsewhere")


def limit_memory() -> None:
    """Leave this process too little for a large message."""
    import resource

    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + LARGE // 2, resource.RLIM_INFINITY))


def own_with_little_memory(ready: Channel, go: Channel) -> None:
    channel = pipe.channel()
    ready.send(pickle.dumps(channel))
    limit_memory()
    go.recv(WAIT)


@needs_limit
def test_an_owner_without_memory_refuses(fork: Start, finish: Finish) -> None:
    ready, go = pipe.channel(), pipe.channel()
    owner = fork(own_with_little_memory, ready, go)
    channel = pickle.loads(bytes(must(ready.recv(WAIT))[2]))
    assert channel.send(b"small", tag=1) >= 0
    with pytest.raises(MemoryError):
        channel.send(b"", [bytearray(LARGE), b"and another"])
    assert channel.qsize() == 1
    assert channel.send(b"small", tag=2) >= 0
    assert [message[1] for message in channel.recv_many(3, 0)] == [1, 2]
    go.send(b"")
    finish(owner)


def fail_to_receive(channel: Channel, report: Channel, small: Channel) -> None:
    limit_memory()
    try:
        channel.recv(WAIT)
    except MemoryError:
        report.send(b"no memory")
    report.send(b"received", tag=must(small.recv(WAIT))[1])


@needs_limit
def test_a_receiver_without_memory_takes_nothing(fork: Start, finish: Finish) -> None:
    channel, report, answer = pipe.channel(), pipe.channel(), pipe.channel()
    channel.send(b"", [bytearray(LARGE)], tag=7)
    child = fork(fail_to_receive, channel, report, answer)
    assert bytes(must(report.recv(WAIT))[2]) == b"no memory"
    answer.send(b"small", tag=8)
    assert must(report.recv(WAIT))[1] == 8
    finish(child)
    message = must(channel.recv(WAIT))
    assert (message[1], len(message[3][0])) == (7, LARGE)


# -- lifetimes


def broker_channels() -> int:
    current = registry.current()
    current.sweep()
    return len(current.broker().channels)


def hold_until_told(channel: Channel, go: Channel, ready: Channel) -> None:
    channel.qsize()
    ready.send(b"")
    assert go.recv(WAIT) is not None


def hold_without_use(go: Channel, ready: Channel, *_: object) -> None:
    ready.send(b"")
    assert go.recv(WAIT) is not None


def pass_on(post: Channel, go: Channel, ready: Channel) -> None:
    """Open a channel from a message, put it into another message, and let go of it."""
    channel = pickle.loads(must(post.recv(WAIT))[2])
    post.send(pickle.dumps(channel))
    channel.close()
    hold_without_use(go, ready)


def test_a_dropped_channel_is_gone() -> None:
    gc.collect()
    base = broker_channels()
    for close in (True, False):
        channel = pipe.channel()
        other = pickle.loads(pickle.dumps(channel))
        channel.send(bytes(1000))
        channel.close()
        assert other.qsize() == 1
        if close:
            other.close()
        del channel, other
        wait_for(lambda: broker_channels() == base)


def test_a_channel_goes_when_its_last_process_ends(start: Start) -> None:
    go, ready = pipe.channel(), pipe.channel()
    base = broker_channels()
    channel = pipe.channel()
    children = [start(hold_until_told, channel, go, ready) for _ in range(2)]
    for _ in children:
        assert ready.recv(WAIT) is not None
    del channel
    gc.collect()
    assert broker_channels() == base + 1
    children[0].kill()
    children[0].join()
    assert broker_channels() == base + 1
    go.send(b"")
    children[1].join()
    wait_for(lambda: broker_channels() == base)


def test_a_forked_child_holds_what_it_never_used(fork: Start) -> None:
    go, ready = pipe.channel(), pipe.channel()
    base = broker_channels()
    channel = pipe.channel()
    child = fork(hold_without_use, go, ready, channel)
    assert ready.recv(WAIT) is not None
    channel.close()
    gc.collect()
    assert broker_channels() == base + 1
    go.send(b"")
    child.join()
    wait_for(lambda: broker_channels() == base)


def test_a_pickled_handle_holds_its_channel(start: Start) -> None:
    post, go, ready = pipe.channel(), pipe.channel(), pipe.channel()
    base = broker_channels()
    channel = pipe.channel()
    channel.send(b"", tag=3)
    post.send(pickle.dumps(channel))
    channel.close()
    child = start(pass_on, post, go, ready)
    assert ready.recv(WAIT) is not None
    assert broker_channels() == base + 1, "only the message in the post holds it now"
    back = pickle.loads(must(post.recv(WAIT))[2])
    assert must(back.recv(0))[1] == 3
    back.close()
    wait_for(lambda: broker_channels() == base)
    go.send(b"")
    child.join()


def test_a_closed_share_is_an_error_for_those_who_come_late() -> None:
    shared = pipe.share(b"data", [b"buffer"])
    copy = pickle.dumps(shared)
    assert pickle.loads(copy) is shared, "one object in one process"
    shared.close()
    with pytest.raises(TransportError, match="closed"):
        pickle.loads(copy).open()


def open_late(shared: Shared, report: Channel) -> None:
    try:
        shared.open()
    except TransportError as error:
        report.send(str(error).encode())


def test_a_closed_share_is_an_error_elsewhere(fork: Start, finish: Finish) -> None:
    shared, report = pipe.share(b"data"), pipe.channel()
    shared.close()
    finish(fork(open_late, shared, report))
    assert b"closed" in bytes(must(report.recv(0))[2])


# -- strangers


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


# -- the protocol


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


# -- the state, against a model


class Model(RuleBasedStateMachine):
    """Random calls on a channel's state, against plain lists of tags in the order of admission."""

    BOUND = 3

    def __init__(self) -> None:
        super().__init__()
        self.state = ChannelState(max_items=self.BOUND, leases=1)
        self.queue: list[int] = []
        self.order: list[int] = []
        self.held: list[Parcel] = []
        self.senders: dict[Sender, list[int]] = {}
        self.receivers: list[Receiver] = []
        self.tags = itertools.count()
        self.shut = False

    def admit(self, waiting: list[int]) -> None:
        while waiting and len(self.queue) < self.BOUND:
            self.order.append(waiting[0])
            self.queue.append(waiting.pop(0))

    def settle(self) -> None:
        """Do to the model what the state does by itself, in the same order of turns."""
        while True:
            if self.receivers and self.queue:
                receiver = self.receivers.pop(0)
                assert receiver.ended is Ended.DONE
                expected, self.queue = self.queue[: receiver.limit], self.queue[receiver.limit :]
                assert [parcel.tag for parcel in receiver.parcels] == expected
                self.held += receiver.parcels
            elif self.senders and len(self.queue) < self.BOUND:
                sender, waiting = next(iter(self.senders.items()))
                self.admit(waiting)
                if not waiting:
                    assert sender.ended is Ended.DONE
                    del self.senders[sender]
            else:
                return

    @rule(count=st.integers(1, 5), park=st.booleans())
    def send(self, count: int, park: bool) -> None:
        waiting = [next(self.tags) for _ in range(count)]
        sender = Sender(lambda _: None, [Parcel(0, tag, [b"x" * 10]) for tag in waiting])
        if self.shut:
            with pytest.raises(QueueShutDown):
                self.state.send(sender)
            return
        done = self.state.send(sender)
        if not self.senders:
            while waiting and len(self.queue) < self.BOUND:
                self.admit(waiting)
                self.settle()
        assert done == (not waiting)
        assert sender.position == count - len(waiting)
        if not done and park:
            self.senders[sender] = waiting
            self.state.park_sender(sender)

    @rule(limit=st.integers(1, 3), park=st.booleans())
    def receive(self, limit: int, park: bool) -> None:
        if not self.queue and self.shut:
            with pytest.raises(QueueShutDown):
                self.state.receive(limit, -1)
            return
        parcels = self.state.receive(limit, -1)
        expected, self.queue = self.queue[:limit], self.queue[limit:]
        assert [parcel.tag for parcel in parcels] == expected
        self.held += parcels
        self.settle()
        if not parcels and park:
            receiver = Receiver(lambda _: None, limit, -1)
            self.receivers.append(receiver)
            self.state.park_receiver(receiver)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        parcel = data.draw(st.sampled_from(self.held))
        self.held.remove(parcel)
        self.queue = sorted([*self.queue, parcel.tag], key=self.order.index)
        self.state.put_back([parcel])
        self.settle()

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        tag = data.draw(st.sampled_from(self.queue))
        assert self.state.revoke(self.order.index(tag))
        assert not self.state.revoke(self.order.index(tag))
        self.queue.remove(tag)
        self.settle()

    @precondition(lambda self: self.receivers)
    @rule(data=st.data())
    def forget_receiver(self, data: st.DataObject) -> None:
        receiver = data.draw(st.sampled_from(self.receivers))
        self.receivers.remove(receiver)
        self.state.forget(receiver)

    @precondition(lambda self: self.senders)
    @rule(data=st.data())
    def forget_sender(self, data: st.DataObject) -> None:
        sender = data.draw(st.sampled_from(list(self.senders)))
        del self.senders[sender]
        self.state.forget(sender)
        self.settle()

    @precondition(lambda self: not self.shut)
    @rule(chance=st.integers(0, 9))
    def shut_down(self, chance: int) -> None:
        if chance:
            return  # once it is shut down not much happens any more
        self.state.shut_down(immediate=False)
        for waiter in (*self.senders, *self.receivers):
            assert waiter.ended is Ended.SHUT_DOWN
        self.senders.clear()
        self.receivers.clear()
        self.shut = True

    @invariant()
    def counts_agree(self) -> None:
        statistics = self.state.statistics()
        assert statistics.depth == len(self.queue)
        assert statistics.bytes == 10 * len(self.queue)
        assert statistics.sent == len(self.order)
        assert statistics.waiting_receivers == len(self.receivers)
        assert statistics.waiting_senders == len(self.senders)
        assert self.state.full == (len(self.queue) >= self.BOUND or bool(self.senders))
        assert not any(waiter.ended for waiter in (*self.senders, *self.receivers))


Model.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestModel = Model.TestCase
