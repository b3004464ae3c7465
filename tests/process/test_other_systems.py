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


WRITERS = """
import os, socket, sys

NO_SIGPIPE = 0x1022  # of macOS
quiet = set()

def setsockopt(self, level, option, value, real=socket.socket.setsockopt):
    if option == NO_SIGPIPE:
        quiet.add(id(self))
    else:
        real(self, level, option, value)

def checked(name):
    real = getattr(socket.socket, name)

    def write(self, *arguments):
        if id(self) not in quiet:
            with open(sys.argv[2], "a") as file:
                print(name, self, file=file)
        return real(self, *arguments)

    setattr(socket.socket, name, write)

socket.socket.setsockopt = setsockopt
for name in ("send", "sendall", "sendmsg"):
    checked(name)

import tines as mp

def put(queue):
    queue.put(bytes(100_000))

if __name__ == "__main__":
    ctx = mp.get_context(sys.argv[1])
    queue = ctx.Queue()
    process = ctx.Process(target=put, args=(queue,))
    process.start()
    assert len(queue.get(timeout=30)) == 100_000
    assert not queue._reader.poll()
    process.join()
    with ctx.Pool(2) as pool:
        assert pool.map(abs, range(-5, 0)) == [5, 4, 3, 2, 1]
    assert quiet
"""


@pytest.mark.parametrize("method", METHODS)
def test_no_socket_raises_sigpipe(tmp_path, method):
    told = tmp_path / "told"
    run(tmp_path, WRITERS, method, str(told))
    assert not told.exists(), told.read_text()


@pytest.mark.parametrize("method", METHODS)
def test_a_long_name_of_the_temporary_folder(tmp_path, monkeypatch, method):
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    done = run(
        tmp_path,
        """
        import sys
        import tines as mp
        from tines.transport.pipe import registry

        def put(queue):
            queue.put("through")

        if __name__ == "__main__":
            ctx = mp.get_context(sys.argv[1])
            queue = ctx.Queue()
            process = ctx.Process(target=put, args=(queue,))
            process.start()
            assert queue.get(timeout=30) == "through"
            process.join()
            print(registry.current().broker().address)
        """,
        method,
    )
    assert os.listdir(folder) == []
    address = Path(done.stdout.strip())
    assert address.name == "broker" and not address.parent.exists()


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
