"""``python -m compat``: judge this interpreter's tests; exit code 1 if anything is worse."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from compat import judge, report, verdicts
from compat.judge import Outcome, Result, Subject, Task
from compat.suites import METHODS, Suite, Unavailable
from compat.verdicts import Judged, Verdict

RETRIED = (Outcome.FAIL, Outcome.HANG, Outcome.CRASH)


def main() -> int:
    """Run the command line; return the exit code."""
    arguments = _arguments()
    everything: dict[str, Any] = {}
    bad = False
    for suite in arguments.suites:
        for method in arguments.methods:
            title = f"{suite.value}, {method}"
            try:
                judged = asyncio.run(_judge(suite, method, arguments))
            except Unavailable as why:
                print(f"{title}: not judged: {why}", flush=True)
                break
            print(report.text(title, judged, verbose=arguments.verbose), flush=True)
            everything[title] = report.data(judged)
            bad |= any(one.verdict in (Verdict.REGRESSION, Verdict.HANG) for one in judged)
    if arguments.json:
        arguments.json.write_text(json.dumps(everything, indent=1))
    return int(bad)


async def _judge(suite: Suite, method: str, arguments: argparse.Namespace) -> list[Judged]:
    exclusions = verdicts.read_exclusions()
    jobs = asyncio.Semaphore(arguments.jobs)
    standard, ours = (Task(subject, suite, method, arguments.limit) for subject in Subject)
    names = [name for name in await judge.collect(standard) if arguments.k in name]
    shards = max(arguments.jobs, min(arguments.shards, len(names)))
    baseline = await judge.run(standard, names, shards=shards, jobs=jobs)
    passed = [name for name in names if baseline[name].outcome is Outcome.PASS]
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


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m compat", description=__doc__)
    parser.add_argument("--method", dest="methods", action="append", choices=METHODS)
    parser.add_argument(
        "--suite", dest="suites", action="append", type=Suite, help="multiprocessing or futures"
    )
    parser.add_argument("-k", default="", metavar="TEXT", help="only tests with this in their name")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--shards", type=int, default=16, help="processes in all, for each run")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for each test")
    parser.add_argument("--no-retry", dest="retry", action="store_false", help="no second chance")
    parser.add_argument("--json", type=Path, help="write everything there")
    parser.add_argument("-v", "--verbose", action="store_true", help="print tracebacks and reasons")
    arguments = parser.parse_args()
    arguments.methods = arguments.methods or list(METHODS)
    arguments.suites = arguments.suites or list(Suite)
    return arguments


if __name__ == "__main__":
    sys.exit(main())
