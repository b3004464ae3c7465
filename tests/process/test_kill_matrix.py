"""Whoever is killed, and whenever: nobody below is left behind. Survivors are counted: none.

Every process of a family carries a mark in its environment, however deep it is and whoever became
its parent, helpers included (fork server, resource tracker).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

import tines as mp

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="finds the survivors through /proc; signals by the kernel"
)

PROGRAM = Path(__file__).parent / "programs" / "family.py"
METHODS = mp.get_all_start_methods()
SECOND = 1.0
MARK = "TINES_TEST_FAMILY"


class Family:
    """A running family, and who of it is alive."""

    def __init__(self, method, shape):
        self.mark = f"{MARK}={uuid.uuid4()}".encode()
        environment = os.environ | dict([self.mark.decode().split("=")])
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), method, shape],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self):
        line = self.process.stdout.readline().split()
        assert line[:1] == ["ready"], self.process.stderr.read()
        self.children = [int(pid) for pid in line[1:]]

    def alive(self):
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self.has(pid)]

    def has(self, pid):
        try:
            if self.mark not in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                return False
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False

    def survivors(self, after, expected=()):
        """Who is alive ``after`` seconds from now, or as soon as only the expected ones are."""
        deadline = time.monotonic() + after
        while set(alive := self.alive()) != set(expected) and time.monotonic() < deadline:
            time.sleep(0.01)
        return alive

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.mark.parametrize(
    "shape",
    [
        "sleep",
        "sleep-thread",
        "daemon",
        "hang",
        "exit",
        "grandchildren",
        "grandchildren-thread",
        "daemon-grandchildren",
        "mixed",
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_nobody_survives_a_killed_parent(method, shape):
    with Family(method, shape) as family:
        family.wait_until_ready()
        family.process.kill()
        assert family.survivors(SECOND) == []


@pytest.mark.parametrize("method", METHODS)
def test_a_child_survives_the_thread_that_started_it(method):
    with Family(method, "sleep-thread") as family:
        family.wait_until_ready()
        time.sleep(0.2)
        assert set(family.children) <= set(family.alive())


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("method", METHODS)
def test_nobody_survives_a_parent_that_ends_by_a_signal(method, signum):
    with Family(method, "daemon-grandchildren") as family:
        family.wait_until_ready()
        family.process.send_signal(signum)
        assert family.survivors(SECOND) == []


@pytest.mark.parametrize("method", METHODS)
def test_grandchildren_go_with_a_killed_child(method):
    with Family(method, "grandchildren") as family:
        family.wait_until_ready()
        before = set(family.alive())
        os.kill(family.children[0], signal.SIGKILL)
        # The child and its two are gone; a fork server of its own, if it had one, may be as well.
        deadline = time.monotonic() + SECOND
        while len(before - set(family.alive())) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(before - set(family.alive())) >= 3
        assert family.children[1] in family.alive()
        assert family.process.poll() is None


@pytest.mark.parametrize("method", METHODS)
def test_nobody_survives_a_parent_killed_while_it_starts_children(method):
    for _ in range(3):
        with Family(method, "starting") as family:
            family.wait_until_ready()
            time.sleep(random.uniform(0, 0.05))
            family.process.kill()
            assert family.survivors(2 * SECOND) == []


@pytest.mark.parametrize("method", METHODS)
def test_nobody_survives_a_parent_killed_at_any_moment_of_its_first_start(method):
    for _ in range(5):
        with Family(method, "sleep") as family:
            time.sleep(random.uniform(0.02, 0.25))
            family.process.kill()
            assert family.survivors(SECOND) == []
