"""The fork server: warm, clean, replaceable; and spawn, where both share the way in."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest

import tines as mp
from support.waiting import PATIENCE, wait_for
from tines.process import early, forkserver, forkserver_client, popen

pytestmark = pytest.mark.skipif(
    "forkserver" not in mp.get_all_start_methods(), reason="there is no fork server here"
)

state: list[int] = []


@pytest.fixture
def server():
    """A client whose server is fresh, and gone after the test."""
    forkserver_client.stop()
    yield forkserver_client._client
    forkserver_client.stop()
    forkserver_client.set_preload(["__main__"], "warn")


@pytest.fixture
def ctx():
    return mp.get_context("forkserver")


def run(tmp_path, program, **options):
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(program))
    return subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=60, **options
    )


def touch_state():
    state.append(1)
    return len(state), os.getppid(), threading.active_count()


def start(ctx, target, *args):
    process = ctx.Process(target=target, args=args, returns=True)
    process.start()
    return process


def test_each_child_is_forked_from_the_same_clean_server(server, ctx):
    results = {start(ctx, touch_state).result(30) for _ in range(4)}
    assert results == {(1, server.server[0], 1)}
    assert state == []


def test_a_server_can_be_begun_before_the_first_child(server, ctx):
    forkserver_client.stop()
    early.begin("forkserver", ())
    begun, _ = forkserver_client._client.server
    early.begin("forkserver", ())
    assert forkserver_client._client.server[0] == begun
    assert start(ctx, os.getppid).result(30) == begun


def test_a_killed_server_is_replaced(server, ctx):
    assert start(ctx, int).result(30) == 0
    for _ in range(3):
        pid = server.server[0]
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        process = start(ctx, int)
        assert process.result(30) == 0 and process.exitcode == 0
        assert server.server[0] != pid


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


def test_a_killed_server_is_replaced_even_in_the_middle_of_a_fork(
    server, ctx, tmp_path, monkeypatch
):
    """Its newest child still has all its descriptors open, as if the server were there to read."""
    held, until = (str(tmp_path / name) for name in ("held", "until"))
    os.mkfifo(held)
    os.mkfifo(until)
    module = HELD_BACK.format(held=held, until=until)
    (tmp_path / "held_back.py").write_text(textwrap.dedent(module))
    monkeypatch.syspath_prepend(str(tmp_path))
    # Not "r+": a pipe cannot be sought in.
    with open(os.open(until, os.O_RDWR), "w"):
        forkserver_client.set_preload(["held_back"], "fail")
        forkserver_client.ensure_running()
        forkserver_client.set_preload(["__main__"], "warn")
        open(held).close()
        pid, _ = server.server
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        process = start(ctx, int)
        assert process.result(30) == 0 and process.exitcode == 0
        assert server.server[0] != pid


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
        ("socket.send_fds", "os.kill(os.getpid(), signal.SIGKILL)"),
        ("os.pidfd_open", "os.kill(os.getpid(), signal.SIGKILL)"),
        ("os.pidfd_open", "raise OSError(24, 'Too many open files')"),
    ],
    ids=["before it has said that", "before its hello", "without a descriptor for its hello"],
)
def test_a_child_that_takes_a_job_and_dies(
    server, ctx, tmp_path, monkeypatch, captured, function, deed
):
    """Another one runs it, while the server has other children. The pid is that of the process."""
    if function == "os.pidfd_open" and not popen.HAVE_PIDFD:
        pytest.skip("no child opens one here")
    module, _, name = function.partition(".")
    armed = tmp_path / "armed"
    text = SMITTEN.format(module=module, function=name, deed=deed, armed=str(armed))
    (tmp_path / "smitten.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(str(tmp_path))
    forkserver_client.set_preload(["smitten"], "fail")
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
@pytest.mark.parametrize("step", ["socketpair", "send_fds"])
def test_a_process_forked_during_a_start_hides_no_death(server, ctx, monkeypatch, step):
    """It would hold what only a server, or its child, is to hold, for as long as it runs."""
    processes = []
    forks = threading.Thread(target=lambda: processes.append(forked()))
    done = threading.Event()

    def forked():
        process = mp.get_context("fork").Process(target=time.sleep, args=(1000,))
        process.start()
        done.set()
        return process

    original = getattr(socket, step)

    def pause(*args):
        made = original(*args)
        if forks.ident is None:
            forks.start()
            done.wait(1)  # where it may fork now, it does; where it may not, it waits for us
        return made

    monkeypatch.setattr(socket, step, pause)
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


def test_an_interrupt_right_after_the_start_is_not_lost(server, ctx, tmp_path, monkeypatch):
    """A child in waiting ignores what is typed at the terminal; one that has been started does not."""
    until = tmp_path / "until"
    os.mkfifo(until)
    module = f"""
        import socket

        original = socket.send_fds

        def send(to, messages, *rest):
            original(to, messages, *rest)
            if messages[0][:1] == b"h":
                open({str(until)!r}).read()

        socket.send_fds = send
    """
    (tmp_path / "slow_hello.py").write_text(textwrap.dedent(module))
    monkeypatch.syspath_prepend(str(tmp_path))
    forkserver_client.set_preload(["slow_hello"], "fail")
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


def test_children_wait_in_advance_whatever_happened_before(server, ctx):
    for _ in range(3):
        processes = [start(ctx, os.getpid) for _ in range(5)]
        assert len({process.result(30) for process in processes}) == 5
    for process in processes:
        process.join()
    while len(psutil.Process(server.server[0]).children()) != forkserver._IN_WAITING:
        time.sleep(0.001)


def test_starts_from_many_threads(server, ctx):
    results = []

    def several():
        for number in range(5):
            results.append(start(ctx, abs, number).result(60))

    threads = [threading.Thread(target=several) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(list(range(5)) * 6)


def use_the_same_server():
    process = mp.get_context("forkserver").Process(target=os.getppid, returns=True)
    process.start()
    return os.getppid(), process.result(30)


def test_children_share_the_server(server, ctx):
    assert len(set(start(ctx, use_the_same_server).result(30))) == 1
    process = mp.get_context("fork").Process(target=use_the_same_server, returns=True)
    process.start()
    assert process.result(30)[1] == server.server[0]


def test_too_many_descriptors_are_refused(server, ctx):
    pipes = [ctx.Pipe() for _ in range(130)]
    process = ctx.Process(target=len, args=(pipes,))
    with pytest.raises(ValueError, match="at most 2"):
        process.start()
    for pair in pipes:
        for end in pair:
            end.close()


PROGRAM = """
    import os, sys, threading
    import tines as mp

    print("imported by", "parent" if __name__ == "__main__" else "server", flush=True)
    {extra}

    class Thing:
        pass

    def target(thing):
        print("child", os.getpid() != int(sys.argv[1]) if sys.argv[1:] else "", flush=True)
        return type(thing) is Thing

    if __name__ == "__main__":
        mp.set_start_method("{method}")
        {setup}
        for _ in range(3):
            process = mp.Process(target=target, args=(Thing(),), returns=True)
            process.start()
            assert process.result(30) is True
