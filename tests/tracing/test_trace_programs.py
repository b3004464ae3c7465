"""Whole programs that are traced: through the environment, through the runner, after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from trace_format import load_checked
from trace_tools import events, names_of

PROGRAM = textwrap.dedent(
    """
    import os, signal, sys
    import tines

    def double(number):
        return 2 * number

    if __name__ == "__main__":
        with tines.get_context(sys.argv[1]).Pool(2) as pool:
            print(pool.map(double, range(3)), flush=True)
            if "kill" in sys.argv:
                os.kill(os.getpid(), signal.SIGKILL)
            if "raise" in sys.argv:
                raise SystemExit(5)
            if "interrupt" in sys.argv:
                signal.raise_signal(signal.SIGINT)
    """
)


def program(tmp_path, *arguments, runner=(), **environment):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    return subprocess.run(
        [sys.executable, *runner, str(script), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=50,
    )


@pytest.mark.parametrize("end", [[], ["raise"]])
def test_through_the_environment(run, tmp_path, method, end):
    done = program(tmp_path, method, *end, TINES_TRACE=str(run))
    assert done.stdout == "[0, 2, 4]\n" and done.returncode == (5 if end else 0), done.stderr
    runs = events(load_checked(run), "run")
    assert sum(event["args"]["items"] for event in runs) == 3
    assert set(names_of(runs)) == {"double"}


def test_through_the_runner(run, tmp_path, method):
    done = program(tmp_path, method, runner=["-m", "tines", "--stats", "--trace", str(run)])
    assert done.stdout == "[0, 2, 4]\n" and done.returncode == 0, done.stderr
    assert "1 Pool" in done.stderr
    assert sum(event["args"]["items"] for event in events(load_checked(run), "run")) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="no signal ends a program there")
@pytest.mark.parametrize("how", ["runner", "environment"])
def test_ctrl_c_ends_the_program_as_without_a_trace(run, tmp_path, how):
    if how == "runner":
        done = program(tmp_path, "spawn", "interrupt", runner=["-m", "tines", "--trace", str(run)])
    else:
        done = program(tmp_path, "spawn", "interrupt", TINES_TRACE=str(run))
    assert done.returncode == -signal.SIGINT, done.stderr
    assert done.stderr.count("Traceback") == 1 and done.stderr.endswith("KeyboardInterrupt\n")
    assert sum(event["args"]["items"] for event in events(load_checked(run), "run")) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trace", "missing/run.json"], "cannot be written there"),
        (["--trace=missing/run.json"], "cannot be written there"),
        (["--trace="], "needs the name of the file"),
    ],
)
def test_the_runner_refuses_bad_paths_before_it_runs(tmp_path, options, message):
    done = program(tmp_path, "fork", runner=["-m", "tines", *options])
    assert done.returncode == 2 and message in done.stderr and not done.stdout
    assert "[Errno" not in done.stderr


def test_the_environment_refuses_bad_paths_before_the_program_runs(tmp_path):
    done = program(tmp_path, "fork", TINES_TRACE="missing/run.json")
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("TINES_TRACE=missing/run.json: ")
    assert "cannot be written there" in done.stderr and "[Errno" not in done.stderr


def test_what_a_killed_program_has_left_is_recovered(run, tmp_path):
    done = program(tmp_path, "fork", "kill", TINES_TRACE=str(run))
    assert done.returncode == -signal.SIGKILL and not run.exists()
    report = [sys.executable, "-m", "tines", "report", str(run)]
    failed = subprocess.run(report, capture_output=True, text=True, timeout=50)
    assert failed.returncode == 2 and "--recover" in failed.stderr
    recovered = subprocess.run(
        [*report, "--recover", "--json"], capture_output=True, text=True, timeout=50
    )
    assert recovered.returncode == 0, recovered.stderr
    assert json.loads(recovered.stdout)["functions"][0]["items"] == 3
    assert sum(event["args"]["items"] for event in events(load_checked(run), "run")) == 3


def test_the_command_line_is_not_traced_itself(run):
    run.write_text("{}")
    done = subprocess.run(
        [sys.executable, "-m", "tines", "report", str(run)],
        env={**os.environ, "TINES_TRACE": str(run)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 2 and run.read_text() == "{}"
