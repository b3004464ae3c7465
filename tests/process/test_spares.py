"""Interpreters that wait: used only where a new one would be the same, and never left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys

import pytest

import tines as mp
from support.waiting import PATIENCE, wait_for
from tines.process.start import early, forkserver_client, interpreter, popen

pytestmark = pytest.mark.skipif(not popen.HAVE_PIDFD, reason="there are no spares here")

if popen.HAVE_PIDFD:
    from tines.process.start import spares

SPAWN = mp.get_context("spawn")


def pid():
    return os.getpid()


def inherited():
    """What a child was born with."""
    mask = os.umask(0)
    os.umask(mask)
    return (
        mask,
        os.environ.get("TINES_TEST"),
        resource.getrlimit(resource.RLIMIT_CORE),
        signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN,
        os.nice(0),
        os.fstat(0).st_ino,
    )


@pytest.fixture(autouse=True)
def afterwards():
    yield
    spares.stop()
    spares._wanted, spares._starts = None, 0


def ready():
    """Have spares, as in a program that has started some children; return their pids.

    No fixture: pytest changes the environment between a fixture and its test.
    """
    spares.stop()
    spares._wanted, spares._starts = True, spares._STARTS_BEFORE
    run(pid)
    return waiting()


def run(target, *args):
    process = SPAWN.Process(target=target, args=args, returns=True)
    process.start()
    try:
        return process.result(60)
    finally:
        process.close()


def waiting():
    return [spare.pid for spare in spares._spares]


def test_a_spare_becomes_the_child_and_is_replaced():
    first, second = ready()
    assert run(pid) == first
    assert run(pid) == second
    assert len(waiting()) == spares.LIMIT and not {first, second} & set(waiting())


@contextlib.contextmanager
def environment():
    os.environ["TINES_TEST"] = "changed"
    yield
    del os.environ["TINES_TEST"]


@contextlib.contextmanager
def umask():
    before = os.umask(0o31)
    yield
    os.umask(before)


@contextlib.contextmanager
def limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (4096 if soft != 4096 else 0, hard))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


@contextlib.contextmanager
def ignored_signal():
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGUSR1, before)


@contextlib.contextmanager
def standard_input():
    saved = os.dup(0)
    reader, writer = os.pipe()
    os.dup2(reader, 0)
    yield
    os.dup2(saved, 0)
    for fd in (saved, reader, writer):
        os.close(fd)


@pytest.mark.parametrize("change", [environment, umask, limit, ignored_signal, standard_input])
def test_a_child_is_as_if_it_had_been_started_now(change):
    before = ready()
    with change():
        expected = list(inherited())
        process = SPAWN.Process(target=inherited_and_pid, returns=True)
        process.start()
        *born_with, child = process.result(60)
        if change is standard_input:
            expected[-1] = born_with[-1]  # the standard library gives each child /dev/null
        assert born_with == expected
        assert child not in before
    for pid in before:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_one_that_may_not_be_killed_ends_by_itself(monkeypatch):
    """As after ``setuid``: children can be started, and the old spares go."""
    before = ready()
    kill = os.kill

    def forbidden(pid, signum):
        if pid in before and signum:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        kill(pid, signum)

    monkeypatch.setattr(os, "kill", forbidden)
    with environment():
        assert run(pid) not in before
    for each in before:
        with pytest.raises(ProcessLookupError):
            os.kill(each, 0)


def inherited_and_pid():
    return (*inherited(), os.getpid())


def blocked():
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("by_the_parent", [False, True])
def test_what_is_typed_while_a_spare_starts_is_not_for_it(monkeypatch, by_the_parent):
    """It is not ready for anything yet, and would print a traceback into the terminal."""
    typed = "import signal; signal.raise_signal(signal.SIGINT); "
    monkeypatch.setattr(interpreter, "prologue", typed)
    spares.stop()
    spares._wanted, spares._starts = True, 0
    how = signal.SIG_BLOCK if by_the_parent else signal.SIG_UNBLOCK
    before = signal.pthread_sigmask(how, {signal.SIGINT})
    try:
        spares.expect()
        first, second = waiting()
        monkeypatch.undo()
        assert [run(pid), run(blocked), second in waiting()] == [first, by_the_parent, False]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.parametrize("is_ready", [False, True])
def test_an_interrupt_right_after_the_start_is_not_lost(is_ready, captured):
    """The spare may not have heard of its job yet."""
    spares.stop()
    spares._wanted, spares._starts = True, 0
    spares.expect()
    first, _ = waiting()
    if is_ready:
        wait_for(lambda: not blocks_interrupts(first))
    os.kill(first, signal.SIGSTOP)
    process = SPAWN.Process(target=signal.pause)
    process.start()
    try:
        assert process.pid == first
        process.interrupt()
        os.kill(first, signal.SIGCONT)
        process.join(PATIENCE)
        assert process.exitcode == -signal.SIGINT
    finally:
        process.kill()
        process.join()


def test_what_is_typed_while_a_spare_waits_is_not_for_it():
    first, _ = ready()
    wait_for(lambda: not blocks_interrupts(first))
    for _ in range(3):
        os.kill(first, signal.SIGINT)
        wait_for(lambda: is_asleep(first))
    assert run(pid) == first


def blocks_interrupts(pid_of_spare):
    return int(status_of(pid_of_spare, "SigBlk:"), 16) >> (signal.SIGINT - 1) & 1


def is_asleep(pid_of_spare):
    pending = int(status_of(pid_of_spare, "ShdPnd:"), 16)
    return not pending and status_of(pid_of_spare, "State:") == "S"


def status_of(pid_of_spare, field):
    with open(f"/proc/{pid_of_spare}/status") as status:
        return next(line.split()[1] for line in status if line.startswith(field))


def test_a_spare_that_was_killed_is_no_loss():
    for pid_of_spare in ready():
        os.kill(pid_of_spare, signal.SIGKILL)
        os.waitid(os.P_PID, pid_of_spare, os.WEXITED | os.WNOWAIT)
    assert run(pid) not in (0, os.getpid())


STARTING = """
import os, signal
import tines as mp
from tines.process.start import spares

