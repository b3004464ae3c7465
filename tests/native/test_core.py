"""The core's own programs in plain C, briefly; ``make sanitize`` and ``make fuzz`` run them for longer."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from native_tools import ROOT

PLAIN = [
    "plain/stress",
    "plain/kills",
    "plain/hostile",
    "plain/locks",
    "plain/packs",
    "plain/views",
    "plain/growth",
    "plain/ending",
    "random-fuzz",
]

pytestmark = [
    pytest.mark.skipif(
        not (shutil.which("make") and shutil.which("cc")), reason="needs make and a C compiler"
    ),
    pytest.mark.watchdog(200),  # the first of a program's tests builds it
]


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


def run(
    directory: Path, program: str, *arguments: str, plant: str = ""
) -> subprocess.CompletedProcess[str]:
    target = directory / program
    make = ["make", "-s", "-C", str(ROOT / "native" / "tests"), f"BUILD={directory}", str(target)]
    built = subprocess.run(make, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert built.returncode == 0, built.stderr
    environment = {**os.environ, "PLANT": plant}
    return subprocess.run(
        [target, *arguments], env=environment, capture_output=True, text=True, timeout=100
    )


def check(done: subprocess.CompletedProcess[str], seed: int) -> None:
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert f"from seed {seed}" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("program", PLAIN)
def test_plain(directory: Path, program: str) -> None:
    check(run(directory, program, "11", "1"), 11)


@pytest.mark.slow
@pytest.mark.parametrize("program", ["plain/stress", "plain/kills", "random-fuzz"])
@pytest.mark.parametrize("fault", ["lost", "twice", "torn", "leak"])
def test_a_planted_fault_is_found(directory: Path, program: str, fault: str) -> None:
    done = run(directory, program, "13", "2", plant=fault)
    assert done.returncode == -signal.SIGABRT, done.stdout + done.stderr


@pytest.mark.parametrize(("fault", "end"), [("stray", signal.SIGSEGV), ("endless", signal.SIGALRM)])
def test_hostile_finds_what_it_looks_for(directory: Path, fault: str, end: signal.Signals) -> None:
    done = run(directory, "plain/hostile", "13", "2", "1", plant=fault)
    assert done.returncode == -end, done.stdout + done.stderr
    assert re.search(r"seed \d+: signal", done.stderr), "a failure says how to repeat it"


@pytest.mark.parametrize("fault", ["swapped", "outside"])
def test_packs_finds_what_it_looks_for(directory: Path, fault: str) -> None:
    done = run(directory, "plain/packs", "13", "2", plant=fault)
    assert done.returncode == -signal.SIGABRT, done.stdout + done.stderr


@pytest.mark.slow
def test_locks_among_threads(directory: Path) -> None:
    check(run(directory, "tsan/locks", "12", "3", "threads"), 12)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["unlocked", "untold", "swallow", "token"])
def test_a_fault_planted_among_locks_is_found(directory: Path, fault: str) -> None:
    done = run(directory, "plain/locks", "5", "3", plant=fault)
    assert done.returncode == -signal.SIGABRT, done.stdout + done.stderr


@pytest.mark.parametrize("fault", ["shared", "stale"])
def test_a_fault_planted_among_views_is_found(directory: Path, fault: str) -> None:
    done = run(directory, "plain/views", "5", "1", plant=fault)
    assert done.returncode == -signal.SIGABRT, done.stdout + done.stderr
