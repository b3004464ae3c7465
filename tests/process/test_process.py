"""What the standard library documents of ``Process``, under all start methods."""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import pytest

import tines as mp
from support.descriptors import KNOWN, descriptors
from support.waiting import PATIENCE, wait_for
from tines import util
from tines.errors import StartError

LONG = 1000


class Event(list):
    """Attributes set in a child are the child's own."""


def set_attribute(process_name, connection):
    current = mp.current_process()
    connection.send(
        (current.name, process_name, current.daemon, mp.parent_process().pid, os.getpid())
    )


def exit_with(how):
    if how == "return":
        return
    if how == "raise":
        raise ValueError("on purpose")
    if how == "none":
        sys.exit()
    if how == "os":
        os._exit(7)
    sys.exit(how)


def sleep():
    time.sleep(LONG)


def sleep_ready(connection):
    connection.send("ready")
    time.sleep(LONG)


class Counter(mp.Process):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.count = 0

    def run(self):
        self.count += 1


def test_a_child_knows_who_it_is(ctx):
    reader, writer = ctx.Pipe(duplex=False)
    process = ctx.Process(target=set_attribute, args=("x", writer), name="anna", daemon=True)
    assert process.daemon and process.name == "anna" and process.pid is None
    assert process.exitcode is None and not process.is_alive()
    process.start()
    assert reader.recv() == ("anna", "x", True, os.getpid(), process.pid)
    process.join()
    assert process.exitcode == 0 and not process.is_alive()
    assert process not in mp.active_children()


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


def test_a_child_that_another_thread_closes_just_then_does_not_disturb_a_start(ctx):
    """It is still among those to be collected, and has let go of everything."""

    class Closed:
        _popen = None

    closed = Closed()
    multiprocessing.process._children.add(closed)
    try:
        process = ctx.Process(target=int)
        process.start()
    finally:
        multiprocessing.process._children.discard(closed)
    process.join()
    assert process.exitcode == 0


def test_memory_is_not_shared(ctx):
    process = Counter()
    assert isinstance(process, multiprocessing.Process)
    process.start()
    process.join()
    assert process.exitcode == 0 and process.count == 0


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


def test_an_object_is_freed_with_its_target(ctx):
    class Target:
        def __call__(self):
            pass

    if ctx.get_start_method() != "fork":
        pytest.skip("a local class does not pickle by name")
    target = Target()
    reference = weakref.ref(target)
    process = ctx.Process(target=target)
    process.start()
    process.join()
    del target
    gc.collect()
    assert reference() is None


@pytest.mark.skipif(not KNOWN, reason="descriptors cannot be counted here")
def test_no_descriptor_is_left(ctx):
    def once():
        process = ctx.Process(target=int, returns=True)
        process.start()
        assert process.result(30) == 0
        process.close()

    once()  # what a program keeps: the liveness pipe, the way to the fork server
    once()  # under spawn, from the second child on: the spare interpreters
    gc.collect()  # what earlier tests have left in cycles, with descriptors that go at any moment
    before = set(descriptors())
    for _ in range(3):
        once()
    assert set(descriptors()) == before


def descriptor_count(connection):
    connection.send(len(os.listdir("/proc/self/fd")))


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_children_started_later_do_not_hold_more_descriptors(ctx):
    if ctx.get_start_method() == "fork":
        pytest.skip("a forked child holds what its parent does")
    counts = []
    for _ in range(3):
        reader, writer = ctx.Pipe(duplex=False)
        process = ctx.Process(target=descriptor_count, args=(writer,))
        process.start()
        counts.append(reader.recv())
        process.join()
    assert len(set(counts)) == 1


def finalize(path):
    util.Finalize(None, path_append, args=(path, "finalizer "), exitpriority=1)
    import atexit

    atexit.register(path_append, path, "atexit ")
    print("buffered", end="")


def path_append(path, text):
    with open(path, "a") as file:
        file.write(text)


def test_what_runs_at_exit_is_what_the_standard_library_runs(ctx, tmp_path, captured):
    for package in (multiprocessing, mp):
        path = tmp_path / package.__name__
        path.touch()
        process = package.get_context(ctx.get_start_method()).Process(
            target=finalize, args=(str(path),)
        )
        process.start()
        process.join()
        assert captured.readouterr().out == "buffered"
    theirs, ours = (tmp_path / name for name in ("multiprocessing", "tines"))
    assert "finalizer" in theirs.read_text() and ours.read_text() == theirs.read_text()


