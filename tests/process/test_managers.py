"""A manager's server lives as long as anybody of the family that had the manager, and no longer."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tines as mp
from support.descriptors import KNOWN, descriptors
from support.waiting import PATIENCE, wait_for
from test_orphans import family, leave, reported
from tines.managers import BaseManager, SharedMemoryManager
from tines.process import family as lines

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the survivors in /proc")


@pytest.mark.parametrize("how", ["_exit", signal.SIGKILL])
def test_a_server_ends_with_the_only_process_that_had_it(method, how, tmp_path):
    with family(method, "managers", tmp_path) as running:
        assert set(running.children) <= set(running.alive())
        leave(running, how)
        assert running.survivors(PATIENCE) == []


def test_a_server_is_there_for_who_is_left(method, tmp_path):
    with family(method, "proxy", tmp_path) as running:
        leave(running)
        assert reported(tmp_path, "proxy") == "{'maker': 1, 'heir': 2}"
        assert running.survivors(PATIENCE) == []


def test_a_server_is_there_for_a_daemon(method, tmp_path):
    """A program makes a manager and forks twice."""
    with family(method, "daemon", tmp_path) as running:
        leave(running)
        assert reported(tmp_path, "daemon") == "{'maker': 1, 'child': 2}"
        assert running.survivors(PATIENCE) == []


def test_shared_memory_goes_with_the_last_of_the_family(method, tmp_path):
    with family(method, "memory", tmp_path) as running:
        block = Path("/dev/shm", reported(tmp_path, "block"))
        assert block.exists()
        leave(running, signal.SIGKILL)
        assert reported(tmp_path, "orphan") == "went on"
        assert running.survivors(PATIENCE) == []
        wait_for(lambda: not block.exists())


@pytest.mark.skipif(not KNOWN, reason="descriptors cannot be counted here")
def test_a_manager_that_is_shut_down_holds_nothing(ctx):
    def once():
        with ctx.Manager() as manager:
            assert list(manager.list([1])) == [1]
        return manager

    once()
    once()
    gc.collect()
    before = len(descriptors())
    kept = [once() for _ in range(2)]
    assert lines.ends() == []
    del kept
    gc.collect()
    assert len(descriptors()) <= before  # what earlier tests left may go meanwhile


def fail():
    raise SystemExit(3)


@pytest.mark.skipif(not KNOWN, reason="descriptors cannot be counted here")
def test_a_server_that_does_not_start_leaves_nothing(ctx, captured):
    with pytest.raises(TypeError, match="initializer must be a callable"):
        BaseManager(ctx=ctx).start(3)

    def once():
        manager = SharedMemoryManager(ctx=ctx)
        with pytest.raises(mp.StartError):
            manager.start(fail)
        manager._process.join(PATIENCE)
        assert manager._process.exitcode == 3

    once()
    once()
    gc.collect()
    before = len(descriptors())
    once()
    gc.collect()
    assert len(descriptors()) <= before


def test_an_initializer_runs_in_the_server(ctx, tmp_path):
    manager = BaseManager(ctx=ctx)
    manager.start(os.mkdir, (str(tmp_path / "made"),))
    manager.shutdown()
    assert (tmp_path / "made").is_dir()


def test_programs_that_are_executed_are_not_of_the_family(method, tmp_path):
    """They inherit nothing: a server does not wait for one that goes on."""
    program = """
import os, subprocess, sys
import tines as mp

if __name__ == "__main__":
    manager = mp.get_context(sys.argv[1]).Manager()
    other = subprocess.Popen(["sleep", "1000"], close_fds=False)
    print(other.pid, manager._process.pid, flush=True)
    os._exit(0)
"""
    path = tmp_path / "program.py"
    path.write_text(program)
    reader, writer = os.pipe()
    with subprocess.Popen([sys.executable, str(path), method], stdout=writer) as running:
        os.close(writer)
        running.wait(PATIENCE)
        other, server = map(int, os.read(reader, 100).split())
    os.close(reader)
    try:
        wait_for(lambda: ended(server))
        assert not ended(other)
    finally:
        os.kill(other, signal.SIGKILL)


def ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_a_manager_of_the_standard_librarys_context(method):
    import multiprocessing

    with mp.managers.SyncManager(ctx=multiprocessing.get_context(method)) as manager:
        assert list(manager.list([1])) == [1]
