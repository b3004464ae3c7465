"""The core's own programs in plain C, briefly; ``make -C native/tests`` runs them for longer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

PLAIN = ["plain/stress", "plain/kills", "plain/hostile"]
SANITIZED = ["asan/stress", "asan/kills", "asan/hostile", "tsan/stress"]

pytestmark = pytest.mark.skipif(
    not (shutil.which("make") and shutil.which("cc")), reason="needs make and a C compiler"
)


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


def build_and_run(directory: Path, program: str, *arguments: str) -> str:
    target = directory / program
    make = ["make", "-s", "-C", str(ROOT / "native" / "tests"), f"BUILD={directory}", str(target)]
    built = subprocess.run(make, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([target, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    return done.stdout


@pytest.mark.parametrize("program", PLAIN)
def test_plain(directory: Path, program: str) -> None:
    assert "from seed 11" in build_and_run(directory, program, "11", "1")


@pytest.mark.slow
@pytest.mark.parametrize("program", SANITIZED)
def test_under_sanitizers(directory: Path, program: str) -> None:
    assert "from seed 12" in build_and_run(directory, program, "12", "4")
