"""The ways of systems without Linux's conveniences, run on Linux that pretends to be one."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import tines as mp
from families import Family
from support.waiting import PATIENCE

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere this is what runs anyway"
)

HERE = Path(__file__).parent
METHODS = mp.get_all_start_methods()


@pytest.fixture(autouse=True)
def other_system(monkeypatch):
    path = [str(HERE / "other_system"), *filter(None, sys.path)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    monkeypatch.setenv("TINES_NATIVE", "off")


def run(tmp_path, program, *arguments):
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(program))
    done = subprocess.run(
        [sys.executable, str(path), *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("method", METHODS)
def test_processes(tmp_path, method):
    done = run(
        tmp_path,
        """
        import os, signal, sys, time
        import tines as mp
        from tines.process.start import popen
        from multiprocessing.connection import wait

        def big(size):
            return bytearray(size)

        def sleep():
            time.sleep(1000)

        if __name__ == "__main__":
            assert sys.platform == "darwin" and not popen.HAVE_PIDFD
            ctx = mp.get_context(sys.argv[1])
            for _ in range(3):
                process = ctx.Process(target=big, args=(2_000_000,), returns=True)
                process.start()
                assert len(process.result(30)) == 2_000_000 and process.exitcode == 0
                process.close()
            process = ctx.Process(target=sleep, returns=True)
            process.start()
            process.join(0.05)
            assert process.is_alive() and process.exitcode is None
            assert wait([process.sentinel], 0) == []
            try:
                process.stacks()
            except NotImplementedError as error:
                assert "Linux" in str(error)
            process.kill()
            assert wait([process.sentinel], 30) == [process.sentinel]
            process.join()
            assert process.exitcode == -signal.SIGKILL
            assert process.exception().signal == "SIGKILL"
            processes = [ctx.Process(target=big, args=(i,), returns=True) for i in range(3)]
            for process in processes:
                process.start()
            assert mp.wait(processes, timeout=30).not_done == set()
            assert sorted(len(process.result()) for process in processes) == [0, 1, 2]
        """,
        method,
    )
    assert done.stderr == ""


@pytest.mark.parametrize(
    "shape", ["sleep", "sleep-thread", "grandchildren", "daemon-grandchildren"]
)
@pytest.mark.parametrize("method", METHODS)
def test_nobody_survives_a_killed_parent(method, shape):
    with Family(method, shape) as family:
        family.wait_until_ready()
        family.process.kill()
        assert family.survivors(PATIENCE) == []


def test_doctor(tmp_path):
    out = run(
        tmp_path,
        """
        from tines.cli import main
        raise SystemExit(main(["doctor"]))
        """,
    ).stdout
    assert "a thread" in out and "pidfd                     no" in out
