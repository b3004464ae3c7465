"""``python -m compat``: judge this interpreter's tests; exit code 1 if anything is worse."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from compat import judge, report, verdicts
from compat.judge import Outcome, Result, Subject, Task
from compat.suites import METHODS, Suite, Unavailable
from compat.verdicts import Exclusion, Judged, Verdict

OURS = (Subject.RUNNER, Subject.ALIAS)

RETRIED = (Outcome.FAIL, Outcome.HANG, Outcome.CRASH)


def main() -> int:
    """Run the command line; return the exit code."""
    arguments = _arguments()
    everything: dict[str, Any] = {}
    bad = False
    exclusions = verdicts.read_exclusions()
    all_judged: list[Judged] = []
    for suite, method in itertools.product(arguments.suites, arguments.methods):
        try:
            baseline = asyncio.run(_baseline(suite, method, arguments))
        except Unavailable as why:
            print(f"{suite.value}, {method}: not judged: {why}", flush=True)
            continue
        for subject in arguments.subjects:
            if suite is Suite.MAIN and subject is Subject.ALIAS:
                continue  # all of its tests start programs
            title = f"{suite.value}, {method}, {subject.value}"
            judged = asyncio.run(_judge(subject, suite, method, baseline, exclusions, arguments))
            print(report.text(title, judged, verbose=arguments.verbose), flush=True)
            everything[title] = report.data(judged)
            all_judged += judged
            bad |= any(one.verdict in (Verdict.REGRESSION, Verdict.HANG) for one in judged)
    for exclusion in verdicts.needless(exclusions, all_judged):
        print(f"compat: passes, and need not be excluded: {exclusion.pattern}")
    if arguments.json:
        arguments.json.write_text(json.dumps(everything, indent=1))
    return int(bad)


async def _baseline(suite: Suite, method: str, arguments: argparse.Namespace) -> dict[str, Result]:
    """Return what becomes of the tests on the standard library."""
    standard = Task(Subject.STANDARD, suite, method, arguments.limit)
    names = [
        name
        for name in await judge.collect(standard)
        if any(text in name for text in arguments.k or [""])
    ]
    jobs = asyncio.Semaphore(arguments.jobs)
    return await judge.run(standard, names, shards=_shards(names, arguments), jobs=jobs)


async def _judge(
    subject: Subject,
    suite: Suite,
    method: str,
    baseline: dict[str, Result],
    exclusions: list[Exclusion],
    arguments: argparse.Namespace,
) -> list[Judged]:
    ours = Task(subject, suite, method, arguments.limit)
    jobs = asyncio.Semaphore(arguments.jobs)
    shards = _shards(baseline, arguments)
    passed = [name for name, was in baseline.items() if was.outcome is Outcome.PASS]
    # What is excluded runs apart: where it fails it may leave behind what others stumble over.
    apart = [name for name in passed if any(one.covers(name) for one in exclusions)]
    together = [name for name in passed if name not in apart]
    results = await judge.run(ours, together, shards=shards, jobs=jobs)
    results |= await judge.run(ours, apart, shards=shards, jobs=jobs)
    again = [name for name in together if results[name].outcome in RETRIED]
    # A second chance, alone: on a busy machine tests with a clock in them fail by chance.
    for name in again if arguments.retry else ():
        second = (await judge.run(ours, [name], shards=1, jobs=jobs))[name]
        if second.outcome is Outcome.PASS:
            results[name] = Result(Outcome.PASS, f"{report.FLAKY}{results[name].detail}")
    return verdicts.compare(baseline, results, exclusions)


def _shards(names: Collection[str], arguments: argparse.Namespace) -> int:
    shards: int = max(arguments.jobs, min(arguments.shards, len(names)))
    return shards


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m compat", description=__doc__)
    parser.add_argument("--method", dest="methods", action="append", choices=METHODS)
    parser.add_argument(
        "--suite",
        dest="suites",
        action="append",
        type=Suite,
        metavar="SUITE",
        help=", ".join(suite.value for suite in Suite),
    )
    parser.add_argument(
        "--subject",
        dest="subjects",
        action="append",
        type=Subject,
        metavar="SUBJECT",
        help="; ".join(subject.value for subject in OURS),
    )
    parser.add_argument(
        "-k",
        action="append",
        metavar="TEXT",
        help="only tests with this (or another) in their name",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--shards", type=int, default=16, help="processes in all, for each run")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for each test")
    parser.add_argument("--no-retry", dest="retry", action="store_false", help="no second chance")
    parser.add_argument("--json", type=Path, help="write everything there")
    parser.add_argument("-v", "--verbose", action="store_true", help="print tracebacks and reasons")
    arguments = parser.parse_args()
    arguments.methods = arguments.methods or list(METHODS)
    arguments.suites = arguments.suites or list(Suite)
    arguments.subjects = arguments.subjects or list(OURS)
    return arguments


if __name__ == "__main__":
    sys.exit(main())
