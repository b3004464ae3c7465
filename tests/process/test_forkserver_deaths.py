"""The fork server when somebody dies, or is held up, at a bad moment: itself, a child, a client."""

from __future__ import annotations

import os
import signal
import socket
import textwrap
import threading
import time

import psutil
import pytest

import tines as mp
from forkserver_tools import start
from support.waiting import PATIENCE, wait_for
from tines import _sockets
from tines.process.start import forkserver_client, popen

pytestmark = pytest.mark.skipif(
    "forkserver" not in mp.get_all_start_methods(), reason="there is no fork server here"
)


@pytest.fixture
def ctx():
    return mp.get_context("forkserver")


@pytest.fixture
def preload(tmp_path, monkeypatch):
    """Have the next server import a module with this text."""

    def write(text):
        (tmp_path / "preloaded.py").write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(str(tmp_path))
        forkserver_client.set_preload(["preloaded"], "fail")

    return write


def replaced(server, ctx):
    """Kill the server; the next child comes from another one, which tells how it ended."""
    pid, _ = server.server
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    process = start(ctx, int)
    assert process.result(30) == 0 and process.exitcode == 0
    assert server.server[0] != pid


def test_a_killed_server_is_replaced(server, ctx):
    assert start(ctx, int).result(30) == 0
    for _ in range(3):
        replaced(server, ctx)


HELD_BACK = """
    import os

    forks = 0

    def count():
        global forks
        forks += 1

    def hold_back():
        if forks == 1:
            open({held!r}, "w").close()
            open({until!r}).read()

    os.register_at_fork(after_in_parent=count, after_in_child=hold_back)
"""


def test_a_killed_server_is_replaced_even_in_the_middle_of_a_fork(server, ctx, tmp_path, preload):
    """Its newest child still has all its descriptors open, as if the server were there to read."""
    held, until = (str(tmp_path / name) for name in ("held", "until"))
    os.mkfifo(held)
    os.mkfifo(until)
    # Not "r+": a pipe cannot be sought in.
    with open(os.open(until, os.O_RDWR), "w"):
        preload(HELD_BACK.format(held=held, until=until))
        forkserver_client.ensure_running()
        forkserver_client.set_preload(["__main__"], "warn")
        open(held).close()
        replaced(server, ctx)


SMITTEN = """
    import os
    import signal
    import {module}

    original = {module}.{function}

    def smite(*args):
        try:
            os.unlink({armed!r})
        except FileNotFoundError:
            return original(*args)
        {deed}

    {module}.{function} = smite
"""


@pytest.mark.parametrize(
    ("function", "deed"),
    [
        ("tines._sockets.send_fds", "os.kill(os.getpid(), signal.SIGKILL)"),
        ("os.pidfd_open", "os.kill(os.getpid(), signal.SIGKILL)"),
        ("os.pidfd_open", "raise OSError(24, 'Too many open files')"),
    ],
    ids=["before it has said that", "before its hello", "without a descriptor for its hello"],
)
def test_a_child_that_takes_a_job_and_dies(
    server, ctx, tmp_path, preload, captured, function, deed
):
    """Another one runs it, while the server has other children. The pid is that of the process."""
    if function == "os.pidfd_open" and not popen.HAVE_PIDFD:
        pytest.skip("no child opens one here")
    module, _, name = function.rpartition(".")
    armed = tmp_path / "armed"
    preload(SMITTEN.format(module=module, function=name, deed=deed, armed=str(armed)))
    other = start(ctx, time.sleep, 1000)
    armed.touch()
    process = start(ctx, os.getpid)
    assert not armed.exists()
    assert process.pid == process.result(30) and process.exitcode == 0
    assert ("Too many open files" in captured.readouterr().err) == deed.startswith("raise")
    other.kill()
    other.join()
    assert other.exitcode == -signal.SIGKILL


def test_a_server_that_nobody_can_ask_any_more_tells_how_its_last_child_ended(server, ctx):
    """The child lets go of the way to the server before it has ended."""
    for _ in range(5):
        process = start(ctx, time.sleep, 1000)
        with server.lock:
            server.disconnect()
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL


