"""Draws ``docs/howto/report.svg``: what ``tines report`` says about a run that could do better.

Run it from the root of the repository: ``python docs/captures/report.py``.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

import tines
from tines.cli.report import render
from tines.tracing.analysis import analyse, read

OUTPUT = Path(__file__).resolve().parents[1] / "howto" / "report.svg"
WIDTH = 110


def digest(size: int) -> str:
    """Work for as long as the input is large."""
    return hashlib.sha256(bytes(size)).hexdigest()


def fetch(number: int) -> int:
    """Wait, and once be killed."""
    time.sleep(0.002)
    marker = Path(tempfile.gettempdir(), f"tines-capture-{os.getppid()}")
    if number == 77 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def main() -> None:
    """Run it, and write the file."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "run.json")
        with tines.trace(path), tines.Pool(2, retries=1) as pool:
            pool.map(fetch, range(150), chunksize=1)
            # The largest comes last: one worker has nothing to do for most of the time.
            pool.map(digest, [300_000] * 150 + [400_000_000], chunksize=1)
        Path(tempfile.gettempdir(), f"tines-capture-{os.getpid()}").unlink(missing_ok=True)
        report = analyse(read(path))
    screen = Console(record=True, width=WIDTH, file=open(os.devnull, "w"))  # noqa: SIM115
    screen.print("[dim]$[/] tines report run.json --top 4", end="\n\n")
    render(report, screen, top=4)
    screen.save_svg(str(OUTPUT), title="tines report", unique_id="tines-report")
    print(f"{OUTPUT} written", file=sys.stderr)


if __name__ == "__main__":
    main()
