"""What a process received is its own after a fork, also where the system is at its limits; else no fork."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("tines._native")
pytest.importorskip("numpy")

PROGRAM = """
import mmap, os, resource, sys
import numpy as np
import tines, tines.pool, random, multiprocessing.pool

def work(): pass

def received(queue, value):
    queue.put(np.full(SIZE, value))
    return queue.get()

def write_to_all():
    for array in kept:
        array += 1

def fork():
    pid = os.fork()
    if pid == 0:
        write_to_all()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def start():
    process = fork_context.Process(target=write_to_all)
    process.start()
    process.join()
    return process.exitcode

def pool():
    with fork_context.Pool(1) as workers:
        return workers.apply(write_to_all)

def attempt(how):
    try:
        print(how.__name__, how())
    except OSError as error:
        print(how.__name__, type(error).__name__, "may not fork now" in str(error))

def limit(which, room):
    field = {resource.RLIMIT_AS: 0, resource.RLIMIT_DATA: 5}[which]
    used = int(open("/proc/self/statm").read().split()[field]) * resource.getpagesize()
    resource.setrlimit(which, (used + room, used + room))

SIZE = 2500
fork_context = tines.get_context("fork")
# early
queue = fork_context.Queue()
kept = []
"""

LIMIT = "limit(resource.RLIMIT_DATA, 200 << 20)"


CHECK = """
print(sum(bool((array != 1.0).any()) for array in kept), "changed")
write_to_all()
print(sum(bool((array == 2.0).all()) for array in kept), "written")
print(received(queue, 3.0).sum())
"""


def run(body: str, early: str = "") -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("# early", early) + body + CHECK],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TINES_NATIVE": "require"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.watchdog(110)
def test_more_arrays_than_there_are_mappings() -> None:
    """With gaps between them: each would need a mapping of its own, and one for the gap."""
    output = run("""
between = []
for _ in range(300):
    kept.append(received(queue, 1.0))
    between.append([received(queue, 0.0) for _ in range(20)])
between.clear()
taken = []
try:
    while True:
        taken.append(mmap.mmap(-1, 1))
except OSError:
    del taken[-20:]
attempt(fork)
attempt(start)
taken.clear()
""")
    assert output == ["fork 0", "start 0", "0 changed", "300 written", "7500.0"]


def test_no_addresses_left() -> None:
    output = run("""
kept += [received(queue, 1.0) for _ in range(300)]
limit(resource.RLIMIT_AS, 1 << 18)
attempt(fork)
attempt(start)
""")
    assert output == ["fork 0", "start 0", "0 changed", "300 written", "7500.0"]


@pytest.mark.parametrize("early", [True, False], ids=["from the start", "later"])
def test_a_fork_that_would_share_arrays_is_refused(early: bool) -> None:
    """Private memory is limited to less than what was received: ``start`` and ``os.fork`` raise.

    Where the limit was not there when the program began, the first ``os.fork`` cannot: its child ends.
    """
    output = run(
        f"""
SIZE = 125_000
kept += [received(queue, 1.0) for _ in range(300)]
{"" if early else LIMIT}
attempt(fork)
attempt(fork)
attempt(start)
attempt(pool)
print(sum(bool((array != 1.0).any()) for array in kept), "changed")
del kept[100:]
attempt(fork)
attempt(start)
""",
        early=LIMIT if early else "",
    )
    first = "fork TransportError True" if early else "fork 71"
    assert output[:5] == [
        first,
        "fork TransportError True",
        "start TransportError True",
        "pool TransportError True",
        "0 changed",
    ]
    assert output[5:] == ["fork 0", "start 0", "0 changed", "100 written", "375000.0"]


def test_arrays_that_stay_and_go_among_forks() -> None:
    """What arrives in a place that was parted shows itself, and not what was there before."""
    output = run("""
chance = random.Random(3)
for turn in range(30):
    while len(kept) < 200:
        kept.append(received(queue, 1.0))
    attempt(fork)
    for array in chance.sample(kept, 20):
        array += 0.0  # a page of this process's own
    chance.shuffle(kept)
    del kept[chance.randrange(200):]
""")
    assert output[:30] == ["fork 0"] * 30
    assert output[30] == "0 changed"
    assert output[-1] == "7500.0"


def test_what_a_child_still_sees_is_not_used_again() -> None:
    """The parent lets go of its arrays and receives others, while the child reads the old ones."""
    output = run("""
kept += [received(queue, 1.0) for _ in range(50)]
ready, go = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(go)
    os.read(ready, 1)
    os._exit(sum(bool((array != 1.0).any()) for array in kept))
kept.clear()
others = [received(queue, 7.0) for _ in range(200)]
os.close(go)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""")
    assert output[0] == "0"


@pytest.mark.slow
def test_a_child_that_is_held_up_before_its_hook_keeps_its_queues() -> None:
    """For longer than a child is waited for that nothing is known of; as a debugger may do it."""
    program = """
import os, time
gate, opener = os.pipe()

def hold_up():
    os.close(opener)
    os.read(gate, 1)

os.register_at_fork(after_in_child=hold_up)  # before that of tines
import tines
from tines.transport import segments

queue = tines.Queue()
pid = os.fork()
if pid == 0:
    queue.put("still there")
    os._exit(0)
time.sleep(10.5)
segments.program.home().sweep(0)
os.close(opener)
print(queue.get(timeout=20))
os.waitpid(pid, 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TINES_NATIVE": "require"},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.stdout == "still there\n", done.stderr
