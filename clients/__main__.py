"""``python -m clients``: run the programs of the table; exit code 1 if anything differs."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from clients import trial
from clients.client import METHODS, Client, Side
from clients.environments import Environments, Missing
from clients.outcome import Outcome, differences, shows_nothing
from clients.table import TABLE

OURS = (Side.RING, Side.PIPE)


@dataclass(frozen=True)
class Run:
    """A client on one transport with one start method, and in what it differed."""

    method: str
    side: Side
    seconds: float
    standard: float
    different: tuple[str, ...]
    tries: int
    said: str


@dataclass(frozen=True)
class Judged:
    """A client, and what became of it."""

    client: Client
    version: str
    runs: tuple[Run, ...] = ()
    missing: str = ""
    broken: str = ""
    said: str = ""

    @property
    def verdict(self) -> str:
        """In one word."""
        if self.missing:
            return "not run"
        if self.broken:
            return "broken"
        return "differs" if any(run.different for run in self.runs) else "same"


def main() -> int:
    """Run the command line; return the exit code."""
    arguments = _arguments()
    chosen = [one for one in TABLE if not arguments.names or one.name in arguments.names]
    if arguments.list:
        for client in chosen:
            print(f"{client.name:<24} {' '.join(client.command)}")
        return 0
    environments = Environments(install=arguments.install)
    judged = []
    for client in chosen:
        judged.append(_judge(client, environments, arguments))
        print(_text(judged[-1], arguments.verbose), flush=True)
    counts = Counter(one.verdict for one in judged)
    ran = counts["same"] + counts["differs"]
    runs = sum(len(one.runs) for one in judged)
    print(
        f"clients: {ran} run in {runs} settings, {counts['same']} same, {counts['differs']} differ, "
        f"{counts['broken']} broken, {counts['not run']} not run; Python {sys.version.split()[0]}"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps([_data(one) for one in judged], indent=1))
    return int(counts["differs"] + counts["broken"] > 0 or not ran)


def _judge(client: Client, environments: Environments, arguments: argparse.Namespace) -> Judged:
    try:
        if why := client.why_not_here():
            raise Missing(why)
        python = environments.python(client)
        sources = environments.sources(client) if client.sources else None
    except Missing as missing:
        return Judged(client, "", missing=str(missing))
    runs = []
    for method in client.methods:
        if arguments.method and method in METHODS and method != arguments.method:
            continue
        standard = trial.run(client, Side.STANDARD, method, python, sources)
        if why := shows_nothing(standard, client.compare.exit_code):
            return Judged(client, environments.version(client), broken=why, said=standard.said)
        for side in arguments.sides:
            for tries in (1, 2):  # noqa: B007 - the last one is told
                ours = trial.run(client, side, method, python, sources)
                different = differences(standard, ours)
                # A second chance, but not for one that hung: on a busy machine programs with a
                # clock in them differ by chance.
                if not different or not arguments.retry or ours.exit_code is None:
                    break
            runs.append(_run(method, side, standard, ours, different, tries))
    return Judged(client, environments.version(client), tuple(runs))


def _run(
    method: str, side: Side, standard: Outcome, ours: Outcome, different: list[str], tries: int
) -> Run:
    said = ours.said if different else ""
    return Run(method, side, ours.seconds, standard.seconds, tuple(different), tries, said)


def _text(judged: Judged, verbose: bool) -> str:
    name = f"{judged.client.name} {judged.version}".rstrip()
    if judged.missing or judged.broken:
        said = [f"        | {line}" for line in judged.said.strip().splitlines() if verbose]
        why = judged.missing or judged.broken
        return "\n".join([f"{judged.verdict:<8} {name:<32} {why}", *said])
    times = ", ".join(
        f"{run.method} {run.side.value} {run.seconds:.1f} s ({run.standard:.1f})"
        + (" second try" if run.tries > 1 and not run.different else "")
        for run in judged.runs
    )
    lines = [f"{judged.verdict:<8} {name:<32} {times}"]
    for run in judged.runs:
        lines += [f"    {run.method}, {run.side.value}: {what}" for what in run.different]
        if verbose and run.said:
            lines += [f"        | {line}" for line in run.said.strip().splitlines()]
    return "\n".join(lines)


def _data(judged: Judged) -> dict[str, object]:
    return {
        "client": judged.client.name,
        "version": judged.version,
        "verdict": judged.verdict,
        "missing": judged.missing or judged.broken,
        "runs": [{**asdict(run), "side": run.side.value} for run in judged.runs],
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m clients", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these; all of the table")
    parser.add_argument("--list", action="store_true", help="print the table and end")
    parser.add_argument(
        "--transport",
        dest="sides",
        action="append",
        type=Side,
        choices=OURS,
        metavar="ring|pipe",
        help="only this one; both",
    )
    parser.add_argument(
        "--method", choices=METHODS, help="only this start method, where it matters"
    )
    parser.add_argument(
        "--no-install", dest="install", action="store_false", help="only with what is there"
    )
    parser.add_argument("--no-retry", dest="retry", action="store_false", help="no second chance")
    parser.add_argument("--json", type=Path, help="write everything there")
    parser.add_argument("-v", "--verbose", action="store_true", help="print what programs wrote")
    arguments = parser.parse_args()
    arguments.sides = arguments.sides or list(OURS)
    unknown = set(arguments.names) - {client.name for client in TABLE}
    if unknown:
        parser.error(f"no client is called {', '.join(sorted(unknown))}: see --list")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
