"""A program may fork more children than there are places for processes in the memory that they share."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.waiting import PATIENCE
from tines.transport import chosen

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="takes Linux's limits"),
    pytest.mark.skipif(chosen().name != "ring", reason="the other transport has no such places"),
]

PROGRAM = """
import contextlib, os, resource
import tines as mp

PLACES = 16384
NOBODY = 65534

@contextlib.contextmanager
def no_processes_left():
    # Forks fail, as late as they can: a place is set aside for each child by then. That is a child which
    # does not live to see it, and takes a tenth of the time of one that does.
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    root = os.getuid() == 0  # to whom no limit applies
    resource.setrlimit(resource.RLIMIT_NPROC, (0, hard))
    if root:
        os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        if root:
            os.setresuid(0, 0, 0)
        resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))

def fork_many():
    with no_processes_left():
        for _ in range(PLACES + 1):
            try:
                pid = os.fork()
            except BlockingIOError:
                continue
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)

def child_answers(queue, number):
    pid = os.fork()
    if pid == 0:
        try:
            queue.put(number)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert queue.get(timeout=60) == number

if __name__ == "__main__":
    queue = mp.Queue()
    for number in (1, 2):
        fork_many()
        child_answers(queue, number)
    print("all answered")
"""


def test_more_children_than_places(tmp_path):
    program = tmp_path / "forks.py"
    program.write_text(PROGRAM)
    run = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        timeout=6 * PATIENCE,
        check=False,
    )
    assert (run.stdout, run.stderr, run.returncode) == ("all answered\n", "", 0)
