"""The judge of ``make compat`` itself: that it can say no, and that what it leaves out is explained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from compat import verdicts  # noqa: E402
from compat.judge import Outcome, Result  # noqa: E402
from compat.verdicts import Exclusion, Verdict  # noqa: E402

PASS = Result(Outcome.PASS)


@pytest.mark.parametrize(
    ("baseline", "ours", "verdict"),
    [
        (Outcome.PASS, Outcome.PASS, Verdict.PASS),
        (Outcome.PASS, Outcome.FAIL, Verdict.REGRESSION),
        (Outcome.PASS, Outcome.CRASH, Verdict.REGRESSION),
        (Outcome.PASS, Outcome.SKIP, Verdict.REGRESSION),
        (Outcome.PASS, Outcome.MISSING, Verdict.REGRESSION),
        (Outcome.PASS, Outcome.HANG, Verdict.HANG),
        (Outcome.FAIL, Outcome.FAIL, Verdict.NOT_COMPARED),
        (Outcome.SKIP, Outcome.MISSING, Verdict.NOT_COMPARED),
    ],
)
def test_verdicts(baseline: Outcome, ours: Outcome, verdict: Verdict) -> None:
    (judged,) = verdicts.compare({"A.b": Result(baseline)}, {"A.b": Result(ours)}, [])
    assert judged.verdict is verdict


def test_a_test_that_was_not_run_is_a_regression() -> None:
    (judged,) = verdicts.compare({"A.b": PASS}, {}, [])
    assert judged.verdict is Verdict.REGRESSION


def test_an_exclusion_covers_only_what_it_names_and_never_hides_a_pass() -> None:
    failed = Result(Outcome.FAIL, "Traceback\nValueError: x")
    exclusions = [Exclusion("A.b*", "private")]
    baseline = dict.fromkeys(("A.b", "A.bc", "A.c"), PASS)
    judged = verdicts.compare(baseline, {"A.b": failed, "A.bc": PASS, "A.c": failed}, exclusions)
    assert [one.verdict for one in judged] == [
        Verdict.EXCLUDED,
        Verdict.PASS,
        Verdict.REGRESSION,
    ]
    assert judged[0].why == "private" and judged[2].why == "fail: ValueError: x"


def test_every_exclusion_has_a_reason(tmp_path: Path) -> None:
    exclusions = verdicts.read_exclusions()
    assert exclusions and all(len(one.reason) > 20 for one in exclusions)
    assert len({one.pattern for one in exclusions}) == len(exclusions)
    bad = tmp_path / "excluded.txt"
    bad.write_text("A.b\n\nA.c\n    a reason\n")
    with pytest.raises(ValueError, match=r"A\.b is excluded without a reason"):
        verdicts.read_exclusions(bad)


def test_an_exclusion_that_nothing_needs_any_more_is_told() -> None:
    failed = Result(Outcome.FAIL)
    exclusions = [Exclusion(pattern, "private") for pattern in ("A.*", "B.*", "C.*", "D.*")]
    judged = verdicts.compare(
        {"A.a": PASS, "A.b": PASS, "B.a": PASS, "B.b": PASS, "D.a": failed},
        {"A.a": PASS, "A.b": failed, "B.a": PASS, "B.b": PASS, "D.a": failed},
        exclusions,
    )
    assert [one.pattern for one in verdicts.needless(exclusions, judged)] == ["B.*"]


@pytest.mark.slow
@pytest.mark.watchdog(120)
def test_programs_that_tests_start_run_by_the_runner(tmp_path: Path) -> None:
    """The interpreter's options stay in front of ``-m tines``; a program sees its own arguments."""
    code = (
        "from compat import shard; shard._start_programs_by_the_runner();"
        "from test.support.script_helper import assert_python_ok;"
        "print(assert_python_ok('-W', 'error', '-c',"
        " 'import multiprocessing, sys;"
        " print(multiprocessing.Pool.__module__[:5], sys.argv, sys.warnoptions)', 'x').out.decode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    if "No module named 'test" in done.stderr:
        pytest.skip("the interpreter came without its tests")
    assert done.stdout.strip() == "tines ['-c', 'x'] ['error']", done.stderr


@pytest.mark.slow
@pytest.mark.watchdog(120)
@pytest.mark.parametrize("subject", ["runner", "alias"])
def test_a_real_run(tmp_path: Path, subject: str) -> None:
    """Some tests of locks, from the listing to the file; skipped where they are not installed."""
    report = tmp_path / "report.json"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "compat",
            "--method",
            "spawn",
            "--suite",
            "multiprocessing",
            "-k",
            "WithProcessesTestLock",
            "--subject",
            subject,
            "--json",
            str(report),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    if "not judged" in done.stdout:
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    (judged,) = json.loads(report.read_text()).values()
    assert judged and all(one["verdict"] == "pass" for one in judged)


def test_an_exclusion_also_holds_where_its_module_was_not_divided_yet() -> None:
    exclusion = Exclusion("test_shutdown.*.test_del_shutdown", "private")
    assert exclusion.covers("test_shutdown.ForkTest.test_del_shutdown")
    assert exclusion.covers("test_concurrent_futures.ForkTest.test_del_shutdown")
    assert not exclusion.covers("test_concurrent_futures.ForkTest.test_shutdown")
    assert not exclusion.covers("test_wait.ForkTest.test_del_shutdown")
    assert not Exclusion("ForkTest.*", "private").covers("test_concurrent_futures.ForkTest.test_x")
