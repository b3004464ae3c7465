"""Programs and their readers: who is seen, what is left, and what does not happen."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

import tines as mp
from programs import POOL, QUEUE
from support.waiting import PATIENCE, wait_for
from tines.insight.reader import Reader, Untrusted
from tines.transport import choice


def sample(timeout=PATIENCE):
    """Ask everybody, and wait for those that answer; a busy machine takes its time."""
    with Reader() as reader:
        return reader.sample(timeout)


def pids():
    return [program.pid for program in sample().programs]


def stop(program):
    program.send_signal(signal.SIGSTOP)
    # Says so when all its threads have stopped, which the state of the process does not.
    _, status = os.waitpid(program.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)


def test_nothing_runs(place):
    assert sample().programs == ()
    assert not place.exists()


def test_several_programs_at_once(programs):
    started = [programs.start(body) for body in (POOL, QUEUE, POOL)]
    found = {program.pid: program for program in sample().programs}
    assert sorted(found) == sorted(program.pid for program in started)
    pool = found[started[0].pid].things[0]
    tasks = [worker["task"] for worker in pool.workers]
    assert sorted(map(str, tasks)) == ["None", "time.sleep(1000)"]
    queue = found[started[1].pid].things[0]
    assert queue.workers is None
    assert (queue.statistics["depth"], queue.statistics["received"]) == (4, 1)


def test_a_program_that_ends_leaves_nothing(programs, place):
    program = programs.start(POOL)
    assert pids() == [program.pid]
    program.communicate()
    assert program.returncode == 0
    assert not place.exists()


def test_a_killed_program_disappears(programs, place):
    killed, other = programs.start(POOL), programs.start(QUEUE)
    assert set(pids()) == {killed.pid, other.pid}
    killed.kill()
    killed.wait()
    assert pids() == [other.pid]
    assert [name.partition("-")[0] for name in os.listdir(place)] == [str(other.pid)]


def test_what_a_killed_program_left_is_swept_by_the_next_program(programs, place):
    killed = programs.start(QUEUE)
    killed.kill()
    killed.wait()
    assert len(os.listdir(place)) == 1
    other = programs.start(QUEUE)
    assert [name.partition("-")[0] for name in os.listdir(place)] == [str(other.pid)]
    other.communicate()
    assert not place.exists()


def test_a_program_that_cannot_answer_is_shown_as_it_was(programs):
    program = programs.start(POOL)
    assert sample().programs[0].answering
    stop(program)
    try:
        found = sample(timeout=0.2).programs[0]
        assert not found.answering and len(found.things) == 1
    finally:
        program.send_signal(signal.SIGCONT)
    assert sample().programs[0].answering


def test_a_stopped_program_that_is_poked_for_ever_holds_up_nobody(programs):
    program = programs.start(QUEUE)
    stop(program)
    try:
        with Reader() as reader:
            for _ in range(6000):  # more than the door takes
                assert not reader.sample(timeout=0).programs[0].answering
    finally:
        program.send_signal(signal.SIGCONT)
    # There may have been no room for this poke, before the program has read the others.
    wait_for(lambda: sample().programs[0].answering)


CHILDREN = """
def own_pool(connection):
    with mp.Pool(1) as pool:
        connection.send(os.getpid())
        connection.recv()

def forked(connection):
    connection.send(os.getpid())
    connection.recv()
"""


@pytest.mark.parametrize("method", mp.get_all_start_methods())
def test_a_child_that_makes_a_pool_appears_too(programs, method, tmp_path):
    (tmp_path / "children.py").write_text(f"import os\nimport tines as mp\n{CHILDREN}")
    body = f"""
sys.path.insert(0, {str(tmp_path)!r})
import children
queue = mp.Queue()
context = mp.get_context({method!r})
ends = []
for target in (children.own_pool, children.forked):
    here, there = mp.Pipe()
    context.Process(target=target, args=(there,), name="the child").start()
    ends.append(here)
