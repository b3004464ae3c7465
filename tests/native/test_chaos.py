"""``python -m chaos``: a short run of each rig with a fixed seed is clean, and finds what is planted."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from native_tools import ROOT

RIGS = ["queue", "queue-pipe", "pool", "process", "lock", "scarce"]
SEED = "311"

pytestmark = [pytest.mark.slow, pytest.mark.watchdog(120)]


def chaos(rig: str, seconds: float, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(ROOT), *sys.path))
    command = [sys.executable, "-m", "chaos", "--seconds", str(seconds), "--seed", SEED]
    return subprocess.run(
        [*command, *arguments, rig],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=100,
    )


@pytest.mark.parametrize("rig", RIGS)
def test_nothing_is_lost(rig: str) -> None:
    done = chaos(rig, 3)
    assert done.returncode == 0, done.stdout + done.stderr
    for count in ("submitted", "delivered", "refused" if rig == "scarce" else "kills"):
        assert f" {count}=" in done.stdout, f"{count} is 0: the run shows nothing"


@pytest.mark.parametrize("rig", RIGS)
@pytest.mark.parametrize("fault", ["lost", "twice", "torn", "leak"])
def test_a_planted_fault_is_found(rig: str, fault: str) -> None:
    done = chaos(rig, 0.3, "--settle", "2", "--plant", fault)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"--seed {SEED} {rig}" in done.stdout, "a failure says how to repeat it"
    wanted = "leaked_descriptors=" if fault == "leak" else f"{fault}="
    assert wanted in done.stdout.split("FAILED: ")[1]
