"""Somebody else collects the children: a handler of SIGCHLD, the kernel, a library with a loop of its own.

Whoever does, and whenever: ``start`` succeeds, and ``join``, ``exitcode``, ``is_alive`` and the sentinel
agree on whether the child has ended.
"""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing import connection

import pytest

import tines as mp
from support.waiting import PATIENCE
from tines.process.start import popen

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nobody collects children there")


def reap(*_):
    """Collect whoever has ended, as many programs do on SIGCHLD."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


@pytest.fixture(params=["ignored", "handled"])
def collected(request):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN if request.param == "ignored" else reap)
    yield
    signal.signal(signal.SIGCHLD, before)


def check_that_all_agree(process, code):
    assert connection.wait([process.sentinel], 0) == [process.sentinel]
    assert not process.is_alive()
    assert process.exitcode == code
    assert process not in mp.active_children()
    for use in (process.terminate, process.kill, process.interrupt):
        use()  # of a child that has ended: nothing
    process.join()
    process.close()


def test_a_child_that_somebody_else_collects(ctx, collected):
    for _ in range(3):
        process = ctx.Process(target=sys.exit, args=(3,))
        process.start()
        process.join(PATIENCE)
        # The fork server collects its children itself.
        check_that_all_agree(process, 3 if ctx.get_start_method() == "forkserver" else 255)


def test_a_pool_whose_workers_somebody_else_collects(ctx, collected):
    with ctx.Pool(2, maxtasksperchild=2) as pool:
        assert pool.map(abs, range(-6, 0), chunksize=1) == [6, 5, 4, 3, 2, 1]


@pytest.mark.skipif(not popen.HAVE_PIDFD, reason="there is no moment for it here")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_that_is_collected_before_it_is_watched(method, monkeypatch):
    """It has ended by then, and its number is nobody's."""
    original = os.pidfd_open

    def late(pid, *flags):
        if pid != os.getpid():
            os.waitpid(pid, 0)
        return original(pid, *flags)

    from tines.process.start import spares

    monkeypatch.setattr(spares, "take", lambda: None)
    monkeypatch.setattr(spares, "replenish", lambda: None)
    monkeypatch.setattr(os, "pidfd_open", late)
    process = mp.get_context(method).Process(target=sys.exit, args=(3,))
    process.start()
    assert process.pid is not None
    check_that_all_agree(process, 255)


@pytest.mark.skipif(not popen.HAVE_PIDFD, reason="the sentinel comes before the status here")
@pytest.mark.parametrize("use", ["join", "join at most", "is_alive", "exitcode", "active_children"])
def test_who_collects_says_so_late(use, monkeypatch):
    """As under gevent, whose ``waitpid`` has nothing to say before its loop has run."""
    original = os.waitpid
    process = mp.get_context("fork").Process(target=sys.exit, args=(3,))
    process.start()

    def late(pid, flags):
        if pid == process.pid and flags & os.WNOHANG:
            return 0, 0
        return original(pid, flags)

    monkeypatch.setattr(os, "waitpid", late)
    connection.wait([process.sentinel])
    if use == "active_children":
        assert process not in mp.active_children()
    elif use == "is_alive":
        assert process.is_alive() is False
    elif use == "exitcode":
        assert process.exitcode == 3
    else:
        process.join(*([PATIENCE] if use == "join at most" else []))
    check_that_all_agree(process, 3)


def test_a_handler_that_looks_in_the_midst_of_a_look(monkeypatch):
    """A handler of SIGCHLD may ask for the children that are left, at any moment."""
    original = os.waitpid
    process = mp.get_context("fork").Process(target=sys.exit, args=(3,))
    process.start()
    looked = []

    def interrupted(pid, flags):
        found = original(pid, flags)
        if not looked and pid == process.pid:
            looked.append(True)
            signal.raise_signal(signal.SIGUSR1)
        return found

    before = signal.signal(signal.SIGUSR1, lambda *_: mp.active_children())
    try:
        monkeypatch.setattr(os, "waitpid", interrupted)
        process.join(PATIENCE)
        assert process.exitcode == 3
        check_that_all_agree(process, 3)
    finally:
        signal.signal(signal.SIGUSR1, before)
