"""Compares two runs: what passes with the standard library has to pass with tines."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from compat.judge import Outcome, Result

__all__ = [
    "EXCLUDED",
    "Exclusion",
    "Judged",
    "Verdict",
    "compare",
    "needless",
    "read_exclusions",
]

EXCLUDED = Path(__file__).with_name("excluded.txt")

# Before Python 3.12 what is a module of its own since, such as `test_shutdown`, stood in this one.
_UNDIVIDED = "test_concurrent_futures"


class Verdict(Enum):
    """What a test says about tines."""

    PASS = "pass"
    REGRESSION = "regression"
    HANG = "hang"
    EXCLUDED = "excluded"
    NOT_COMPARED = "not compared"
    """The standard library itself skips it or fails it here."""


@dataclass(frozen=True)
class Exclusion:
    """Tests that do not count."""

    pattern: str
    reason: str

    def covers(self, test: str) -> bool:
        """Return whether a test is one of them, also where its module was not divided into several yet."""
        if fnmatch.fnmatchcase(test, self.pattern):
            return True
        module, _, name = test.partition(".")
        part, _, pattern = self.pattern.partition(".")
        undivided = module == _UNDIVIDED and part.startswith("test_")
        return undivided and fnmatch.fnmatchcase(name, pattern)


@dataclass(frozen=True)
class Judged:
    """A test, and what became of it."""

    test: str
    verdict: Verdict
    baseline: Result
    result: Result
    why: str = ""


def read_exclusions(path: Path = EXCLUDED) -> list[Exclusion]:
    """Read the file of exclusions: patterns, a line each, and their reason indented below.

    Raises:
        ValueError: a pattern comes without a reason.
    """
    found: list[Exclusion] = []
    for paragraph in path.read_text().split("\n\n"):
        lines = [line for line in paragraph.splitlines() if not line.startswith("#")]
        patterns = [line for line in lines if not line[:1].isspace()]
        reason = " ".join(line.strip() for line in lines if line[:1].isspace())
        if patterns and not reason:
            raise ValueError(f"{path.name}: {patterns[0]} is excluded without a reason")
        found += [Exclusion(pattern, reason) for pattern in patterns]
    return found


def compare(
    baseline: Mapping[str, Result], results: Mapping[str, Result], exclusions: list[Exclusion]
) -> list[Judged]:
    """Judge every test of the baseline."""
    return [
        _judge(test, was, results.get(test, Result(Outcome.MISSING)), exclusions)
        for test, was in baseline.items()
    ]


def needless(exclusions: list[Exclusion], judged: list[Judged]) -> list[Exclusion]:
    """Return the exclusions whose tests were run, and all passed."""
    found = []
    for exclusion in exclusions:
        verdicts = {one.verdict for one in judged if exclusion.covers(one.test)}
        if Verdict.PASS in verdicts and Verdict.EXCLUDED not in verdicts:
            found.append(exclusion)
    return found


def _judge(test: str, was: Result, now: Result, exclusions: list[Exclusion]) -> Judged:
    if was.outcome is not Outcome.PASS:
        return Judged(test, Verdict.NOT_COMPARED, was, now, f"baseline: {was.outcome.value}")
    if now.outcome is Outcome.PASS:
        return Judged(test, Verdict.PASS, was, now)
    for exclusion in exclusions:
        if exclusion.covers(test):
            return Judged(test, Verdict.EXCLUDED, was, now, exclusion.reason)
    verdict = Verdict.HANG if now.outcome is Outcome.HANG else Verdict.REGRESSION
    return Judged(test, verdict, was, now, _headline(now))


def _headline(result: Result) -> str:
    """Return the line that says what went wrong."""
    lines = [line for line in result.detail.strip().splitlines() if line.strip()]
    if not lines or result.outcome in (Outcome.HANG, Outcome.CRASH):
        return result.outcome.value
    return f"{result.outcome.value}: {lines[-1].strip()[:200]}"
