"""The ends of processes, and waiting for them, under all start methods."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import tines as mp
from process_tools import LONG, exit_with, sleep
from support.waiting import PATIENCE


def sleep_ready(connection):
    connection.send("ready")
    time.sleep(LONG)


@pytest.mark.parametrize(
    ("how", "code"), [("return", 0), ("raise", 1), ("none", 0), ("os", 7), (5, 5), ("text", 1)]
)
def test_exit_codes(ctx, how, code, captured):
    process = ctx.Process(target=exit_with, args=(how if how != "text" else "bye",))
    process.start()
    process.join()
    assert process.exitcode == code
    error = captured.readouterr().err
    assert ("on purpose" in error) == (how == "raise")
    assert ("bye" in error) == (how == "text")


@pytest.mark.parametrize(
    ("verb", "signum"),
    [("terminate", signal.SIGTERM), ("kill", signal.SIGKILL)],
)
def test_ending_a_child(ctx, verb, signum):
    process = ctx.Process(target=sleep)
    process.start()
    assert process in mp.active_children()
    getattr(process, verb)()
    process.join()
    assert process.exitcode == -signum
    getattr(process, verb)()  # of a child that has ended: nothing


def test_interrupt_raises_in_the_child(ctx, captured):
    reader, writer = ctx.Pipe(duplex=False)
    process = ctx.Process(target=sleep_ready, args=(writer,))
    process.start()
    reader.recv()
    process.interrupt()
    process.join()
    assert process.exitcode == 1
    assert "KeyboardInterrupt" in captured.readouterr().err


def test_join_with_a_timeout_and_at_once(ctx):
    process = ctx.Process(target=sleep)
    process.start()
    for timeout in (0, -1, 0.05):
        started = time.monotonic()
        process.join(timeout)
        assert max(0, timeout) <= time.monotonic() - started < 30
        assert process.is_alive()
    threading.Timer(0.1, process.kill).start()
    started = time.monotonic()
    process.join(60)
    assert time.monotonic() - started < 30 and process.exitcode == -signal.SIGKILL


def test_several_threads_may_wait_for_one_child(ctx):
    process = ctx.Process(target=sleep)
    process.start()
    codes = []

    def wait():
        process.join()
        codes.append(process.exitcode)

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    process.kill()
    for thread in threads:
        thread.join(PATIENCE)
    assert codes == [-signal.SIGKILL] * 4


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere waitid() may not be there")
@pytest.mark.parametrize("first", ["join", "is_alive"])
@pytest.mark.parametrize("second", ["join", "is_alive"])
def test_several_threads_may_wait_where_there_are_no_pidfds(monkeypatch, first, second):
    """One has collected the status and has not said so yet; the other one finds nothing."""
    from tines.process.start import popen

    collected, told = threading.Event(), threading.Event()
    original = os.waitpid

    def collect(pid, flag):
        found = original(pid, flag)
        if found[0] and threading.current_thread() is thread:
            collected.set()
            told.wait(0.5)  # not for long, as the other one may have to wait for this one
        return found

    monkeypatch.setattr(popen, "HAVE_PIDFD", False)
    process = mp.get_context("fork").Process(target=exit_with, args=(5,))
    process.start()
    multiprocessing.connection.wait([process.sentinel])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    thread = threading.Thread(target=getattr(process, first))
    monkeypatch.setattr(os, "waitpid", collect)
    thread.start()
    assert collected.wait(PATIENCE)
    getattr(process, second)()
    if second == "join":
        assert process.exitcode == 5
    told.set()
    thread.join()
    assert process.exitcode == 5


def test_the_sentinel_is_ready_when_the_child_has_ended(ctx):
    process = ctx.Process(target=sleep)
    with pytest.raises(ValueError):
        process.sentinel  # noqa: B018
    process.start()
    assert mp.get_context().Pipe  # the connection module waits for foreign sentinels as well
    from multiprocessing.connection import wait

    assert wait([process.sentinel], 0.05) == []
    process.kill()
    assert wait([process.sentinel], PATIENCE) == [process.sentinel]
    assert process.exitcode == -signal.SIGKILL


def leave_a_grandchild(connection):
    grandchild = subprocess.Popen(
        [sys.executable, "-c", f"import time; time.sleep({LONG})"], close_fds=False
    )
    connection.send(grandchild.pid)
    os._exit(3)


def test_a_grandchild_does_not_hold_up_the_sentinel(ctx):
    reader, writer = ctx.Pipe(duplex=False)
    process = ctx.Process(target=leave_a_grandchild, args=(writer,))
    process.start()
    pid = reader.recv()
    try:
        process.join(PATIENCE)
        assert process.exitcode == 3
    finally:
        os.kill(pid, signal.SIGKILL)


def test_close(ctx):
    process = ctx.Process(target=sleep)
    process.start()
    with pytest.raises(ValueError, match="still running"):
        process.close()
    process.kill()
    process.join()
    process.close()
    process.close()
    for use in (process.join, process.is_alive, process.start, process.kill, process.stacks):
        with pytest.raises(ValueError, match="closed"):
            use()
    assert "closed" in repr(process)


def test_the_status_was_collected_by_somebody_else():
    process = mp.get_context("fork").Process(target=int)
    process.start()
    os.waitpid(process.pid, 0)
    process.join(PATIENCE)
    assert process.exitcode == 255


def join_elsewhere(process, connection):
    try:
        process.join()
    except AssertionError as error:
        connection.send(str(error))


def test_only_the_owner_may_join():
    context = mp.get_context("fork")
    other = context.Process(target=sleep)
    other.start()
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=join_elsewhere, args=(other, writer))
    process.start()
    assert f"(pid {os.getpid()}) can" in reader.recv()
    process.join()
    other.kill()
    other.join()
