"""What the standard library documents of ``Process``, under all start methods."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys

import pytest

import tines as mp
from process_tools import LONG
from support.waiting import wait_for
from tines.errors import StartError


class Event(list):
    """Attributes set in a child are the child's own."""


def set_attribute(process_name, connection):
    current = mp.current_process()
    connection.send(
        (current.name, process_name, current.daemon, mp.parent_process().pid, os.getpid())
    )


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