signal.signal(signal.SIGPIPE, signal.SIG_DFL)

if __name__ == "__main__":
    spawn = mp.get_context("spawn")
    codes = []
    for _ in range(4):
        for spare in spares._spares:
            os.kill(spare.pid, signal.SIGKILL)
            os.waitid(os.P_PID, spare.pid, os.WEXITED | os.WNOWAIT)
        process = spawn.Process(target=int)
        process.start()
        process.join()
        codes.append(process.exitcode)
    print(codes, len(spares._spares))
"""


def test_a_spare_that_was_killed_kills_nobody(tmp_path):
    """Where SIGPIPE has its default action, as in many command line tools."""
    program = tmp_path / "program.py"
    program.write_text(STARTING)
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=False
    )
    wanted = f"[0, 0, 0, 0] {spares.LIMIT}\n"
    assert (done.stdout, done.stderr, done.returncode) == (wanted, "", 0)


def echo(connection, files):
    for fd, text in files:
        assert os.read(fd, 100) == text
    connection.send(os.getpid())


class Descriptor:
    """Refers to a descriptor by its bare number, as code does that knows only ``spawn``."""

    def __init__(self, fd):
        self.fd = fd

    def __reduce__(self):
        from multiprocessing.context import get_spawning_popen

        return int, (get_spawning_popen().duplicate_for_child(self.fd),)


def test_descriptors_keep_their_numbers():
    expected = ready()[0]
    ends, files = [], []
    for number in range(40):
        reader, writer = os.pipe()
        ends += [reader, writer]
        os.write(writer, b"%d" % number)
        files.append((Descriptor(reader), b"%d" % number))
    receiver, sender = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=echo, args=(sender, list(reversed(files))))
    process.start()
    process.join()
    for fd in ends:
        os.close(fd)
    assert process.exitcode == 0
    assert receiver.recv() == expected


def fork_and_look():
    return waiting()


def test_a_forked_child_leaves_the_spares_to_its_parent():
    before = ready()
    process = mp.get_context("fork").Process(target=fork_and_look, returns=True)
    process.start()
    assert process.result(30) == []
    assert waiting() == before


PROGRAM = """
import os, sys
import tines as mp
from tines.process.start import spares

def nothing():
    pass

