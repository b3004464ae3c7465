"""Which executable and command line start children: a frozen program's, one that was set, none."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import tines

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="there the standard library starts the children"
)

METHODS = tines.get_all_start_methods()

FROZEN = """\
#!{python}
import os, sys

with open({log!r}, "a") as log:
    print(*sys.argv[1:], file=log)
sys.frozen = True
sys.executable = sys.argv[0]
{package}

def double(number):
    return 2 * number

def method_of_child(queue):
    queue.put((mp.get_start_method(), mp.Process.__module__, __name__))

if __name__ == "__main__":
    mp.freeze_support()
    with open({log!r}, "a") as log:
        print("the program", file=log)
    method = sys.argv[1]
    context = mp.get_context(method)
    with context.Pool(2) as pool, {executor}(2, mp_context=context) as executor:
        print(pool.map(double, range(3)), list(executor.map(double, range(3))))
    queue = context.Queue()
    process = context.Process(target=method_of_child, args=(queue,))
    process.start()
    print(queue.get(timeout=30)[:2])
    process.join()
    with context.Manager() as manager:
        print(list(manager.list([1])), process.exitcode)
"""

TINES = "import tines as mp", "mp.ProcessPoolExecutor"
ALIAS = (
    "import tines.runner.alias; tines.runner.alias.install(); "
    "import multiprocessing as mp, concurrent.futures",
    "concurrent.futures.ProcessPoolExecutor",
)


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, capture_output=True, text=True, timeout=50, env=environment)


def executable(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("names", [TINES, ALIAS], ids=["tines", "alias"])
def test_a_frozen_program_runs_once(tmp_path: Path, method: str, names: tuple[str, str]) -> None:
    """Each process of it is the program again, which finds out in ``freeze_support`` that it is not."""
    log = tmp_path / "log"
    text = FROZEN.replace("{python}", sys.executable).replace("{log!r}", repr(str(log)))
    text = text.replace("{package}", names[0]).replace("{executor}", names[1])
    done = run([executable(tmp_path / "program", text), method])
    assert (done.returncode, done.stderr) == (0, "")
    lists = "[0, 2, 4] [0, 2, 4]"
    assert done.stdout == f"{lists}\n({method!r}, 'tines.process.concrete')\n[1] 0\n"
    started = log.read_text().splitlines()
    assert started.count("the program") == 1
    children = [line for line in started if line.startswith("--multiprocessing-fork ")]
    assert bool(children) is (method != "fork")
    # The resource tracker of the standard library is the one that has a line of source.
    others = {*started} - {*children} - {method, "the program"}
    assert all("-c from multiprocessing.resource_tracker" in line for line in others)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "fork"])
def test_whoever_replaces_the_command_line_is_asked_for_it(tmp_path: Path, method: str) -> None:
    child = executable(
        tmp_path / "child",
        f"#!{sys.executable}\n"
        + textwrap.dedent(
            """
            import os, sys
            from multiprocessing.spawn import spawn_main
            os.write(1, f"started {sys.argv[1]}\\n".encode())  # whole, beside the other worker's
            spawn_main(tracker_fd=int(sys.argv[2]), pipe_handle=int(sys.argv[3]))
            """
        ),
    )
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            f"""
            import multiprocessing.spawn, sys, tines

            def command_line(tracker_fd, pipe_handle):
                return [{child!r}, "--multiprocessing-fork", str(tracker_fd), str(pipe_handle)]

            multiprocessing.spawn.get_command_line = command_line

            def double(number):
                return 2 * number

            if __name__ == "__main__":
                with tines.get_context(sys.argv[1]).Pool(2) as pool:
                    print(pool.map(double, range(3)))
            """
        )
    )
    done = run([sys.executable, str(program), method])
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert lines.count("[0, 2, 4]") == 1
    assert lines.count("started --multiprocessing-fork") == len(lines) - 1 >= 1


@pytest.mark.parametrize("method", [method for method in METHODS if method != "fork"])
def test_the_executable_that_was_set_starts_everything(tmp_path: Path, method: str) -> None:
    log = tmp_path / "log"
    wrapper = executable(
        tmp_path / "wrapper", f'#!/bin/sh\necho "$@" >> {log}\nexec {sys.executable} "$@"\n'
    )
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import sys, tines

            if __name__ == "__main__":
                tines.set_executable(sys.argv[2])
                context = tines.get_context(sys.argv[1])
                for _ in range(4):
                    process = context.Process(target=print, args=(".",))
                    process.start()
                    process.join()
                with context.Pool(2) as pool:
                    print(pool.map(abs, [-1]))
            """
        )
    )
    done = run([sys.executable, "-X", "dev", "-W", "ignore", str(program), method, wrapper])
    assert (done.returncode, done.stdout) == (0, ".\n" * 4 + "[1]\n"), done.stderr
    started = [
        line
        for line in log.read_text().splitlines()
        if "import tines" in line or "from tines" in line
    ]
    assert len(started) >= (1 if method == "forkserver" else 6)
    assert all("-X dev" in line for line in started)  # and the flags of this interpreter


def test_without_an_executable_the_error_says_what_to_do(monkeypatch) -> None:
    monkeypatch.setattr("multiprocessing.spawn._python_exe", None)
    monkeypatch.setenv("TINES_SPARES", "0")
    process = tines.get_context("spawn").Process(target=print)
    with pytest.raises(tines.StartError, match=r"no Python to start.*set_executable\(\)"):
        process.start()