pids = [end.recv() for end in ends]
ready(*pids)
[end.send(None) for end in ends]
"""
    program = programs.start(body)
    child = int(program.said[1])
    found = {program.pid: program for program in sample().programs}
    # The other child has made nothing, so it is none of the programs.
    assert sorted(found) == sorted([program.pid, child])
    assert found[child].process == "the child"
    assert [thing.kind for thing in found[child].things] == ["Pool"]
    assert [thing.kind for thing in found[program.pid].things] == ["Queue"]
    program.communicate()
    assert sample().programs == ()


def test_forking_again_and_again_keeps_the_entry(programs):
    program = programs.start(
        """
queue = mp.Queue()
threads = len(os.listdir("/proc/self/task"))
for _ in range(50):
    if not (child := os.fork()):
        os._exit(0)
    os.waitpid(child, 0)
ready(len(os.listdir("/proc/self/task")) - threads)
"""
    )
    assert program.said[1] == "0"
    assert pids() == [program.pid]


def test_a_signal_handler_forks_in_the_midst_of_a_fork(programs):
    program = programs.start(
        """
import signal

def fork():
    if not (child := os.fork()):
        os._exit(0)
    os.waitpid(child, 0)

signal.signal(signal.SIGUSR1, lambda *_: fork())
armed = [True]
# Registered first, so called last: when all others are ready for the fork.
os.register_at_fork(before=lambda: armed and armed.pop() and signal.raise_signal(signal.SIGUSR1))
queue = mp.Queue()
fork()
ready()
"""
    )
    (found,) = sample().programs
    assert (found.pid, found.answering) == (program.pid, True)


@pytest.mark.skipif(choice().name != "ring", reason="the pipe transport has a thread of its own")
@pytest.mark.skipif(sys.version_info < (3, 12), reason="this interpreter does not mind threads")
def test_a_program_with_one_thread_forks_as_such(programs):
    program = programs.start(
        """
import warnings
warnings.simplefilter("error")
queue = mp.Queue()
for _ in range(20):
    if not (child := os.fork()):
        os._exit(len(os.listdir("/proc/self/task")))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
ready()
"""
    )
    assert pids() == [program.pid]


def test_threading_does_not_know_the_thread(programs):
    program = programs.start(
        QUEUE.replace("ready()", "ready(__import__('threading').active_count())")
    )
    assert program.said[1] == ("1" if choice().name == "ring" else "2")


FAMILY = """
import subprocess
queue = mp.Queue()
reader, writer = os.pipe()
executed = subprocess.Popen([sys.executable, "-c", "input()"], stdin=reader, close_fds=False)
child = mp.Process(target=wait, daemon=True)
child.start()
here, there = os.pipe()
forked = os.fork()
if not forked:
    os.write(there, b"x")
    time.sleep(1000)
os.read(here, 1)
ready(executed.pid, child.pid, forked)
os.write(writer, b"\\n")
executed.wait()
os.kill(forked, 9)
os.waitpid(forked, 0)
"""


def doors(pid):
    found = 0
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found += fd.readlink().name == "door"
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_one_descriptor_and_no_child_has_it(programs):
    program = programs.start(FAMILY)
    assert doors(program.pid) == 1
    for child in map(int, program.said[1:]):
        wait_for(lambda child=child: not doors(child))
    program.communicate()
    assert program.returncode == 0


def test_off(programs, monkeypatch, place):
    monkeypatch.setenv("TINES_INSIGHT", "off")
    programs.start(QUEUE.replace("ready()", "ready(__import__('threading').active_count())"))
    assert not place.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads the scheduler's figures in /proc")
def test_an_unwatched_program_sleeps(programs):
    program = programs.start(QUEUE)

    def switches():
        path = f"/proc/{program.pid}/task"
        return {
            task: open(f"{path}/{task}/status").read().split("ctxt_switches:")[1:]
            for task in os.listdir(path)
        }

    def is_asleep():
        before = switches()
        assert len(before) >= 2
        time.sleep(1.5)
        return switches() == before

    # It may still be on its way to its input when it has said that it is ready.
    assert any(is_asleep() for _ in range(5))


def test_things_that_are_gone_are_not_shown(programs, place):
    body = """
