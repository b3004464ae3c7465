"""What processes leave behind: nothing, but what runs at their exit."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import weakref

import pytest

import tines as mp
from support.descriptors import KNOWN, descriptors
from support.waiting import PATIENCE
from tines import util


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


def test_what_does_not_pickle_fails_in_the_parent_and_leaves_nothing():
    for method in {"spawn", "forkserver"} & set(mp.get_all_start_methods()):
        before = len(descriptors())
        process = mp.get_context(method).Process(target=int, args=(threading.Lock(),))
        with pytest.raises(mp.EncodeError, match="lock"):
            process.start()
        assert process.pid is None
        del process
        assert len(descriptors()) <= before + 2  # the first start makes the liveness pipe


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
