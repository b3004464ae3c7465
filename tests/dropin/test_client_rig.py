"""The rig of ``make clients`` itself: that it can say no, and that a run leaves nothing behind."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from clients import trial  # noqa: E402
from clients.client import OWN, Client, Compare, Side  # noqa: E402
from clients.outcome import Outcome, differences, shows_nothing  # noqa: E402
from clients.table import TABLE  # noqa: E402

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the rig finds processes in /proc"
)

SAME = Outcome(
    exit_code=0,
    seconds=1.0,
    lines=("a", "b"),
    complaints=("Traceback of the program's own",),
    answers=("/: 200 hello", "answered by 2 workers"),
    files={"out.txt": "1f"},
)


def test_the_same_is_no_difference() -> None:
    assert differences(SAME, replace(SAME, seconds=9.0, said="else")) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"exit_code": 1}, "exit code 1 instead of exit code 0"),
        ({"exit_code": None}, "still running after 1 s instead of exit code 0"),
        ({"lines": ("a",)}, "line -b"),
        ({"lines": ("a", "b", "b")}, "line +b"),
        ({"answers": ("no answer",)}, "answer +no answer"),
        ({"complaints": (*SAME.complaints, "Fatal")}, "complaint: Fatal"),
        ({"files": {}}, "another content of out.txt"),
        ({"files": {"out.txt": "2f"}}, "another content of out.txt"),
        ({"left": ("python x.py",)}, "left running: python x.py"),
    ],
)
def test_what_differs_is_told(change: dict[str, object], told: str) -> None:
    assert told in differences(SAME, replace(SAME, **change))


def test_of_a_suite_what_passed_has_to_pass() -> None:
    standard = replace(SAME, passed=frozenset({"a", "b"}))
    assert differences(standard, replace(standard, passed=frozenset({"a", "b", "c"}))) == []
    told = differences(standard, replace(standard, passed=frozenset({"a", "c"})))
    assert told == ["no longer passes: b"]
    assert differences(standard, SAME) == ["no longer passes: a", "no longer passes: b"]


def test_of_what_pytest_wrote_the_tests_that_count_are_read() -> None:
    wrote = "PASSED a/b.py::C::one\nFAILED a/b.py::C::two - x\nPASSED b.py::C::three[x-1]\n"
    assert Compare().tests(wrote) == {"b.py::C::one", "b.py::C::three[x-1]"}
    assert Compare(on_purpose=("*::one",)).tests(wrote) == {"b.py::C::three[x-1]"}


def test_a_run_that_shows_nothing_is_none_to_compare_with() -> None:
    assert shows_nothing(SAME, 0) == ""
    assert "exit code 0" in shows_nothing(SAME, 1)
    assert "nothing to compare" in shows_nothing(Outcome(0, 1.0), 0)
    assert "does not answer" in shows_nothing(replace(SAME, answers=("no answer",)), 0)


def test_the_table_is_sound() -> None:
    assert len({client.name for client in TABLE}) == len(TABLE)
    for client in TABLE:
        for name in client.files:
            assert (trial.PROGRAMS / name).exists(), client.name
    used = {name.partition("/")[0] for client in TABLE for name in client.files}
    assert {path.name for path in trial.PROGRAMS.iterdir()} - {"__pycache__"} == used


def client(code: str, **options: object) -> Client:
    return Client("one", (), ("-c", code), **options)  # type: ignore[arg-type]


def run(one: Client, side: Side = Side.STANDARD, method: str = OWN) -> Outcome:
    return trial.run(one, side, method, Path(sys.executable))


@pytest.mark.slow
@pytest.mark.parametrize("side", [Side.RING, Side.PIPE])
def test_a_real_client_is_the_same_on_tines(side: Side) -> None:
    if side is Side.RING:
        pytest.importorskip("tines._native", reason="the native core is not there")
    one = client(
        "import multiprocessing as mp\n"
        "with mp.Pool(2) as pool: print(pool.map(abs, range(-3, 0)))\n"
        "print(mp.Pool.__module__)",
        compare=Compare(keep=r"^\["),
    )
    standard, ours = run(one), run(one, side)
    assert standard.lines == ("[3, 2, 1]",)
    assert differences(standard, ours) == []
    assert "tines" in ours.said and "tines" not in standard.said


@pytest.mark.slow
def test_what_hangs_is_killed_and_shows_its_stacks() -> None:
    hung = run(client("import time; time.sleep(600)", limit=3))
    assert hung.exit_code is None and "most recent call first" in hung.said


@pytest.mark.slow
def test_what_is_left_running_is_told_and_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SETTLING", 0.2)
    left = run(
        client(
            "import subprocess, sys; print(subprocess.Popen("
            "[sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True).pid)"
        )
    )
    assert left.exit_code == 0 and len(left.left) == 1 and "sleep(600)" in left.left[0]
    assert not Path(f"/proc/{left.lines[0]}/fd/0").exists()


def test_a_client_finds_its_start_method() -> None:
    one = client("import os; print(os.environ['CLIENT_METHOD'], '{method}')")
    assert run(one, method="spawn").lines == ("spawn spawn",)
