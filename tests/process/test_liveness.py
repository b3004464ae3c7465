"""The lifeline between parent and child: the native way of binding to it, and its twin."""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import threading
import time

import pytest

import tines as mp
from tines import _config
from tines.process import liveness

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals by the kernel")


def native():
    if _config.native() is _config.Native.OFF:
        pytest.skip("TINES_NATIVE=off")
    return pytest.importorskip("tines._native").end_with_parent


@pytest.fixture(params=["native", "python"])
def end_with_parent(request):
    return native() if request.param == "native" else liveness._end_with_parent_in_python


def forked(child):
    """Fork; the child never returns from ``child``, or exits with 7 if it does."""
    pid = os.fork()
    if pid == 0:
        try:
            child()
        finally:
            os._exit(7)
    return pid


def status_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("group", [False, True])
def test_the_end_of_the_pipe_ends(end_with_parent, group):
    read_end, write_end = os.pipe()
    ready, told = os.pipe()

    def child():
        os.close(write_end)
        if group:
            os.setpgid(0, 0)
        end_with_parent(read_end, group)
        # Of the group, and not bound itself.
        other = forked(signal.pause) if group else 0
        os.write(told, b"%d" % other)
        signal.pause()

    pid = forked(child)
    other = int(os.read(ready, 100))
    sentinel = os.pidfd_open(other) if group else None
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    os.close(write_end)
    assert status_of(pid) == -signal.SIGTERM
    if sentinel is not None:
        assert select.select([sentinel], [], [], 30)[0]
        os.close(sentinel)
    for fd in (read_end, ready, told):
        os.close(fd)


def test_what_sigterm_does_not_end_is_killed(end_with_parent):
    read_end, write_end = os.pipe()
    ready, told = os.pipe()

    def child():
        os.close(write_end)
        signal.signal(signal.SIGTERM, lambda *_: os.write(told, b"t"))
        end_with_parent(read_end, False)
        os.write(told, b"x")
        while True:
            time.sleep(0.05)  # pause() would sleep through a signal that came right before it

    pid = forked(child)
    assert os.read(ready, 100) == b"x"
    os.close(write_end)
    assert status_of(pid) == -signal.SIGKILL
    assert os.read(ready, 100) == b"t"  # it was asked, once
    for fd in (read_end, ready, told):
        os.close(fd)


def test_what_is_left_of_a_group_is_killed_when_its_leader_has_ended():
    end_with_parent = native()
    read_end, write_end = os.pipe()
    ready, told = os.pipe()

    def child():
        os.close(write_end)
        os.setpgid(0, 0)
        end_with_parent(read_end, True)
        other = forked(stubborn)
        os.write(told, b"%d " % other)
        signal.pause()

    def stubborn():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(told, b"x")
        while True:
            signal.pause()

    pid = forked(child)
    said = b""
    while b"x" not in said or b" " not in said:
        said += os.read(ready, 100)
    sentinel = os.pidfd_open(int(said.replace(b"x", b"")))
    os.close(write_end)
    assert status_of(pid) == -signal.SIGTERM
    assert not select.select([sentinel], [], [], 0)[0]
    assert select.select([sentinel], [], [], 30)[0]
    for fd in (read_end, ready, told, sentinel):
        os.close(fd)


def test_who_sees_to_it_is_heard_by_nobody():
    """The program's handler of SIGCHLD and its ``waitpid`` know only its own children."""
    end_with_parent = native()
    read_end, write_end = os.pipe()
    ready, told = os.pipe()

    def child():
        os.close(write_end)

        def asked(*_):
            try:
                found = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                found = "none"
            os.write(told, f"term {found}".encode())
            os._exit(0)

        signal.signal(signal.SIGCHLD, lambda *_: os.write(told, b"child "))
        signal.signal(signal.SIGTERM, asked)
        end_with_parent(read_end, False)
        os.write(told, b"x")
        while True:
            signal.pause()

    pid = forked(child)
    assert os.read(ready, 100) == b"x"
    os.close(write_end)
    assert os.read(ready, 100) == b"term none"
    assert status_of(pid) == 0
    for fd in (read_end, ready, told):
        os.close(fd)


@pytest.mark.parametrize("group", [False, True])
def test_an_end_before_the_binding_is_seen(end_with_parent, group):
    read_end, write_end = os.pipe()
    os.close(write_end)

    def child():
        if group:
            os.setpgid(0, 0)
        end_with_parent(read_end, group)

    assert status_of(forked(child)) == -signal.SIGKILL
    os.close(read_end)


def test_what_is_no_descriptor_is_an_error(end_with_parent):
    read_end, write_end = os.pipe()
    os.close(read_end)
    os.close(write_end)
    with pytest.raises(OSError):
        end_with_parent(read_end, False)


def test_forked_children_use_the_native_way_where_it_is():
    expected = native()
    from tines.process.start import popen_fork  # noqa: F401

    assert liveness._end_with_parent is expected


def write_ends_in_child():
    return sorted(liveness._write_ends)


def test_no_child_holds_the_lifeline_of_another():
    """Else it would keep its siblings alive when the parent is gone."""
    context = mp.get_context("fork")
    reader, writer = os.pipe()
    gc.collect()  # what would go at any moment, and give its number to one of ours
    others = set(liveness._write_ends)  # of processes that earlier tests have let go of
    first = context.Process(target=os.read, args=(reader, 1))
    first.start()
    held = set(liveness._write_ends)
    assert held - others

    def look():
        missing = 0
        for fd in held:
            try:
                os.fstat(fd)
            except OSError:
                missing += 1
        return missing, write_ends_in_child()

    second = context.Process(target=look, returns=True)
    second.start()
    assert second.result(30) == (len(held), [])
    os.write(writer, b"x")
    first.join(30)
    assert first.exitcode == 0
    first.close()
    second.close()
    assert not (held - others) & liveness._write_ends
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_process_that_is_garbage_waits_for_nobody_who_forks(method):
    """Garbage is collected in any thread, also in one with a lock that the thread which forks waits for."""
    gc.collect()
    before = set(liveness._write_ends)
    processes = [mp.get_context(method).Process(target=int)]
    processes[0].start()
    processes[0].join()
    ends = set(liveness._write_ends) - before
    assert len(ends) == 1
    liveness._lock.acquire()  # as it is held across a fork
    try:
        dropping = threading.Thread(target=processes.clear, daemon=True)
        dropping.start()
        dropping.join(30)
        dropped, kept = not dropping.is_alive(), set(liveness._write_ends)
    finally:
        liveness._after_fork_in_parent()
    assert dropped
    assert ends <= kept, "somebody else closed it while a fork was under way"
    assert not ends & liveness._write_ends
