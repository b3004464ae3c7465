"""The process around the rigs: gives them the false wall clock, and ends them if they hang.

The rigs run in a child of this process, in a session of its own. When they are still there long after
their time, every process of that session writes its stacks (``faulthandler``, upon SIGABRT) and is
killed: a hang is a failure that shows where everybody stood, also where somebody waits in C with the
GIL held.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["CLOCK", "clock_in_force", "run"]

CLOCK = "TINES_CHAOS_CLOCK"
"""Set for the rigs: what is the matter with the wall clock."""

HUNG = 3
TIME_TO_DUMP = 5.0


def run(arguments: list[str], limit: float) -> int:
    """Run ``python -m chaos`` with these arguments under guard; return its exit code."""
    with tempfile.TemporaryDirectory(prefix="tines-chaos-") as directory:
        environment = {**os.environ, "PYTHONFAULTHANDLER": "1", **_false_clock(Path(directory))}
        process = subprocess.Popen(
            [sys.executable, "-m", "chaos", *arguments], env=environment, start_new_session=True
        )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            print(f"chaos: HUNG: still running after {limit:.0f} s", file=sys.stderr, flush=True)
            _dump_and_end(process)
            return HUNG
        except KeyboardInterrupt:
            _dump_and_end(process)
            return 130


def clock_in_force() -> str:
    """What is the matter with the wall clock of this process, in words; mocks it if nothing is yet.

    The mock reaches Python code only, and only in this process and those that are forked from it.
    """
    given = os.environ[CLOCK]
    if given != "mocked":
        return given
    chance, true = __import__("random").Random(0), time.time
    time.time = lambda: true() + chance.uniform(-86400, 86400)
    return "time.time() is wrong by up to a day, as there is no compiler for more"


def _false_clock(directory: Path) -> dict[str, str]:
    """Build the clock, if that can be done here; return what makes a process use it."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    library = directory / "clock.so"
    if compiler is None or not sys.platform.startswith("linux") or "LD_PRELOAD" in os.environ:
        return {CLOCK: "mocked"}
    source = str(Path(__file__).with_name("clock.c"))
    built = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), source], check=False
    )
    if built.returncode:
        return {CLOCK: "mocked"}
    return {CLOCK: "wrong by up to a day at each look", "LD_PRELOAD": str(library)}


def _session(leader: int) -> list[int]:
    """The processes of a session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getsid(int(entry.name)) == leader:
                found.append(int(entry.name))
    return found


def _dump_and_end(process: subprocess.Popen[bytes]) -> None:
    for signum in (signal.SIGABRT, signal.SIGCONT, signal.SIGKILL):
        for pid in _session(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signum)
        if signum is signal.SIGCONT:  # a stopped one writes only when it goes on
            with suppress(subprocess.TimeoutExpired):
                process.wait(TIME_TO_DUMP)
    process.wait()