@pytest.mark.skipif("fork" not in mp.get_all_start_methods(), reason="there is no fork here")
@pytest.mark.parametrize(("module", "step"), [(socket, "socketpair"), (_sockets, "send_fds")])
def test_a_process_forked_during_a_start_hides_no_death(server, ctx, monkeypatch, module, step):
    """It would hold what only a server, or its child, is to hold, for as long as it runs."""
    processes = []
    forks = threading.Thread(target=lambda: processes.append(forked()))
    done = threading.Event()

    def forked():
        process = mp.get_context("fork").Process(target=time.sleep, args=(1000,))
        process.start()
        done.set()
        return process

    original = getattr(module, step)

    def pause(*args):
        made = original(*args)
        if forks.ident is None:
            forks.start()
            done.wait(1)  # where it may fork now, it does; where it may not, it waits for us
        return made

    monkeypatch.setattr(module, step, pause)
    process = start(ctx, time.sleep, 1000)
    monkeypatch.undo()
    forks.join()
    pid, _ = server.server
    os.kill(pid, signal.SIGSTOP)
    for child in psutil.Process(pid).children():
        child.kill()
    os.kill(pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == 255
    assert start(ctx, int).result(30) == 0
    processes[0].kill()
    processes[0].join()


def test_an_interrupt_right_after_the_start_is_not_lost(server, ctx, tmp_path, preload):
    """A child in waiting ignores what is typed at the terminal; one that has been started does not."""
    until = tmp_path / "until"
    os.mkfifo(until)
    preload(f"""
        from tines import _sockets

        original = _sockets.send_fds

        def send(to, message, fds):
            original(to, message, fds)
            if message[:1] == b"h":
                open({str(until)!r}).read()

        _sockets.send_fds = send
    """)
    process = start(ctx, time.sleep, 1000)
    with open(os.open(until, os.O_RDWR), "w"):
        process.interrupt()
        # Delivered, or ignored, by the time when it is shown as no longer pending.
        wait_for(lambda: not pending(process.pid))
    process.join(PATIENCE)
    try:
        assert process.exitcode == 1
    finally:
        process.kill()
        process.join()


def pending(pid):
    """Whether a process has yet to be told of a signal."""
    try:
        with open(f"/proc/{pid}/status") as status:
            return any(int(line.split()[1], 16) for line in status if line.startswith("ShdPnd"))
    except FileNotFoundError:
        return False


def test_a_server_killed_at_any_moment_loses_no_start(server, ctx):
    stop = threading.Event()

    def kill():
        while not stop.wait(0.03):
            with server.lock:  # else it may be let go of, and collected, meanwhile
                if server.server is not None:
                    os.kill(server.server[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        for number in range(10):
            process = None
            try:
                process = start(ctx, abs, number)
            except mp.StartError:  # three servers in a row were killed; that is said, not hung
                continue
            assert process.result(30) == number
    finally:
        stop.set()
        killer.join()


def test_a_child_whose_server_is_killed_goes_on(server, ctx):
    reader, writer = ctx.Pipe(duplex=False)
    process = ctx.Process(target=answer, args=(writer,))
    process.start()
    assert reader.recv() == "ready"
    os.kill(server.server[0], signal.SIGKILL)
    time.sleep(0.05)
    assert process.is_alive()
    process.terminate()
    process.join(30)
    assert process.exitcode == 255  # it has ended; who knew how is dead


def answer(connection):
    connection.send("ready")
    time.sleep(1000)


def test_a_stopped_child_in_waiting_is_no_problem_for_the_next(server, ctx):
    """The one forked in advance is killed while it waits."""
    assert start(ctx, int).result(30) == 0
    deadline = time.monotonic() + 10
    while not (waiting := psutil.Process(server.server[0]).children()):
        assert time.monotonic() < deadline
    for process in waiting:
        process.kill()
    assert start(ctx, int).result(30) == 0
