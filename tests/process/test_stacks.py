"""The stacks of a child are that child's, also where another one answers late."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

import tines as mp
from support.waiting import PATIENCE, wait_for
from tines.process import stacks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks by a signal of Linux")


def stopped_one(ready):
    ready.set()
    while True:
        signal.pause()


def other_one(ready):
    ready.set()
    while True:
        signal.pause()


@contextlib.contextmanager
def running(target):
    ctx = mp.get_context("fork")
    ready = ctx.Event()
    child = ctx.Process(target=target, args=(ready,))
    child.start()
    try:
        assert ready.wait(PATIENCE)
        yield child
    finally:
        child.kill()
        child.join()


@pytest.fixture
def stopped():
    with running(stopped_one) as child:
        os.kill(child.pid, signal.SIGSTOP)
        wait_for(lambda: state(child.pid) == "T")
        with pytest.raises(mp.WaitTimeout):
            child.stacks(timeout=0.01)
        yield child


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def go_on(child):
    """Let a stopped child answer what it was asked before, and wait until it has."""
    before = child._stacks._position()
    os.kill(child.pid, signal.SIGCONT)
    wait_for(lambda: child._stacks._position() > before and not stacks.blocking(child.pid))


def test_a_late_answer_is_not_taken_for_anothers(stopped):
    with running(other_one) as other:
        sent = []

        def send(signum):
            if not sent:
                go_on(stopped)
            sent.append(signum)
            os.kill(other.pid, signum)

        text = other._stacks.ask(other.pid, send, PATIENCE)
        assert "in other_one" in text and "in stopped_one" not in text
        assert len(sent) == 2
        assert "in other_one" in other.stacks() and "in stopped_one" in stopped.stacks()


def test_who_has_yet_to_answer_is_not_asked_twice(stopped):
    sent = []
    assert stopped._stacks.ask(stopped.pid, sent.append, 0.01) is None
    assert not sent
    go_on(stopped)
    assert stopped.stacks().count("in stopped_one") == 1
