"""Who connects to the pipe transport's socket and does not belong to the program costs little."""

from __future__ import annotations

import logging
import os
import pickle
import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from channel_tools import Finish, must
from support.processes import Start
from support.waiting import PATIENCE, wait_for
from tines.transport import named
from tines.transport.pipe import broker as brokers
from tines.transport.pipe import door, registry
from tines.transport.pipe.broker import Broker

pipe = named("pipe")
NOBODY = 65534

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def broker() -> Iterator[Broker]:
    channel = pipe.channel()
    yield registry.current().broker()
    channel.close()


def connected(broker: Broker) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(PATIENCE)
    sock.connect(broker.address)
    return sock


def is_closed(sock: socket.socket) -> bool:
    """Whether the other side ends, after whatever it has to say."""
    try:
        while sock.recv(4096):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


def test_who_does_not_prove_itself_in_time_is_let_go(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brokers, "HANDSHAKE_SECONDS", 0.1)
    with connected(broker) as stranger:
        assert is_closed(stranger)
    wait_for(lambda: not any(peer.is_stranger for peer in list(broker.peers)))


def test_so_many_are_kept_at_most(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "STRANGERS", 3)
    sockets = [connected(broker) for _ in range(8)]
    for sock in sockets[:5]:
        assert is_closed(sock)
    wait_for(lambda: sum(peer.is_stranger for peer in list(broker.peers)) == 3)
    for sock in sockets:
        sock.close()


def test_what_is_logged_of_them_holds_up_nobody(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler may wait for a thread that uses a channel, as one does whose records go into a queue."""
    monkeypatch.setattr(door, "may_speak", lambda sock: False)
    used: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def use() -> None:
        with broker.lock:
            used.put(True)

    class Waiting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            threading.Thread(target=use, daemon=True).start()
            answers.put(used.get(timeout=PATIENCE))

    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
    logger, handler = logging.getLogger("tines.transport"), Waiting()
    logger.addHandler(handler)
    try:
        with connected(broker) as stranger:
            assert is_closed(stranger)
        assert answers.get(timeout=2 * PATIENCE)
    finally:
        logger.removeHandler(handler)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid(), reason="needs to change its user")
@pytest.mark.parametrize("ours", [False, True], ids=["stranger", "child of ours"])
def test_other_users_are_refused_unless_they_are_children(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, ours: bool
) -> None:
    if not ours:
        monkeypatch.setattr(door, "_descends", lambda pid: False)
    pid = os.fork()
    if pid == 0:
        code = 9
        try:
            os.setuid(NOBODY)
            with connected(broker) as sock:
                code = 1 if sock.recv(1) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == (1 if ours else 2)


def _send_as_nobody(handle: bytes) -> None:
    os.setuid(NOBODY)
    pickle.loads(handle).send(b"from nobody")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid(), reason="needs to change its user")
def test_a_child_that_has_changed_its_user_goes_on(fork: Start, finish: Finish) -> None:
    channel: Any = pipe.channel()
    child = fork(_send_as_nobody, pickle.dumps(channel))
    assert must(channel.recv(PATIENCE))[2] == b"from nobody"
    finish(child)
    channel.close()
