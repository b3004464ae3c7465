"""``tines.logging.forward()``: records of children at the parent's handlers."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap

import pytest

import tines as mp

PROGRAM = """
import logging, os, sys, threading, time
import tines as mp
import tines.logging

log = logging.getLogger("app.part")

def child(depth):
    log.debug("too fine")
    log.info("child %d %s", depth, object)
    logging.getLogger("quiet").warning("too quiet")
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("failed")
    if depth:
        process = mp.Process(target=child, args=(depth - 1,))
        process.start()
        process.join()
    if not depth:
        os.kill(os.getpid(), 9)

def busy(stop):
    while not stop.is_set():
        log.info("busy")

if __name__ == "__main__":
    mp.set_start_method(sys.argv[1])
    logging.basicConfig(
        level=logging.INFO,
        format="%(processName)s|%(process)d|%(name)s|%(levelname)s|%(message)s",
        stream=sys.stdout,
    )
    logging.getLogger("quiet").setLevel(logging.ERROR)
    tines.logging.forward()
    tines.logging.forward()
    stop = threading.Event()
    thread = threading.Thread(target=busy, args=(stop,))
    if sys.argv[2] == "busy":
        # The locks of logging and of the queue are held most of the time while children start.
        thread.start()
    for _ in range(int(sys.argv[3])):
        process = mp.Process(target=child, args=(1,))
        process.start()
        process.join()
    stop.set()
    print(os.getpid(), "end")
"""


def run(tmp_path, *arguments):
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAM))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


@pytest.mark.parametrize("method", mp.get_all_start_methods())
def test_records_of_children_and_grandchildren_arrive(tmp_path, method):
    out = run(tmp_path, method, "idle", "1")
    lines = [line.split("|") for line in out.splitlines() if line.count("|") == 4]
    assert [line[2:] for line in lines] == [
        ["app.part", "INFO", "child 1 <class 'object'>"],
        ["app.part", "ERROR", "failed"],
        ["app.part", "INFO", "child 0 <class 'object'>"],
        ["app.part", "ERROR", "failed"],
    ]
    assert len({line[1] for line in lines}) == 2 and "ForkProcess" not in lines[0][2]
    assert out.count("ZeroDivisionError: division by zero") == 2
    assert "too" not in out


@pytest.mark.parametrize("method", mp.get_all_start_methods())
def test_a_busy_logger_does_not_hang_children(tmp_path, method):
    out = run(tmp_path, method, "busy", "5")
    assert out.count("|failed") == 10 and out.count("end") == 1


def test_nothing_is_forwarded_unless_asked_for():
    process = mp.Process(target=os.getpid, returns=True)
    process.start()
    process.result(30)
    assert process._setups == [] or "tines.logging" in sys.modules
    assert logging.getLogger("tines").handlers == []
