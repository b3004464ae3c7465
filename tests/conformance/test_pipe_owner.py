"""The owner of the pipe transport's channels ends, stops, or has too little memory."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from channel_tools import WAIT, Finish, must
from support.processes import Start
from support.waiting import wait_for
from tines.errors import TransportError
from tines.transport import named
from tines.transport.contract import Channel
from tines.transport.pipe import connection, registry

pipe = named("pipe")


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
    assert time.monotonic() - began < 30
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
            assert time.monotonic() - began < 20
    finally:
        os.kill(owner.pid, signal.SIGCONT)
    wait_for(lambda: empty.statistics().waiting_receivers == 0)
    empty.send(b"", tag=5)
    assert must(empty.recv(WAIT))[1] == 5
    end(go)
    owner.join(WAIT)


@pytest.mark.skipif(sys.platform != "linux", reason="reads what the system allows in /proc")
def test_many_may_connect_while_the_owner_is_busy() -> None:
    if int(Path("/proc/sys/net/core/somaxconn").read_text()) < 500:
        pytest.skip("this system allows fewer")
    broker = registry.current().broker()
    with contextlib.ExitStack() as stack:
        stack.enter_context(broker.lock)  # so it accepts nobody
        for _ in range(300):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(0)
            client.connect(broker.address)
    wait_for(lambda: not broker.peers)


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


AT_EXIT = """
import os, time, tines
from tines.transport.pipe import registry

queue = tines.Queue()
broker = registry.current().broker()

class Last:
    # Collected when the interpreter ends. Its modules are torn down by then: it keeps what it needs.
    def __init__(self):
        self.wake, self.thread = broker._wake_out.send, f"/proc/self/task/{broker.thread.native_id}"
        self.dup, self.stat, self.sleep = os.dup, os.stat, time.sleep

    def __del__(self):
        try:
            while True:
                self.dup(0)
        except OSError:
            pass
        self.wake(b"x")
        try:
            while True:
                self.stat(self.thread)
                self.sleep(0.001)
        except FileNotFoundError:
            print("the thread has ended", flush=True)

last = Last()
"""


@pytest.mark.skipif(
    sys.platform != "linux" or sys.version_info >= (3, 14),
    reason="there, threads do not end by pthread_exit when the interpreter does",
)
def test_the_thread_can_end_without_a_descriptor() -> None:
    program = f"import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n{AT_EXIT}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TINES_NATIVE": "off", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    assert (done.returncode, done.stdout) == (0, "the thread has ended\n"), done.stderr
