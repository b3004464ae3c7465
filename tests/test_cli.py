"""The command line: ``tines doctor`` and ``tines stacks``."""

from __future__ import annotations

import contextlib
import copy
import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import tines as mp
from support.waiting import PATIENCE
from tines import cli
from tines.cli import doctor


def test_doctor_prints_every_section(capsys):
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    for section in ("interpreter", "transport", "processes", "cores", "memory", "limits", "extras"):
        assert f"\n{section}\n" in out
    assert sys.executable in out and out.endswith("\n") and "None" not in out


def test_doctor_json(capsys):
    assert cli.main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["processes"]["start methods"][0] == mp.get_all_start_methods()[0]
    assert report["transport"]["name"] in ("ring", "pipe")
    assert report["cores"]["usable"] == mp.cpu_count()


@pytest.mark.parametrize(
    ("native", "code", "expected"),
    [("off", 0, '"pipe"'), ("yes", 1, "TINES_NATIVE='yes'")],
)
def test_doctor_says_why_this_transport(native, code, expected):
    done = subprocess.run(
        [sys.executable, "-m", "tines", "doctor", "--json"],
        env=os.environ | {"TINES_NATIVE": native},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert expected in done.stdout


def sick(report):
    report["transport"] = {"name": "pipe", "why": "there is no compiler", "can be built": True}
    report["tines"]["TINES_NATIVE"] = None
    report["cores"] = {"usable": 2, "machine": 64, "affinity": 64}
    report["limits"]["open files"] = {"soft": 256, "hard": None}
    report["memory"] = {
        "total": 2**34,
        "available": 2**33,
        "cgroup limit": 2**29,
        "/dev/shm free": 2**20,
    }
    report["extras"]["cloudpickle"] = None
    return report


def test_advice():
    healthy = doctor.examine()
    report = sick(copy.deepcopy(healthy))
    hints = doctor.advice(report)
    for fragment in (
        "no compiler",
        "TINES_NATIVE=require pip install",
        "2 of the machine's 64",
        "ulimit -n 4096",
        "--shm-size",
        "512 MB",
        "pip install cloudpickle",
    ):
        assert any(fragment in hint for hint in hints), fragment
    report["transport"]["name"] = None
    assert "No transport" in doctor.advice(report)[0]


def test_a_hard_limit_is_not_to_be_raised_to_itself():
    report = doctor.examine()
    report["limits"]["open files"] = {"soft": 64, "hard": 64}
    (hint,) = (hint for hint in doctor.advice(report) if "64 files" in hint)
    assert "ulimit" not in hint and "administrator" in hint


def test_doctor_says_what_a_missing_dev_shm_means(monkeypatch):
    assert doctor.examine()["processes"]["system semaphores"]

    def refuse(*arguments):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr("_multiprocessing.SemLock", refuse)
    report = doctor.examine()
    report["transport"]["name"] = "pipe"
    (hint,) = (hint for hint in doctor.advice(report) if "/dev/shm" in hint)
    assert "shared_memory" in hint and "locks" in hint
    report["transport"]["name"] = "ring"
    (hint,) = (hint for hint in doctor.advice(report) if "/dev/shm" in hint)
    assert "shared_memory" in hint and "locks" not in hint


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells so on Linux only")
def test_doctor_tries_out_what_it_names(monkeypatch):
    processes = doctor.examine()["processes"]
    assert processes["bound to their parent by"] == "a signal of the kernel"
    assert processes["can be asked for stacks"]
    import fcntl

    real = fcntl.fcntl

    def control(descriptor, command, *argument):
        if command == fcntl.F_SETSIG:  # as gVisor answers
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(descriptor, command, *argument)

    monkeypatch.setattr(fcntl, "fcntl", control)
    monkeypatch.setattr(doctor.stacks, "STACKS_SIGNAL", None)
    processes = doctor.examine()["processes"]
    assert processes["bound to their parent by"] == "a thread"
    assert not processes["can be asked for stacks"]


def test_doctor_reads_tines_insight(monkeypatch):
    monkeypatch.setenv("TINES_INSIGHT", "nobody")
    report = doctor.examine()
    assert report["tines"]["TINES_INSIGHT"] == "nobody"
    assert any("TINES_INSIGHT='nobody'" in hint for hint in doctor.advice(report))


def test_mistakes_are_told(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main([])
    with pytest.raises(SystemExit, match="2"):
        cli.main(["doctor", "--jsno"])
    assert "--jsno" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m tines doctor | true",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""


def nap(ready):
    ready.send(None)
    time.sleep(1000)


DEPTH, THREADS = 90, 60


def nap_in_many_threads(ready):
    """Their stacks take several thousand lines."""
    begun = threading.Barrier(THREADS + 1)

    def deeper(depth):
        if depth:
            deeper(depth - 1)
        begun.wait()
        time.sleep(1000)

    for _ in range(THREADS):
        threading.Thread(target=deeper, args=(DEPTH,), daemon=True).start()
    begun.wait()
    nap(ready)


@contextlib.contextmanager
def stopped_while_it_answers(pid, seconds):
    """Stop a process in the midst of its next answer, as a busy machine may, for a while."""
    descriptor = os.pidfd_open(pid)
    (file,) = [
        entry.name
        for entry in Path(f"/proc/{pid}/fd").iterdir()
        if "tines-stacks" in os.readlink(entry)
    ]

    def position():
        return Path(f"/proc/{pid}/fdinfo/{file}").read_text().split()[1]

    before = position()

    def stop():
        while position() == before:
            pass
        signal.pidfd_send_signal(descriptor, signal.SIGSTOP)
        time.sleep(seconds)
        signal.pidfd_send_signal(descriptor, signal.SIGCONT)

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        os.close(descriptor)


@pytest.mark.skipif(sys.platform != "linux", reason="needs real-time signals and /proc")
class TestStacks:
    @pytest.mark.parametrize("by_the_parent", [False, True])
    def test_of_a_child_that_is_held_up_in_the_midst_of_them(self, capfd, by_the_parent):
        reader, writer = mp.Pipe(duplex=False)
        process = mp.get_context("spawn").Process(target=nap_in_many_threads, args=(writer,))
        process.start()
        reader.recv()
        with stopped_while_it_answers(process.pid, 0.5):
            if by_the_parent:
                text = process.stacks(timeout=PATIENCE)
            else:
                assert cli.main(["stacks", "--timeout", str(PATIENCE), str(process.pid)]) == 0
                text = capfd.readouterr().out
        process.kill()
        process.join()
        assert text.count("in deeper") == THREADS * (DEPTH + 1) and "in nap" in text

    @pytest.mark.parametrize("by_the_parent", [False, True])
    def test_of_a_child_that_ends_instead(self, by_the_parent, capfd, monkeypatch):
        reader, writer = mp.Pipe(duplex=False)
        process = mp.get_context("spawn").Process(target=nap, args=(writer,))
        process.start()
        reader.recv()
        send = signal.pidfd_send_signal
        with monkeypatch.context() as patch:
            patch.setattr(signal, "pidfd_send_signal", lambda fd, _: send(fd, signal.SIGKILL))
            if by_the_parent:
                with pytest.raises(mp.StartError, match="has ended"):
                    process.stacks(timeout=1000)
            else:
                assert cli.main(["stacks", "--timeout", "1000", str(process.pid)]) == 1
                said = capfd.readouterr()
                assert not said.out and "does not answer" in said.err
        process.join()

    @pytest.mark.parametrize("method", mp.get_all_start_methods())
    def test_of_a_child_and_of_all_children(self, method, capfd):
        reader, writer = mp.Pipe(duplex=False)
        context = mp.get_context(method)
        processes = [context.Process(target=nap, args=(writer,)) for _ in range(2)]
        for process in processes:
            process.start()
            reader.recv()
            assert "in nap" in process.stacks()
        try:
            assert cli.main(["stacks", str(processes[0].pid)]) == 0
            out = capfd.readouterr().out
            assert out.count("in nap") == 1 and f"process {processes[0].pid}" in out
            assert cli.main(["stacks", str(os.getpid())]) == 0
            assert capfd.readouterr().out.count("in nap") >= 2
            assert all(process.is_alive() for process in processes)
            assert "in nap" in processes[1].stacks()  # the parent still sees its own
        finally:
            for process in processes:
                process.kill()
                process.join()

    def test_of_a_stranger(self, capfd):
        sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        try:
            assert cli.main(["stacks", str(sleeper.pid)]) == 2
            err = capfd.readouterr().err
            assert f"process {sleeper.pid} does not run tines" in err and "input()" in err
            assert sleeper.poll() is None
        finally:
            sleeper.communicate(b"\n")
        assert sleeper.returncode == 0
        assert cli.main(["stacks", str(sleeper.pid)]) == 2

    def test_of_a_stranger_that_started_a_program(self, capfd):
        """The program is named and not asked; neither is a stranger beside it, who would die of it."""
        program = textwrap.dedent(
            """
            import subprocess, sys, tines
            with tines.get_context("fork").Pool(1) as pool:
                pool.apply(abs, (1,))
                beside = subprocess.Popen(
                    [sys.executable, "-c", "input()"],
                    stdin=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
                print(beside.pid, flush=True)
                sys.stdin.read()
                beside.communicate()
                print(beside.returncode, flush=True)
            """
        )
        shell = subprocess.Popen(
            ["sh", "-c", '"$0" -c "$1"; exit $?', sys.executable, program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            beside = int(shell.stdout.readline())
            assert cli.main(["stacks", str(shell.pid)]) == 2
            out, err = capfd.readouterr()
            assert not out and f"process {shell.pid} does not run tines" in err
            (below,) = [line for line in err.splitlines() if "of the processes" in line]
            child = int(below.split()[6])
            assert child not in (shell.pid, beside)
            assert cli.main(["stacks", str(child)]) == 0
            out = capfd.readouterr().out
            assert out.count("process ") == 2 and f"process {beside}:" not in out
        finally:
            out, _ = shell.communicate()
        assert out == "1\n" and shell.returncode == 0  # input() at its end: no signal