if __name__ == "__main__":
    for _ in range({starts}):
        process = mp.get_context("spawn").Process(target=nothing)
        process.start()
        process.join()
    print(*(spare.pid for spare in spares._spares), flush=True)
    {end}
"""


@pytest.mark.parametrize(
    ("starts", "variable", "expected"), [(1, "", 0), (2, "", spares.LIMIT), (5, "0", 0)]
)
@pytest.mark.parametrize("end", ["pass", "os._exit(0)"])
def test_a_program_has_some_only_when_it_starts_several(tmp_path, starts, variable, expected, end):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.format(starts=starts, end=end))
    done = subprocess.run(
        [sys.executable, str(path)],
        env=os.environ | {"TINES_SPARES": variable},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    pids = list(map(int, done.stdout.split()))
    if mp.cpu_count() > 1:
        assert len(pids) == expected
    for each in pids:
        popen_is_gone(each)


@pytest.mark.parametrize("start", ["Process(target=print)", "Pool(1)"])
def test_a_wrong_value_is_told_before_anything_is_started(start):
    program = f"""
import multiprocessing
import tines
try:
    started = tines.get_context("spawn").{start}
    started.start()
except ValueError as error:
    print(error)
print(multiprocessing.active_children())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"TINES_SPARES": "off", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    told, left = done.stdout.splitlines()
    assert told.startswith("the environment variable TINES_SPARES='off' is not understood")
    assert "'0'" in told and "'1'" in told and left == "[]"


def popen_is_gone(pid_of_spare):
    """Wait for a process that is not ours; at once if it has ended already."""
    try:
        fd = os.pidfd_open(pid_of_spare)
    except ProcessLookupError:
        return
    try:
        assert popen.ready(fd, PATIENCE)
    finally:
        os.close(fd)


def collector():
    import gc

    class Cycle:
        ended = False

        def __del__(self):
            Cycle.ended = True

    cycle = Cycle()
    cycle.itself = cycle
    del cycle
    gc.collect()
    return gc.isenabled(), gc.get_threshold(), Cycle.ended


@pytest.mark.parametrize("spare", [False, True])
def test_the_garbage_collector_is_as_in_any_interpreter(spare, monkeypatch):
    """It is off while an interpreter starts, for speed."""
    import gc

    if spare:
        ready()
    else:
        monkeypatch.setattr(spares, "take", lambda: None)
    assert run(collector) == (True, gc.get_threshold(), True)


def test_the_first_pool_of_a_program_begins_its_workers_early():
    spares.stop()
    spares._wanted, spares._starts = True, 0
    with SPAWN.Pool(1) as pool:
        begun = pool.apply(pid)
    assert begun not in waiting() and spares._starts >= spares._STARTS_BEFORE
    spares.stop()
    spares._wanted, spares._starts = True, 0
    early.begin("spawn", ["tines.pool.worker.main"])
    first, second = waiting()
    assert [run(pid), run(pid)] == [first, second]


def test_a_spare_that_cannot_be_started_costs_no_child(monkeypatch):
    spares.stop()
    spares._wanted, spares._starts = True, spares._STARTS_BEFORE

    def fail(*_):
        raise OSError("planted")

    monkeypatch.setattr(spares.util, "spawnv_passfds", fail)
    spares.replenish()
    assert not waiting()
    monkeypatch.undo()
    monkeypatch.setattr(spares, "Spare", fail)
    assert run(pid) != os.getpid()
    with SPAWN.Pool(2) as pool:
        assert pool.apply(pid) != os.getpid()
    assert not waiting()


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_what_cannot_be_begun_early_is_no_error(method, monkeypatch):
    def fail(*_):
        raise OSError("planted")

    spares.stop()
    spares._wanted, spares._starts = True, 0
    monkeypatch.setattr(spares, "Spare", fail)
    monkeypatch.setattr(forkserver_client, "ensure_running", fail)
    early.begin(method, ())
    assert not waiting()


def test_a_process_that_is_being_started_begins_none(monkeypatch):
    spares.stop()
    spares._wanted, spares._starts = True, 0
    monkeypatch.setattr(mp.current_process(), "_inheriting", True, raising=False)
    early.begin("spawn", ())
    assert not waiting()
