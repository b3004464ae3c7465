"""Processes are killed at every step of the core, and at random; nobody else may notice.

Each message that was sent must be received whole by exactly one, or lie under the lease of a dead one;
nothing may hang, and nothing may be leaked. ``programs/journal.py`` keeps the account. ``make kills`` does
more of the same.
"""

from __future__ import annotations

import pytest

from native_tools import LOCK_STEPS, STEPS, Run


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_one_step_is_felt_by_nobody(run: Run, step: str) -> None:
    assert "killed=" in run("kill_steps", step, 1, 4)


def test_the_list_of_steps_is_complete(run: Run) -> None:
    assert run("list_steps").split() == STEPS + LOCK_STEPS


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2])
def test_random_kills(run: Run, seed: int) -> None:
    assert "lost=0 twice=0" in run("random_kills", seed, 3)


@pytest.mark.parametrize("fault", ["lost", "twice", "torn", "leak"])
def test_the_account_finds_a_planted_fault(
    run: Run, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The tests above can fail: each kind of fault is found when it is there."""
    monkeypatch.setenv("SETTLE", "1")
    with pytest.raises(AssertionError, match={"torn": "torn", "leak": "leaked"}.get(fault, fault)):
        run("random_kills", 1, 1, fault)


@pytest.mark.parametrize("fault", ["lost", "twice", "torn", "leak"])
def test_the_scenes_find_a_planted_fault(
    run: Run, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv("PLANT", fault)
    monkeypatch.setenv("SETTLE", "1")
    with pytest.raises(AssertionError, match={"leak": "leaked"}.get(fault, fault)):
        run("kill_steps", "before_commit", 1)
