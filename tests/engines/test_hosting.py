"""The process that starts an agent, and the agent's line to it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator

import pytest

from tines.engines.names import maker
from tines.engines.remote.handshake import new_key
from tines.engines.remote.hosting import Agent
from tines.pool import Pool


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Where an agent is let in, and nobody speaks to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        yield listener


def test_an_agent_ends_with_the_process_that_has_started_it(silent: socket.socket) -> None:
    """Not only when that one has no children any more, which were forked when the agent was there."""
    from tines.engines.remote import hub  # noqa: F401 - it has a hook of its own for forks

    agent = Agent(silent.getsockname(), new_key(), "silent")
    caller, _ = silent.accept()
    child = os.fork() if hasattr(os, "fork") else None
    if child == 0:
        signal.pause()
    try:
        with caller:
            assert agent.problem() is None
            agent.let_go()
            let_go = time.monotonic()
            assert agent.wait() == 1
            assert time.monotonic() - let_go < 25, "it has only given up waiting to be let in"
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_an_agent_that_cannot_reach_the_program_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    agent = Agent(address, new_key(), "lonely")
    agent.wait()
    assert f"cannot connect to this program at 127.0.0.1, port {address[1]}" in str(agent.problem())


@pytest.mark.parametrize(
    ("given", "library", "extra"),
    [
        ("dask", "distributed", "dask"),
        ("tcp://host:8786", "distributed", "dask"),
        ("ray", "ray", "ray"),
    ],
)
def test_without_the_library_of_an_engine_the_extra_is_named(
    given: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"tines\[{extra}\]"):
        Pool(1, engine=given)


def test_a_class_of_another_library_is_no_engine() -> None:
    client = type("Client", (), {"__module__": "redistributed.client"})
    with pytest.raises(TypeError, match="is not an engine"):
        maker(client())