"""


def test_the_main_module_is_imported_once(tmp_path):
    done = run(tmp_path, PROGRAM.format(extra="", setup="", method="forkserver"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("imported by server") == 1
    assert done.stdout.count("child") == 3
    assert done.stderr == ""


def test_only_what_is_named_is_preloaded(tmp_path):
    (tmp_path / "extra_module.py").write_text("print('extra', flush=True)")
    setup = 'mp.set_forkserver_preload(["extra_module"])'
    done = run(tmp_path, PROGRAM.format(extra="", setup=setup, method="forkserver"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("extra") == 1
    assert done.stdout.count("imported by server") == 3


def test_an_error_in_preloading_is_reported(tmp_path):
    (tmp_path / "broken_module.py").write_text("1 / 0")
    for on_error in ("warn", "ignore", "fail"):
        setup = f'mp.set_forkserver_preload(["broken_module", "missing"], on_error="{on_error}")'
        done = run(tmp_path, PROGRAM.format(extra="", setup=setup, method="forkserver"))
        assert (done.returncode == 0) == (on_error != "fail"), done.stderr
        assert ("ZeroDivisionError" in done.stderr) == (on_error != "ignore")
        assert ("No module named 'missing'" in done.stderr) == (on_error != "ignore")
    assert "StartError" in done.stderr


def test_bad_preload_lists():
    with pytest.raises(TypeError, match="module_names must be a list of strings, not 'numpy'"):
        mp.set_forkserver_preload("numpy")
    with pytest.raises(ValueError, match="on_error='raise'"):
        mp.set_forkserver_preload(["numpy"], on_error="raise")


def test_a_main_module_that_starts_threads_is_left_to_the_children(tmp_path):
    extra = 'threading.Thread(target=threading.Event().wait, daemon=True, name="busy").start()'
    done = run(tmp_path, PROGRAM.format(extra=extra, setup="", method="forkserver"))
    assert done.returncode == 0, done.stderr
    assert "started threads (busy)" in done.stderr
    assert done.stdout.count("imported by server") == 1 + 3


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_an_unguarded_main_module_is_told_how_to_guard(tmp_path, method):
    done = run(
        tmp_path,
        f"""
        import tines as mp
        mp.set_start_method("{method}", force=True)
        process = mp.Process(target=print)
        process.start()
        process.join()
        raise SystemExit(process.exitcode)
        """,
    )
    assert done.returncode == 1
    assert 'if __name__ == "__main__":' in done.stderr and "StartError" in done.stderr
    assert done.stderr.count("StartError") <= 2


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_tines_is_found_where_only_the_parents_path_leads(tmp_path, method):
    source = os.path.dirname(os.path.dirname(mp.__file__))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    program = f"import sys; sys.path.insert(0, {source!r})" + textwrap.dedent(
        PROGRAM.format(extra="", setup="", method=method)
    )
    done = run(tmp_path, program, env=environment, cwd="/")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("flags", [["-E"], ["-s"], ["-W", "error::ResourceWarning"], ["-X", "dev"]])
def test_flags_reach_children(tmp_path, flags):
    path = tmp_path / "program.py"
    path.write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path[:0] = {sys.path!r}
            import tines as mp

            def flags():
                return tuple(sys.flags), sys.warnoptions, sorted(sys._xoptions)

            if __name__ == "__main__":
                for method in ("spawn", "forkserver"):
                    process = mp.get_context(method).Process(target=flags, returns=True)
                    process.start()
                    assert process.result(60) == flags(), process.result()
            """
        )
    )
    done = subprocess.run(
        [sys.executable, *flags, str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "ResourceWarning" not in done.stderr, done.stderr


def size():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def test_a_start_does_nothing_that_grows_with_the_parent(server, ctx, monkeypatch):
    """It neither copies this process nor hands on its memory. (How long it takes: benchmarks.)"""
    assert start(ctx, int).result(30) == 0
    ballast = bytearray(b"1") * 2**28
    forks = []
    os.register_at_fork(before=lambda: forks.append(1))
    monkeypatch.setattr("multiprocessing.util.spawnv_passfds", None)
    for _ in range(3):
        assert start(ctx, size).result(30) < size() - len(ballast) // 2
    assert forks == []
