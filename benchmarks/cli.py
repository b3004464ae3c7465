"""The command line.

* ``python -m benchmarks [SUBJECT ...] [--peers A,B] [--rounds N] [--quick]`` measures;
* ``python -m benchmarks report [FILE ...]`` makes tables and charts of what was measured;
* ``python -m benchmarks list`` says what there is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from benchmarks import goals, limits, load, machine, peers, runner, subjects
from benchmarks.cache_line import CacheLine
from benchmarks.model import Run, Status
from benchmarks.plan import Case, Plan, make_plan, seconds_of
from benchmarks.report import documents, figures, tables
from benchmarks.results import Results, VariantInfo
from benchmarks.summary import Table, is_disturbed
from benchmarks.summary import tables as summarise

__all__ = ["main"]

RESULTS = runner.ROOT / "benchmarks" / "results"
ROUNDS, QUICK_ROUNDS = 5, 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("subjects", nargs="*", help="beginnings of names; all if none is given")
    parser.add_argument("--peers", default="", help="names or patterns, with commas between")
    parser.add_argument("--variant", default="*", help="a pattern for the variants' names")
    parser.add_argument(
        "--rounds",
        type=int,
        help=f"{ROUNDS}, or {QUICK_ROUNDS} with --quick; fewer for peers that neither a bar nor "
        "--peers names",
    )
    parser.add_argument("--quick", action="store_true", help="under two minutes; is not reported")
    parser.add_argument("--goals", action="store_true", help="only the peers that the bars name")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="add to a results file")
    parser.add_argument(
        "--redo", action="store_true", help="with --resume: again what had other load beside it"
    )
    parser.add_argument("--dry-run", action="store_true", help="say how long it will take")
    parser.add_argument("--limit", type=float, help="seconds for one run, for all variants")
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    return parser


def _stamp() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _say(text: str = "") -> None:
    print(text, flush=True)


def _describe_run(run: Run, case: Case) -> str:
    where = f"{run.subject} {run.variant}, round {run.round + 1}, {run.peer}"
    noise = f"  [other load: {run.other_load:.2f} cores]" if is_disturbed(run) else ""
    if run.status is not Status.OK:
        return f"{where}: {run.status.value.upper()} {run.detail}{noise}"
    shown = "  ".join(
        f"{figures.number(run.metrics[metric.name])} {metric.unit}"
        for metric in case.variant.metrics
        if metric.name in run.metrics
    )
    line = "" if run.cache_line_ns is None else f"  [cache line: {run.cache_line_ns:.0f} ns]"
    return f"{where}: {shown}{line}{noise}"


def _probe(plan: Plan, results: Results) -> Plan:
    """Leave out peers that cannot be used, and take down why."""
    usable = []
    needed = {case.peer for group in plan.groups() for case in group}
    for name in filter(needed.__contains__, plan.peers):
        ok, text = runner.probe(name)
        if ok:
            usable.append(name)
            results.versions[name] = text
        else:
            results.unavailable[name] = text
            _say(f"{name} is left out: {text}")
        results.titles[name] = peers.find(name).title
    results.titles.update({f"limit:{item.name}": item.title for item in limits.LIMITS.values()})
    return replace(plan, peers=tuple(usable))


def _measure(plan: Plan, results: Results, limit: float | None, out: Path) -> None:
    info = {
        (subject.name, variant.name): VariantInfo(
            subject.name, subject.title, subject.text, variant.name, variant.title, variant.metrics
        )
        for subject in plan.subjects
        for variant in subject.variants
    }
    known = {(item.subject, item.name) for item in results.variants}
    done = {(run.subject, run.variant, run.peer, run.round): run for run in results.runs}
    current: list[Case] = []
    with CacheLine() as line:
        for run in runner.run_plan(plan, limit, current.append, done, line.nanoseconds):
            key = (run.subject, run.variant)
            if key not in known:
                known.add(key)
                results.variants.append(info[key])
            results.runs.append(run)
            results.save(out)  # so that whatever ends the program loses nothing
            _say(_describe_run(run, current[-1]))


def _new_results(options: argparse.Namespace, plan: Plan) -> Results:
    """Results with nothing in them, or those of the file that is to be added to.

    Raises:
        ValueError: that file was made from another commit, on another machine, or with ``--quick``.
    """
    results = Results(
        started=_stamp(),
        command=sys.argv[1:],
        rounds=plan.rounds,
        quick=plan.quick,
        machine=machine.describe(),
        source=machine.commit(runner.ROOT),
    )
    if options.resume is None or not options.resume.exists():
        return results
    before = Results.load_file(options.resume)
    for name in ("source", "machine", "quick"):
        ours, theirs = getattr(results, name), getattr(before, name)
        if ours != theirs:
            raise ValueError(f"{options.resume} has another {name}: {theirs}, and not {ours}")
    if options.redo:
        before.runs = [run for run in before.runs if not is_disturbed(run)]
    before.rounds = max(before.rounds, plan.rounds)
    return before


def _say_duration(plan: Plan) -> int:
    """What ``--dry-run`` does: minutes for each variant, from the newest runs that there are."""
    known: dict[tuple[str, str, str], float] = {}
    for one in sorted(map(Results.load_file, RESULTS.glob("*.json")), key=lambda one: one.started):
        for run in one.runs:
            known[run.subject, run.variant, run.peer] = run.seconds
    total = 0.0
    for group in plan.groups():
        seconds = sum(case.rounds * seconds_of(case, known) for case in group)
        guessed = sum((case.subject, case.variant.name, case.peer) not in known for case in group)
        who = ", ".join(f"{case.peer} x{case.rounds}" for case in group)
        _say(
            f"{group[0].subject} {group[0].variant.name}: {seconds / 60:.1f} min, "
            f"{guessed} of {len(group)} guessed: {who}"
        )
        total += seconds
    _say(f"all: {total / 60:.0f} min")
    return 0


def _say_closing(table: Table) -> None:
    """One line for a variant: tines, and how many times better than the standard library."""
    row, metric = table.row("tines"), table.primary
    if row is not None and metric.name in row.estimates:
        own = figures.number(row.estimates[metric.name].median)
        ratio = "" if row.ratio is None else f", {row.ratio:.2f}x the standard library"
        _say(f"closing: {table.info.subject} {table.info.name}: {own} {metric.unit}{ratio}")


def _run(options: argparse.Namespace) -> int:
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    terms = [term for term in options.peers.split(",") if term]
    plan = make_plan(options.subjects, terms, options.variant, rounds, options.quick, options.goals)
    if options.dry_run:
        return _say_duration(plan)
    results = _new_results(options, plan)
    name = results.started.replace(":", "") + ("-quick" if options.quick else "")
    out = options.out or options.resume or RESULTS / f"{name}.json"
    results.load["before"] = load.loadavg()
    if results.load["before"] and results.load["before"][0] >= 0.5:
        _say(f"other programs are running: the load average is {results.load['before'][0]}")
    runner.compile_sources()
    try:
        _measure(_probe(plan, results), results, options.limit, out)
    finally:
        results.finished, results.load["after"] = _stamp(), load.loadavg()
        results.save(out)
    made = summarise(results)
    for table in made:
        _say(f"\n{table.info.subject_title}: {table.info.title}\n\n{tables.variant_table(table)}")
    for table in made:
        _say_closing(table)
    disturbed = sum(is_disturbed(run) for run in results.runs)
    _say(f"{len(results.runs)} runs, {disturbed} of them with other load beside them; {out}")
    failed = {Status.WRONG, Status.ERROR, Status.CRASH, Status.HANG}
    ours = [run for run in results.runs if run.peer.startswith("tines") and run.status in failed]
    return 1 if ours else 0


def _report(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks report", description="Make tables and charts of results."
    )
    parser.add_argument("files", nargs="*", type=Path, help="results; all that are kept, if none")
    paths = parser.parse_args(arguments).files or sorted(RESULTS.glob("*.json"))
    results = [Results.load_file(path) for path in paths]
    for path in documents.write(results, runner.ROOT):
        _say(str(path.relative_to(runner.ROOT)))
    chosen = documents.newest_per_subject(results)
    verdicts = goals.check([table for _, made in chosen.values() for table in made])
    _say(f"{sum(item.reached for item in verdicts)} of {len(verdicts)} bars are reached")
    return 0


def _list() -> int:
    for name in subjects.MODULES:
        subject = subjects.find(name)
        _say(f"{name}: {', '.join(variant.name for variant in subject.variants)}")
    _say(f"peers: {', '.join(peers.catalogue())}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; 1 if a case of tines failed, 2 for bad arguments."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["report"]:
            return _report(given[1:])
        if given[:1] == ["list"]:
            return _list()
        return _run(_parser().parse_args(given))
    except ValueError as error:
        print(f"python -m benchmarks: {error}", file=sys.stderr)
        return 2
