"""Says in words, or as data, what was judged."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from typing import Any

from compat.verdicts import Judged, Verdict

__all__ = ["FLAKY", "data", "text"]

FLAKY = "passed in the second attempt, alone; first:\n"


def text(title: str, judged: Sequence[Judged], *, verbose: bool = False) -> str:
    """Return counts, then each regression and hang with its headline."""
    counts = Counter(one.verdict for one in judged)
    flaky = [one for one in judged if one.result.detail.startswith(FLAKY)]
    lines = [
        f"{title}, CPython {platform.python_version()}: "
        + ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict)
    ]
    for one in judged:
        if one.verdict in (Verdict.REGRESSION, Verdict.HANG):
            lines.append(f"  {one.verdict.value:<11} {one.test}: {one.why}")
            if verbose:
                lines += [f"      {line}" for line in one.result.detail.splitlines()]
        elif one.verdict is Verdict.EXCLUDED and verbose:
            lines.append(f"  {one.verdict.value:<11} {one.test}: {one.why}")
    lines += [f"  second try  {one.test}" for one in flaky]
    return "\n".join(lines)


def data(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return everything, for other programs."""
    return [
        {
            "test": one.test,
            "verdict": one.verdict.value,
            "baseline": one.baseline.outcome.value,
            "outcome": one.result.outcome.value,
            "why": one.why,
            "detail": one.result.detail,
        }
        for one in judged
    ]
