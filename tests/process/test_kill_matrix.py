"""Whoever is killed, and whenever: nobody below is left behind. Survivors are counted: none."""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import pytest

import tines as mp
from families import Family
from support.waiting import PATIENCE

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="finds the survivors through /proc; signals by the kernel"
)

METHODS = mp.get_all_start_methods()


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
        assert family.survivors(PATIENCE) == []


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
        assert family.survivors(PATIENCE) == []


@pytest.mark.parametrize("method", METHODS)
def test_grandchildren_go_with_a_killed_child(method):
    with Family(method, "grandchildren") as family:
        family.wait_until_ready()
        before = set(family.alive())
        os.kill(family.children[0], signal.SIGKILL)
        # The child and its two are gone; a fork server of its own, if it had one, may be as well.
        deadline = time.monotonic() + PATIENCE
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
            assert family.survivors(PATIENCE) == []


@pytest.mark.parametrize("method", METHODS)
def test_nobody_survives_a_parent_killed_at_any_moment_of_its_first_start(method):
    for _ in range(5):
        with Family(method, "sleep") as family:
            time.sleep(random.uniform(0.02, 0.25))
            family.process.kill()
            assert family.survivors(PATIENCE) == []
