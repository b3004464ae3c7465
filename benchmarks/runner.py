"""Runs cases: each in a fresh process with a time limit, the peers of a variant taking turns.

For each variant the rounds go A B C, A B C, so that a disturbance or a drift of the machine meets
all peers alike. A case that hangs twice in a row is not run again; one that matters for no bar is not
run again after it has hung once, or has taken long.
"""

from __future__ import annotations

import compileall
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks import load, peers
from benchmarks.model import Run, Status
from benchmarks.plan import Case, Plan

__all__ = ["ROOT", "compile_sources", "probe", "run_case", "run_plan"]

ROOT = Path(__file__).resolve().parent.parent
PROBE_SECONDS = 60.0
HANGS = 2
LONG = 5.0
"""Seconds of one run: where a peer takes longer, and no bar needs it, one round has to do."""
GRACE = 2.0
"""Seconds that processes of a case may outlive it without being counted as left behind."""

SINGLE_THREADED = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Threads of numeric libraries would compete with the workers, for all peers alike."""

Outcome = tuple[dict[str, Any], load.Meter, int]


def _environment(peer: str, mark: str) -> dict[str, str]:
    extra = {} if peer.startswith("limit:") else dict(peers.find(peer).environment)
    return {**os.environ, **SINGLE_THREADED, "PYTHONHASHSEED": "0", **extra, load.MARK: mark}


def _has_daemons(peer: str) -> bool:
    return not peer.startswith("limit:") and peers.find(peer).has_daemons


def _carry_out(order: dict[str, Any], seconds: float) -> Outcome:
    """Run ``benchmarks.case`` on one order: its answer, the meter, what it left behind."""
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as scratch:
        order_file, answer_file, log = (Path(scratch, name) for name in ("order", "answer", "log"))
        order_file.write_text(json.dumps(order))
        before = load.children()
        meter = load.Meter()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.case", str(order_file), str(answer_file)],
                cwd=ROOT,
                env=_environment(order["peer"], mark),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(seconds)
                hung = False
            except subprocess.TimeoutExpired:
                hung = True
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
                left_behind = load.end_left_behind(mark, before, 0.0 if hung else GRACE)
        answer = json.loads(answer_file.read_text()) if answer_file.exists() else None
        if hung:
            finished = "the work was done, but the process did not exit" if answer else "no result"
            answer = {"status": "hang", "detail": f"{finished} within {seconds:g} s"}
            left_behind = 0
        elif answer is None:
            detail = f"exit code {process.returncode}: {_last_line(log)}"
            answer = {"status": "crash", "detail": detail}
    return answer, meter, left_behind


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"


def compile_sources() -> None:
    """Compile tines and the benchmarks, as pip does with what it installs.

    The peers come compiled; a tines that is run from its sources would be compiled in each child.
    """
    spec = importlib.util.find_spec("tines")
    installed = list(spec.submodule_search_locations or ()) if spec is not None else []
    for directory in (*installed, ROOT / "benchmarks"):
        compileall.compile_dir(directory, quiet=2)


def probe(peer: str) -> tuple[bool, str]:
    """Whether a peer can be used here: its version, or why not."""
    answer, _, _ = _carry_out({"what": "probe", "peer": peer}, PROBE_SECONDS)
    usable = answer["status"] == "ok"
    return usable, answer["version"] if usable else answer["detail"]


def run_case(case: Case, round_number: int, limit: float | None = None) -> Run:
    """Run one case once. Never raises for anything that the peer does."""
    order = {
        "what": "measure",
        "subject": case.subject,
        "peer": case.peer,
        "params": dict(case.params),
        "metric": case.variant.metrics[0].name,
        "round": round_number,
    }
    answer, meter, left_behind = _carry_out(order, limit or case.variant.seconds)
    run = Run(
        subject=case.subject,
        variant=case.variant.name,
        peer=case.peer,
        round=round_number,
        status=Status(answer["status"]),
        metrics=answer.get("metrics", {}),
        detail=answer.get("detail", ""),
        seconds=round(meter.seconds(), 2),
        other_load=None if _has_daemons(case.peer) else meter.other_load(),
        left_behind=left_behind,
    )
    return run if run.status is Status.OK else replace(run, metrics={})


def _is_enough(case: Case, run: Run, hangs: int) -> bool:
    """Whether a case need not be run again; ``hangs`` is how many of its last runs hung."""
    if run.status is Status.UNSUPPORTED or hangs == HANGS:
        return True
    return not case.matters and (hangs > 0 or run.seconds > LONG)


def run_plan(
    plan: Plan,
    limit: float | None = None,
    before: Callable[[Case], None] = lambda case: None,
    done: Mapping[tuple[str, str, str, int], Run] = MappingProxyType({}),
    cache_line: Callable[[], float | None] = lambda: None,
) -> Iterator[Run]:
    """Run everything, yielding each run as it ends.

    Args:
        plan: What to run.
        limit: Overrides the time limit of every variant.
        before: Called before each case.
        done: Runs by subject, variant, peer and round that there are already: they count, and are
            not made again.
        cache_line: Measures a cache line's round trip, before each run.
    """
    load.become_subreaper()
    for group in plan.groups():
        given_up: set[str] = set()
        hangs: dict[str, int] = {}
        for round_number in range(plan.rounds):
            for case in group:
                if round_number >= case.rounds or case.peer in given_up:
                    continue
                run = done.get((case.subject, case.variant.name, case.peer, round_number))
                if is_new := run is None:
                    before(case)
                    nanoseconds = cache_line()
                    run = replace(run_case(case, round_number, limit), cache_line_ns=nanoseconds)
                hangs[case.peer] = hangs.get(case.peer, 0) + 1 if run.status is Status.HANG else 0
                if _is_enough(case, run, hangs[case.peer]):
                    given_up.add(case.peer)
                if is_new:
                    yield run
