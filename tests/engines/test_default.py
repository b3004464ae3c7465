"""The engine that the environment or the command line names, for pools that are given none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.pools import ending
from tines import cli
from tines.engines import names
from tines.engines.names import VARIABLE
from tines.executor import ProcessPoolExecutor
from tines.pool import Pool


def variable() -> str | None:
    return os.environ.get(VARIABLE)


def test_a_pool_without_an_engine_has_the_one_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "simulated:2")
    with ending() as made:
        made.append(pool := Pool(2))
        assert sorted(node.name for node in pool.nodes()) == ["simulated-0", "simulated-1"]
        assert pool.apply(variable) is None  # what is made there is there
        made.append(here := Pool(1, engine="local"))
        assert [node.pid for node in here.nodes()] == [os.getpid()]


def test_so_has_an_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "simulated:1")
    with ProcessPoolExecutor(1) as executor:
        monkeypatch.delenv(VARIABLE)  # it is the one of when it was made
        assert executor.submit(os.getppid).result(30) != os.getpid()


@pytest.mark.parametrize("given", ["", " ", "local"])
def test_this_machine_can_be_meant(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, given)
    assert names.default_name() is None


@pytest.mark.parametrize("make", [Pool, ProcessPoolExecutor])
def test_a_variable_that_names_no_engine_is_named(
    make: type[Pool] | type[ProcessPoolExecutor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "spark")
    with pytest.raises(ValueError, match=f"{VARIABLE}='spark' names no engine: use 'local'"):
        make(1)


PROGRAM = """
import multiprocessing, os
if __name__ == "__main__":
    with multiprocessing.Pool(1) as pool:
        print(pool.apply(os.getppid) != os.getpid())
"""


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--engine", "simulated:1", "program.py"], 0, "True"),
        (["--engine=spark", "program.py"], 2, "--engine 'spark' names no engine"),
        (["--engine"], 2, "--engine needs the name of an engine"),
    ],
)
def test_a_program_is_run_on_the_engine_that_the_command_line_names(
    options: list[str], code: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "tines", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr


def test_the_doctor_says_whether_an_engine_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--engine", "simulated:1"]) == 0
    assert "engine simulated:1 works, with 1 node(s):\n  simulated-0" in capsys.readouterr().out
    assert cli.main(["doctor", "--json", "--engine", "spark"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["nodes"] == []
    assert "ValueError: engine='spark' is not known" in report["problem"]