queue, closed, forgotten = mp.Queue(), mp.Queue(), mp.Queue()
closed.close()
del forgotten
pool = mp.Pool(1)
pool.terminate()
ready()
"""
    programs.start(body)
    assert [thing.number for thing in sample().programs[0].things] == [1]


def test_statistics_that_fail_are_told(place):
    class Broken:
        def statistics(self):
            raise ValueError("no figures today")

    from tines.insight import publisher

    thing = Broken()
    publisher.publish(thing)
    try:
        found = publisher._pictures()
        assert [each["error"] for each in found if each["kind"] == "Broken"] == [
            "ValueError: no figures today"
        ]
    finally:
        del thing
        gc.collect()
    assert not [each for each in publisher._pictures() if each["kind"] == "Broken"]


def test_a_place_that_is_not_to_be_trusted_stops_no_program(programs, place):
    place.mkdir(0o777)
    place.chmod(0o777)
    program = programs.start(POOL)
    with pytest.raises(Untrusted):
        sample()
    program.communicate()
    assert program.returncode == 0 and os.listdir(place) == []


def test_a_hostile_entry_is_refused_and_the_others_are_shown(programs, place):
    program = programs.start(QUEUE)
    fake = place / "77-0123456789abcdef"
    fake.mkdir(0o700)
    os.mkfifo(fake / "door", 0o600)
    door = os.open(fake / "door", os.O_RDWR | os.O_NONBLOCK)
    try:
        for content in (b"", b"\0" * 100, os.urandom(5000)):
            (fake / "page").write_bytes(content)
            (fake / "page").chmod(0o600)
            found = sample(timeout=0.1)
            assert [each.pid for each in found.programs] == [program.pid]
            assert [each.entry for each in found.refused] == [str(fake)]
        page = next(place.glob(f"{program.pid}-*/page")).read_bytes()
        (fake / "page").write_bytes(page)
        assert "page is that of process" in sample(timeout=0.1).refused[0].why
    finally:
        os.close(door)


def test_a_program_caught_in_leaving_is_neither_shown_nor_refused(programs, place, monkeypatch):
    program, leaving = programs.start(QUEUE), place / "77-0123456789abcdef"
    leaving.mkdir(0o700)
    os.mkfifo(leaving / "door", 0o600)
    door = os.open(leaving / "door", os.O_RDWR | os.O_NONBLOCK)
    hear = Reader._hear

    def leave(*arguments):
        (leaving / "door").unlink()  # the directory goes last
        return hear(*arguments)

    monkeypatch.setattr(Reader, "_hear", leave)
    try:
        found = sample(timeout=0.1)
    finally:
        os.close(door)
        leaving.rmdir()
    assert [each.pid for each in found.programs] == [program.pid]
    assert found.refused == ()


def test_nonsense_at_the_door_and_an_ear_that_is_none(programs, place, tmp_path):
    program = programs.start(QUEUE)
    (entry,) = place.iterdir()
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    victim.chmod(0o600)
    (place / ("watch-" + "a" * 16)).symlink_to(victim)
    (place / ("watch-" + "b" * 16)).write_bytes(b"")
    with open(entry / "door", "wb", buffering=0) as door:
        door.write(b"\0" * 3000 + b"../../../etc/passwd\n" + b"a" * 16 + b"\n" + b"b" * 16 + b"\n")
    assert pids() == [program.pid]
    assert victim.read_bytes() == b"untouched"
    assert program.poll() is None


def test_a_reader_that_was_killed_does_not_harm_the_program(programs, place):
    body = f"import signal\nsignal.signal(signal.SIGPIPE, signal.SIG_DFL)\n{QUEUE}"
    program = programs.start(body)
    reader = subprocess.Popen(
        [sys.executable, "-m", "tines", "top", "--json", "--interval", "0.1"],
        stdout=subprocess.PIPE,
    )
    reader.stdout.readline()
    reader.kill()
    reader.communicate()
    assert list(place.glob("watch-*"))
    assert pids() == [program.pid]
    assert not list(place.glob("watch-*"))


def test_many_readers(programs):
    program = programs.start(POOL)
    results = []

    def read():
        with Reader() as reader:
            results.extend(reader.sample(timeout=PATIENCE).programs[0].answering for _ in range(10))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 80
    assert program.poll() is None


def test_a_process_of_another_name_is_not_believed(programs, place):
    program = programs.start(QUEUE)
    (entry,) = place.iterdir()
    entry.rename(place / f"1-{entry.name.partition('-')[2]}")
    assert sample(timeout=0.1).programs == ()
    assert psutil.pid_exists(program.pid)
