"""How a broker is reached where its backlog is full, as every system says that in its own way."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.waiting import PATIENCE
from tines import _clock
from tines.transport.pipe import door

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no such sockets here")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        yield made


def _in_a_moment(monkeypatch: pytest.MonkeyPatch, step: object) -> list[float]:
    """Have something happen whenever somebody pauses; return the pauses."""
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if callable(step):
            step()

    monkeypatch.setattr(_clock, "sleep", sleep)
    return pauses


def _fill(address: door.Address) -> list[socket.socket]:
    """Connect until that is refused."""
    inside = []
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        inside.append(sock)
        sock.setblocking(False)
        try:
            sock.connect(address)
        except BlockingIOError:
            return inside


@pytest.mark.skipif(sys.platform != "linux", reason="addresses without a file are Linux's")
def test_who_has_a_deadline_waits_for_room(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"\0tines-test-{os.getpid()}".encode()
    listener.bind(address)
    listener.listen(0)
    inside = _fill(address)
    pauses = _in_a_moment(monkeypatch, lambda: inside.append(listener.accept()[0]))
    with door.connect(address, os.getpid(), _clock.monotonic() + PATIENCE) as sock:
        assert sock.getpeername() == address
        assert len(pauses) == 1
    for other in inside:
        other.close()
    inside = _fill(address)
    _in_a_moment(monkeypatch, None)
    with pytest.raises(TimeoutError, match="backlog was full"):
        door.connect(address, os.getpid(), _clock.monotonic() + 0.01)
    for other in inside:
        other.close()


def test_a_living_owner_that_refuses_is_asked_again(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    listener.bind("broker")
    # Refused until then, as macOS does it with a full backlog.
    pauses = _in_a_moment(monkeypatch, listener.listen)
    door.connect("broker", os.getpid(), math.inf).close()
    assert len(pauses) == 1


def test_an_owner_that_is_gone_or_silent_is_not_waited_for(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    listener.bind("broker")
    pauses = _in_a_moment(monkeypatch, None)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(PATIENCE)
    with pytest.raises(ConnectionRefusedError):
        door.connect("broker", ended.pid, math.inf)
    assert pauses == []
    monkeypatch.setattr(door, "_KNOCKING_SECONDS", 0.01)
    with pytest.raises(ConnectionRefusedError):
        door.connect("broker", os.getpid(), math.inf)
    with pytest.raises(FileNotFoundError):
        door.connect("nobody", os.getpid(), math.inf)