def start_child(ctx_name, connection):
    process = mp.get_context(ctx_name).Process(target=connection.send, args=("grandchild",))
    process.start()
    process.join()
    connection.send(process.daemon)


def test_a_daemonic_process_may_have_children(ctx):
    reader, writer = ctx.Pipe(duplex=False)
    process = ctx.Process(target=start_child, args=(ctx.get_start_method(), writer), daemon=True)
    process.start()
    assert reader.recv() == "grandchild"
    assert reader.recv() is True  # and is daemonic itself, unless it was made otherwise
    process.join()
    assert process.exitcode == 0


def start_method(connection):
    connection.send((mp.get_start_method(), multiprocessing.get_start_method()))


def test_a_child_has_the_start_method_it_was_started_by(ctx):
    reader, writer = ctx.Pipe(duplex=False)
    process = ctx.Process(target=start_method, args=(writer,))
    process.start()
    assert reader.recv() == (ctx.get_start_method(),) * 2
    process.join()


class GroupOfItsOwn(mp.Process):
    own_group = True

    def __init__(self, connection):
        super().__init__()
        self.connection = connection

    def run(self):
        sleeper = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({LONG})"])
        self.connection.send((os.getpgrp(), sleeper.pid))
        sleeper.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups")
def test_a_group_of_its_own_is_killed_as_a_whole():
    reader, writer = mp.Pipe(duplex=False)
    process = GroupOfItsOwn(writer)
    process.start()
    group, pid = reader.recv()
    assert group == process.pid
    process.kill()
    process.join()
    wait_for(lambda: not _running(pid))


def _running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_the_status_was_collected_by_somebody_else():
    process = mp.get_context("fork").Process(target=int)
    process.start()
    os.waitpid(process.pid, 0)
    process.join(PATIENCE)
    assert process.exitcode == 255


class Forgetful(mp.Process):
    def __init__(self):
        self.value = 1


def test_the_classic_mistakes_say_what_to_do(ctx):
    process = Forgetful()
    for use in (process.start, process.join, process.is_alive):
        with pytest.raises(StartError, match=r"super\(\).__init__\(\)"):
            use()
    process = ctx.Process(target=int)
    with pytest.raises(AssertionError, match="call start"):
        process.join()
    with pytest.raises(StartError, match="call start"):
        process.terminate()
    process.start()
    with pytest.raises(AssertionError, match="make a new one"):
        process.start()
    process.join()
    with pytest.raises(StartError, match="make a new one"):
        process.start()
    with pytest.raises(TypeError, match="target=3 is not callable"):
        ctx.Process(target=3)
    with pytest.raises(TypeError, match=r"args=\(5,\)"):
        ctx.Process(target=int, args=5)
    with pytest.raises(TypeError, match=r"kwargs=\[1\]"):
        ctx.Process(target=int, kwargs=[1])


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


def test_what_does_not_pickle_fails_in_the_parent_and_leaves_nothing():
    for method in {"spawn", "forkserver"} & set(mp.get_all_start_methods()):
        before = len(descriptors())
        process = mp.get_context(method).Process(target=int, args=(threading.Lock(),))
        with pytest.raises(mp.EncodeError, match="lock"):
            process.start()
        assert process.pid is None
        del process
        assert len(descriptors()) <= before + 2  # the first start makes the liveness pipe


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_limit_that_forbids_a_start_is_named(method):
    program = f"""
import resource, tines
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    tines.get_context({method!r}).Process(target=print).start()
except OSError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert "RLIMIT_FSIZE" in done.stdout and "ulimit -f" in done.stdout


def test_starts_leave_nothing_among_the_finalizers_of_multiprocessing(method, tmp_path):
    """Programs and tests look at what a start has added to them."""
    program = tmp_path / "program.py"
    program.write_text(
        "import gc, multiprocessing.util as util, tines\n"
        "if __name__ == '__main__':\n"
        "    before = set(util._finalizer_registry)\n"
        "    for _ in range(4):\n"
        f"        process = tines.get_context({method!r}).Process(target=int)\n"
        "        process.start()\n"
        "        process.join()\n"
        "    del process\n"
        "    gc.collect()\n"
        "    print(sorted(set(util._finalizer_registry) - before))\n"
    )
    ended = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "TINES_SPARES": "1"},
    )
    assert ended.stdout == "[]\n", ended.stdout + ended.stderr
