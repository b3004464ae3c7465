"""``returns=True``: what a process hands back, under all start methods."""

from __future__ import annotations

import errno
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import tines as mp
from support import mappings
from tines.process import shared_file
from tines.process.lifecycle.box import Box
from tines.wire.tracebacks import RemoteError, RemoteTraceback

MEGABYTE = 1024 * 1024


def add(a, b):
    return a + b


def fail(error):
    raise error


class Picky(Exception):
    """Does not unpickle: its constructor wants more than it passes on."""

    def __init__(self, one, two):
        super().__init__(one)


def fail_picky():
    raise Picky("one", "two")


def end(how):
    if how == "exit":
        sys.exit(3)
    if how == "segv":
        import ctypes

        ctypes.string_at(0)
    os.kill(os.getpid(), getattr(signal, how))


def lock():
    return threading.Lock()


def big(size):
    return bytearray(os.urandom(16)) * (size // 16)


def sleep(seconds, value=None):
    time.sleep(seconds)
    return value


def hold(gate):
    while not os.path.exists(gate):
        time.sleep(0.002)


class Returning(mp.Process):
    returns = True

    def run(self):
        return {"name": self.name}


def start(ctx, target, *args):
    process = ctx.Process(target=target, args=args, returns=True)
    process.start()
    return process


def test_a_value_comes_back(ctx):
    process = start(ctx, add, "a", "b")
    assert process.result(30) == "ab" and process.exception() is None
    assert process.result() is process.result()
    assert process.exitcode == 0 and process not in mp.active_children()


def test_a_subclass_may_return():
    process = Returning(name="anna")
    process.start()
    assert process.result(30) == {"name": "anna"}


def test_an_exception_comes_back_with_its_traceback(ctx, captured):
    process = start(ctx, fail, KeyError("lost"))
    with pytest.raises(KeyError, match="lost") as caught:
        process.result(30)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in fail" in str(caught.value.__cause__)
    assert process.exception() is caught.value and process.exitcode == 1
    assert captured.readouterr().err == ""  # the parent has it; the child need not print it


def test_an_exception_that_does_not_travel_is_not_lost(ctx):
    error = start(ctx, fail_picky).exception(30)
    assert isinstance(error, RemoteError) and error.type_name.endswith("Picky")
    assert "in fail_picky" in str(error.__cause__)


def test_a_result_that_does_not_pickle_is_named(ctx):
    with pytest.raises(mp.ResultEncodeError, match="lock"):
        start(ctx, lock).result(30)


def test_a_lambda_may_be_sent_and_returned(ctx):
    assert start(ctx, lambda: lambda: 3).result(30)() == 3


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_killed_process_is_a_lost_one(ctx, name):
    process = start(ctx, end, name)
    with pytest.raises(mp.ProcessLostError, match=f"{process.pid}.*{name}") as caught:
        process.result(30)
    assert (caught.value.pid, caught.value.signal) == (process.pid, name)
    assert caught.value.exitcode == process.exitcode == -getattr(signal, name)
    assert caught.value.dump is None


def test_a_crash_comes_with_its_stacks(ctx):
    process = start(ctx, end, "segv")
    error = process.exception(30)
    assert isinstance(error, mp.ProcessLostError) and error.signal == "SIGSEGV"
    assert "in end" in error.dump and "in end" in str(error) and process.dump() == error.dump


def test_sys_exit_is_no_outcome(ctx):
    error = start(ctx, end, "exit").exception(30)
    assert isinstance(error, mp.ProcessLostError) and error.exitcode == 3


def test_a_timeout_is_both_timeouts(ctx):
    process = start(ctx, sleep, 1000)
    for kind in (TimeoutError, mp.TimeoutError, mp.WaitTimeout):
        with pytest.raises(kind, match="still running"):
            process.result(0.05)
    process.kill()
    assert isinstance(process.exception(30), mp.ProcessLostError)


def test_who_did_not_ask_for_it_gets_none(ctx):
    process = ctx.Process(target=add, args=(1, 2))
    process.start()
    with pytest.raises(ValueError, match="returns=True"):
        process.result()
    process.join()
    with pytest.raises(mp.StartError, match="call start"):
        ctx.Process(target=add, returns=True).result()


def test_join_before_result_does_not_block_however_large_it_is(ctx):
    process = start(ctx, big, 64 * MEGABYTE)
    process.join(60)
    assert process.exitcode == 0
    assert len(process.result()) == 64 * MEGABYTE


def test_arrays_are_mapped_and_private(ctx):
    numpy = pytest.importorskip("numpy")
    process = start(ctx, numpy.ones, 4 * MEGABYTE)
    array = process.result(60)
    assert array.flags.writeable and not array.flags.owndata and array.sum() == 4 * MEGABYTE
    process.close()
    array[0] = 7  # still mapped, and only ours
    if ctx.get_start_method() == "fork":
        changed = start(ctx, change, array)
        assert changed.result(60) == 8
        assert array[0] == 7


@pytest.mark.skipif(not mappings.KNOWN, reason="the system does not tell")
def test_a_result_lies_in_the_file_that_its_child_wrote(ctx):
    numpy = pytest.importorskip("numpy")
    array = start(ctx, numpy.ones, 4 * MEGABYTE).result(60)
    assert "memfd:tines" in mappings.file_of(array)


def change(array):
    array[0] += 1
    return int(array[0])


def test_arrays_as_arguments(ctx):
    numpy = pytest.importorskip("numpy")
    array = numpy.ones(MEGABYTE)
    assert start(ctx, change, array).result(60) == 2
    assert array[0] == 1


@pytest.fixture
def nothing_logged(caplog):
    """Have what earlier tests have let go of say now what it has to say."""
    gc.collect()
    caplog.clear()
    return caplog


def test_an_exception_nobody_asked_for_is_logged_once(ctx, nothing_logged):
    process = start(ctx, fail, KeyError("lost"))
    process.join()
    with nothing_logged.at_level(logging.ERROR):
        del process
        gc.collect()
        gc.collect()
    (record,) = nothing_logged.records
    assert "in fail" in record.getMessage() and "lost" in record.getMessage()


def test_nothing_is_logged_of_what_was_asked_for(ctx, nothing_logged):
    for ask in (lambda process: process.exception(30), lambda process: process.join()):
        process = start(ctx, fail if ask is not None else add, KeyError("lost"))
        process.exception(30)
        ask(process)
        process.close()
        del process
        gc.collect()
    assert nothing_logged.records == []


def test_wait_and_as_completed(ctx, tmp_path):
    slow = start(ctx, sleep, 1000)
    gate = tmp_path / "gate"
    quick = [start(ctx, hold, str(gate)), start(ctx, sleep, 0)]
    completed = mp.as_completed(quick, timeout=60)
    assert next(completed) is quick[1]
    gate.touch()
    assert list(completed) == quick[:1]
    done, not_done = mp.wait([slow, *quick], timeout=0.1)
    assert done == set(quick) and not_done == {slow}
    with pytest.raises(mp.WaitTimeout, match="1 of"):
        list(mp.as_completed([slow], timeout=0.05))
    slow.kill()
    assert mp.wait([slow]).done == {slow}
    with pytest.raises(TypeError, match="3 is not a process"):
        mp.wait([slow, 3])
    assert list(mp.as_completed([])) == []


SESSION = """
import tines as mp

class Point:
    def __init__(self, x):
        self.x = x

def move(point, by):
    return Point(point.x + by)

class Mover(mp.Process):
    returns = True
    def run(self):
        return "moved"

for method in mp.get_all_start_methods():
    ctx = mp.get_context(method)
    process = ctx.Process(target=move, args=(Point(1), 2), returns=True)
    process.start()
    result = process.result(30)
    assert type(result) is Point and result.x == 3, result
    mp.set_start_method(method, force=True)
    process = Mover()
    process.start()
    assert process.result(30) == "moved"
print("done")
"""


@pytest.mark.parametrize("how", ["-", "-c", "-i"])
def test_functions_of_an_interactive_session(how):
    """As in a REPL or a notebook: there is no file that a child could import."""
    arguments = ["-c", SESSION] if how == "-c" else [how]
    # What is typed ends a block by an empty line.
    typed = (
        SESSION.replace("\n\n", "\n").replace("\nclass", "\n\nclass").replace("\ndef", "\n\ndef")
    )
    typed = typed.replace("\nfor", "\n\nfor").replace("\nprint", "\n\nprint")
    done = subprocess.run(
        [sys.executable, *arguments],
        input=None if how == "-c" else typed if how == "-i" else SESSION,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "done" in done.stdout and "Error" not in done.stderr, done.stderr


def test_a_box_with_a_name(ctx, monkeypatch, tmp_path):
    """The way of Windows, which cannot hand an open file to a child."""
    from tines.process.lifecycle import box

    monkeypatch.setattr(box, "_BY_NAME", True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    process = start(ctx, big, 3 * MEGABYTE)
    assert len(process.result(30)) == 3 * MEGABYTE and process.dump() is None
    if ctx.get_start_method() != "fork":
        process = start(ctx, end, "segv")
        assert "in end" in process.exception(30).dump
    assert os.listdir(tmp_path)
    process.close()
    del process
    gc.collect()
    assert os.listdir(tmp_path) == []


class TestSharedFile:
    def test_nothing_is_there_before_the_commit(self):
        fd = shared_file.create("test")
        try:
            assert shared_file.read_message(fd) is None
            shared_file.write_message(fd, [b"a", b"", b"c" * 100], kind=3, flag=1, at=4096)
            os.pwrite(fd, bytes(8), 4096)  # as if the header had not been written
            assert shared_file.read_message(fd, at=4096) is None
        finally:
            os.close(fd)

    @pytest.mark.parametrize("size", [0, 1, 63, 64, 65, MEGABYTE, 3 * MEGABYTE + 1])
    def test_parts_come_back_private(self, size):
        fd = shared_file.create("test")
        try:
            data = os.urandom(size)
            shared_file.write_message(fd, [b"first", data], kind=200, flag=1)
            for _ in range(2):
                kind, flag, (first, second) = shared_file.read_message(fd)
                assert (kind, flag, bytes(first), bytes(second)) == (200, 1, b"first", data)
                first[:] = b"other"
                second[:] = bytes(size)
        finally:
            os.close(fd)
        assert bytes(first) == b"other"


def test_a_box_without_a_file_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    monkeypatch.setattr("tines.process.shared_file.create", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        Box()
    gc.collect()
    assert not unraisable
