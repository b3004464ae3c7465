"""What came out of a run, and in what the outcomes of two runs differ."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Outcome", "differences", "shows_nothing"]

SOME_FAILED = (0, 1)
"""How pytest exits when all tests were run; which of them passed is compared one by one."""

SHOWN = 6
"""How many differing lines are told of each kind."""


@dataclass(frozen=True)
class Outcome:
    """What came out of a run.

    Attributes:
        exit_code: The program's, or ``None`` if it had to be killed at its limit.
        seconds: How long it took.
        lines: Its lines of output that count.
        passed: The tests that passed, if it is a run of pytest.
        complaints: Lines of standard error that tell of trouble.
        answers: What a server answered.
        files: The digests of the files that it left, by name.
        left: The command lines of the processes that were still there long after it.
        said: The end of all that it wrote, for people.
    """

    exit_code: int | None
    seconds: float
    lines: tuple[str, ...] = ()
    passed: frozenset[str] | None = None
    complaints: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    left: tuple[str, ...] = ()
    said: str = ""


def shows_nothing(standard: Outcome, exit_code: int) -> str:
    """Say why a run on the standard library is none to compare with; empty if it is one."""
    of_suite = standard.passed is not None and standard.exit_code in SOME_FAILED
    if standard.exit_code != exit_code and not of_suite:
        return f"{_ended(standard)} on the standard library"
    if not (standard.lines or standard.passed or standard.answers or standard.files):
        return "nothing to compare came out of it on the standard library"
    if any(answer.startswith(("no answer", "answered by 0")) for answer in standard.answers):
        return "does not answer on the standard library"
    return ""


def differences(standard: Outcome, ours: Outcome) -> list[str]:
    """Say in what a run on tines differs from the run on the standard library; empty if in nothing.

    It may do better: fewer complaints, more tests passed, less left running.
    """
    found = []
    of_suite = standard.passed is not None and ours.exit_code in SOME_FAILED
    if ours.exit_code != standard.exit_code and not of_suite:
        found.append(f"{_ended(ours)} instead of {_ended(standard)}")
    if standard.passed is not None:
        lost = sorted(standard.passed - (ours.passed or frozenset()))
        found += _some("no longer passes: ", lost)
    else:
        found += _unlike("line", standard.lines, ours.lines)
    found += _unlike("answer", standard.answers, ours.answers)
    if len(ours.complaints) > len(standard.complaints) and standard.passed is None:
        new = Counter(ours.complaints) - Counter(standard.complaints)
        found += _some("complaint: ", list(new.elements()))
    for name in sorted(standard.files.keys() | ours.files.keys()):
        if standard.files.get(name) != ours.files.get(name):
            found.append(f"another content of {name}")
    if len(ours.left) > len(standard.left):
        found += _some("left running: ", list(ours.left))
    return found


def _ended(outcome: Outcome) -> str:
    if outcome.exit_code is None:
        return f"still running after {outcome.seconds:.0f} s"
    return f"exit code {outcome.exit_code}"


def _unlike(what: str, standard: tuple[str, ...], ours: tuple[str, ...]) -> list[str]:
    if standard == ours:
        return []
    changes = list(
        difflib.unified_diff(standard, ours, "standard library", "tines", "", "", n=0, lineterm="")
    )
    return _some(f"{what} ", [line for line in changes[2:] if not line.startswith("@@")])


def _some(prefix: str, items: list[str]) -> list[str]:
    told = [f"{prefix}{item[:300]}" for item in items[:SHOWN]]
    if len(items) > SHOWN:
        told.append(f"and {len(items) - SHOWN} more of this kind")
    return told
