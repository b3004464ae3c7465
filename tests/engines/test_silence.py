"""Nodes that say nothing any more: stopped, hung or cut off, whatever is on its way to them or from them."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from engine_tasks import begin, begun, node, square
from engine_tools import guard, lives
from support.pools import ending
from support.waiting import SLOWNESS, wait_for
from tines.engines import simulated
from tines.engines.remote import hosting, silence
from tines.errors import NodeLostError
from tines.pool import Pool

BEAT = 0.5 * SLOWNESS
"""Short, so that tests take little time, and long enough for nodes that are alive on a busy machine."""


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    monkeypatch.setattr(silence, "BEAT_SECONDS", BEAT)
    with ending() as made:
        made.append(Pool(2, engine="simulated:2"))
        pids = [pid for each in made[0].nodes() for pid in (each.pid, *each.workers)]
        yield made[0]
    wait_for(lambda: not [pid for pid in pids if lives(pid)])


def test_a_stopped_agent_is_killed_and_its_workers_end(pool: Pool, tmp_path: Path) -> None:
    """Nobody is there to hear of its workers, so they do not go on either."""
    results = [pool.apply_async(begin, (str(tmp_path), number)) for number in range(4)]
    wait_for(lambda: len(begun(tmp_path)) == 2)
    number, worker, agent = begun(tmp_path)[0]
    os.kill(agent, signal.SIGSTOP)
    with pytest.raises(NodeLostError):
        results[number].get(30)
    wait_for(lambda: not lives(worker))
    (tmp_path / "gate").touch()
    rest = [each for index, each in enumerate(results) if index != number]
    assert [each.get(30) for each in rest] == [each for each in range(4) if each != number]
    assert sorted(each[0] for each in begun(tmp_path)) == [0, 1, 2, 3]  # each once


def test_a_node_that_stands_still_is_given_up_and_comes_back_too_late(
    pool: Pool, tmp_path: Path
) -> None:
    """With much on its way to it, where no system would notice for a long time."""
    results = [pool.apply_async(begin, (str(tmp_path), number)) for number in range(4)]
    wait_for(lambda: len(begun(tmp_path)) == 2)
    number, worker, agent = begun(tmp_path)[0]
    frozen = [guard(agent), agent, worker]
    try:
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        array = np.ones(4_000_000)
        shared = pool.map_async(partial(np.dot, array), [array], chunksize=1)
        with pytest.raises(NodeLostError):
            results[number].get(30)
        assert sorted(each.state for each in pool.nodes()) == ["alive", "lost"]
        (tmp_path / "gate").touch()
        rest = [each for index, each in enumerate(results) if index != number]
        assert [each.get(30) for each in rest] == [each for each in range(4) if each != number]
        assert shared.get(30) == [4_000_000]
    finally:
        for pid in reversed(frozen):
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: not [pid for pid in frozen if lives(pid)])
    assert sorted(each[0] for each in begun(tmp_path)) == [0, 1, 2, 3]  # each once
    assert sorted(each.state for each in pool.nodes()) == ["alive", "lost"]
    assert node() not in pool.map(node, range(20))
    assert pool.map(square, range(10)) == [x * x for x in range(10)]


HELD = """
import os, signal, sys
import tines
from tines.engines.remote import silence

if __name__ == "__main__":
    silence.BEAT_SECONDS = float(sys.argv[1])
    with tines.Pool(2, engine="simulated:2") as pool:
        large = [pool.apply_async(bytes, (20_000_000,)) for _ in range(4)]
        os.kill(os.getpid(), signal.SIGSTOP)
        print(*[len(each.get(60)) for each in large], *[each.state for each in pool.nodes()])
"""


def test_a_program_that_is_held_keeps_its_nodes(tmp_path: Path) -> None:
    """By a debugger, or Ctrl-Z. The streams are full meanwhile."""
    script = tmp_path / "program.py"
    script.write_text(HELD)
    beat = 0.3 * SLOWNESS
    with subprocess.Popen(
        [sys.executable, str(script), str(beat)], stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            wait_for(lambda: psutil.Process(program.pid).status() == psutil.STATUS_STOPPED)
            time.sleep(beat * (silence.SILENT_BEATS + 2))
            program.send_signal(signal.SIGCONT)
            printed, _ = program.communicate(timeout=60)
        finally:
            program.kill()
    assert printed.split() == ["20000000"] * 4 + ["alive"] * 2


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)


@pytest.fixture
def other_host(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Have agents on another host, as far as a network is concerned; yield the name of the link to it."""
    if sys.platform != "linux" or os.geteuid() or not shutil.which("ip"):
        pytest.skip("another host needs namespaces of networks")
    # Of its own, as other runs of this test may have theirs at the same time, and one that ends goes slowly.
    own = secrets.token_bytes(2)
    name = f"tn{own.hex()}"
    network = f"10.{100 + own[0] % 100}.{own[1]}"
    try:
        ip("netns", "add", name)
    except subprocess.CalledProcessError:
        pytest.skip("there can be no namespaces of networks here")
    try:
        try:
            ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"there can be no link to another namespace here: {error.stderr!r}")
        ip("address", "add", f"{network}.1/24", "dev", name)
        ip("link", "set", name, "up")
        ip("-n", name, "address", "add", f"{network}.2/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        command = hosting.interpreter.command
        elsewhere = ["ip", "netns", "exec", name]
        monkeypatch.setattr(
            hosting.interpreter, "command", lambda *given: [*elsewhere, *command(*given)]
        )
        monkeypatch.setattr(simulated.SimulatedNodes, "host", lambda _: f"{network}.1")
        yield name
    finally:
        ip("netns", "delete", name)


def test_a_node_that_is_cut_off_is_given_up_and_ends_its_workers(
    other_host: str, tmp_path: Path
) -> None:
    """While it sends: no system would give up its connection for a quarter of an hour."""
    with ending() as made:
        made.append(Pool(1, engine="simulated:1"))
        pool = made[0]
        running = pool.apply_async(begin, (str(tmp_path), 0))
        wait_for(lambda: begun(tmp_path))
        ((_, worker, agent),) = begun(tmp_path)
        ip("link", "set", other_host, "down")
        with pytest.raises(NodeLostError):
            running.get(30)
        wait_for(lambda: not lives(worker))
        wait_for(lambda: not lives(agent))
