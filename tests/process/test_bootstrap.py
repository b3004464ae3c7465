"""A child's life around ``run()``: the steps that most children skip are taken where they matter."""

from __future__ import annotations

import multiprocessing.process
import multiprocessing.util
import threading

import pytest

import tines as mp
from tines import util


def _write_later(begun, connection):
    begun.wait()
    connection.send("the thread's")


def leave_a_thread(connection):
    begun = threading.Event()
    threading.Thread(target=_write_later, args=(begun, connection)).start()
    begun.set()


def test_a_child_waits_for_its_threads(ctx):
    reader, writer = ctx.Pipe(duplex=False)
    process = ctx.Process(target=leave_a_thread, args=(writer,))
    process.start()
    writer.close()
    assert reader.recv() == "the thread's"
    process.join()
    assert process.exitcode == 0
    reader.close()


def end_in_order(connection):
    util.Finalize(None, connection.send, ("finalizer",), exitpriority=1)
    child = mp.Process(target=connection.send, args=("grandchild",))
    child.start()


def test_a_child_joins_its_children_and_runs_its_finalizers(ctx):
    reader, writer = ctx.Pipe(duplex=False)
    process = ctx.Process(target=end_in_order, args=(writer,))
    process.start()
    writer.close()
    assert {reader.recv(), reader.recv()} == {"finalizer", "grandchild"}
    with pytest.raises(EOFError):
        reader.recv()
    process.join()
    assert process.exitcode == 0
    reader.close()


class Registered:
    """Something that has to know of forks."""


def send_nothing():
    pass


@pytest.mark.skipif("fork" not in mp.get_all_start_methods(), reason="no fork here")
def test_a_forked_child_calls_what_was_registered_for_it():
    reader, writer = mp.Pipe(duplex=False)
    thing = Registered()
    util.register_after_fork(thing, lambda _: writer.send("after fork"))
    process = mp.get_context("fork").Process(target=send_nothing)
    process.start()
    process.join()
    assert reader.poll()
    assert reader.recv() == "after fork"
    reader.close()
    writer.close()


@pytest.mark.skipif("fork" not in mp.get_all_start_methods(), reason="no fork here")
def test_a_bootstrap_of_somebody_elses_is_used(monkeypatch):
    reader, writer = mp.Pipe(duplex=False)
    original = multiprocessing.process.BaseProcess._bootstrap

    def measured(self, *args, **kwargs):
        writer.send("begun")
        try:
            return original(self, *args, **kwargs)
        finally:
            writer.send("ended")

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "_bootstrap", measured)
    process = mp.get_context("fork").Process(target=writer.send, args=("run",))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert [reader.recv() for _ in range(3)] == ["begun", "run", "ended"]
    reader.close()
    writer.close()


@pytest.mark.skipif("fork" not in mp.get_all_start_methods(), reason="no fork here")
def test_the_logger_says_what_it_says_of_the_standard_library(monkeypatch, captured):
    for name, value in (("_logger", None), ("_log_to_stderr", False)):
        monkeypatch.setattr(multiprocessing.util, name, value)
    logger = mp.log_to_stderr("INFO")
    try:
        process = mp.get_context("fork").Process(target=send_nothing)
        process.start()
        process.join()
    finally:
        logger.handlers.clear()
        logger.setLevel("NOTSET")
    said = captured.readouterr().err
    assert "child process calling self.run()" in said
    assert "process exiting with exitcode 0" in said
