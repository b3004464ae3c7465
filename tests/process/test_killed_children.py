"""A killed child takes its own children with it, whatever it was doing: at start, running, at exit.

Each of the family holds the write end of one pipe. The pipe is at its end when nobody is left.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

import tines as mp
from support.waiting import PATIENCE
from tines import util

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")

LONG = 1000


@pytest.fixture(autouse=True)
def bound(monkeypatch):
    """By default, children that are not daemonic would go on."""
    monkeypatch.setenv("TINES_DIES_WITH_PARENT", "1")


def grandchild(everybody):
    everybody.send(os.getpid())
    time.sleep(LONG)


def start_two(everybody, method):
    context = mp.get_context(method)
    for daemon in (False, True):
        context.Process(target=grandchild, args=(everybody,), daemon=daemon).start()


def run_for_long(everybody, method):
    start_two(everybody, method)
    time.sleep(LONG)


def end_at_once(everybody, method):
    """Then it waits at its exit for the child that is not daemonic."""
    start_two(everybody, method)
    util.Finalize(None, everybody.send, args=("at exit",), exitpriority=10)


class OwnGroup(mp.Process):
    own_group = True

    def __init__(self, everybody):
        super().__init__()
        self.everybody = everybody

    def run(self):
        fd = os.dup(self.everybody.fileno())
        subprocess.Popen(["sleep", str(LONG)], pass_fds=[fd])
        self.everybody.send(os.getpid())
        time.sleep(LONG)


def nobody_is_left(reader):
    try:
        while reader.poll(PATIENCE):
            reader.recv()
    except EOFError:
        return True
    return False


@pytest.mark.parametrize("target", [run_for_long, end_at_once])
def test_a_child_killed_while_it_runs_or_exits(ctx, target):
    reader, writer = mp.Pipe(duplex=False)
    process = ctx.Process(target=target, args=(writer, ctx.get_start_method()), returns=True)
    process.start()
    writer.close()
    told = {reader.recv(), reader.recv()}
    if target is end_at_once:
        # The daemonic one is terminated there, perhaps before it has said anything.
        while "at exit" not in told or len(told) < 2:
            told.add(reader.recv())
    assert process.pid not in told
    process.kill()
    assert nobody_is_left(reader)
    reader.close()
    if target is run_for_long:
        error = process.exception(PATIENCE)
        assert isinstance(error, mp.ProcessLostError) and error.signal == "SIGKILL"
    else:
        assert process.result(PATIENCE) is None  # it had been handed over before
    assert process.exitcode == -signal.SIGKILL


def test_a_child_killed_at_any_moment_of_its_start(ctx):
    for _ in range(6):
        reader, writer = mp.Pipe(duplex=False)
        process = ctx.Process(target=run_for_long, args=(writer, ctx.get_start_method()))
        process.start()
        writer.close()
        time.sleep(random.uniform(0, 0.15))  # the moment is what is tried out
        process.kill()
        process.join(PATIENCE)
        assert process.exitcode == -signal.SIGKILL
        assert nobody_is_left(reader)
        reader.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel kills the group")
def test_a_group_of_its_own_ends_with_its_parent():
    """With what it started by other means: the parent of the group is killed, not the group."""
    reader, writer = mp.Pipe(duplex=False)
    parent = mp.get_context("fork").Process(target=hold_a_group, args=(writer,))
    parent.start()
    writer.close()
    reader.recv()
    parent.kill()
    parent.join(PATIENCE)
    assert nobody_is_left(reader)
    reader.close()


def hold_a_group(everybody):
    OwnGroup(everybody).start()
    time.sleep(LONG)
