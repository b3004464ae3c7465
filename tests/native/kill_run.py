"""Thousands of kills in one run: ``python tests/native/kill_run.py [--seconds 60] [--seed 1]``.

Builds the core for debugging, kills processes at each of its instrumented steps (``kill_steps``), then
at random moments for so many seconds (``random_kills``), and adds up the tallies. Ends with an error at
the first message that is lost, received twice or torn, block that is leaked, or process that hangs.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from native_tools import HERE, STEPS, build_overlay

PASSES = (1, 2, 3, 5, 7, 11, 17, 23, 31, 47)
"""At which pass of its step a process dies."""
SLICE = 15
"""Seconds of random kills under one seed, which also decides the kind of ring."""


def run(overlay: Path, program: str, *arguments: object) -> Counter[str]:
    """Run one program with the debug build; return its tally."""
    path = os.pathsep.join((str(overlay), str(HERE)))
    done = subprocess.run(
        [sys.executable, "-m", f"programs.{program}", *map(str, arguments)],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": path, "TINES_NATIVE": "require"},
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        command = " ".join(map(str, (program, *arguments)))
        sys.exit(f"FAILED: {command}: {done.stdout}")
    found = re.findall(r"([a-z ]+)=(\d+)", done.stdout)
    return Counter({name.strip(): int(count) for name, count in found})


def show(what: str, tally: Counter[str], seconds: float) -> None:
    counts = " ".join(f"{name.replace(' ', '_')}={tally[name]}" for name in sorted(tally))
    print(f"{what}: {counts} ({seconds:.0f} s)", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="of random kills")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    total: Counter[str] = Counter()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tines-kills-") as directory:
        overlay = build_overlay(Path(directory), "debug")
        for step in STEPS:
            start = time.monotonic()
            tally = run(overlay, "kill_steps", step, *PASSES)
            show(f"at {step}", tally, time.monotonic() - start)
            total += tally
        for seed in range(options.seed, options.seed + max(1, options.seconds // SLICE)):
            tally = run(overlay, "random_kills", seed, min(SLICE, options.seconds))
            show(f"at random, seed {seed}", tally, SLICE)
            total += tally
    show("all", total, time.monotonic() - began)
    print("nothing lost, received twice, torn, hung or leaked")


if __name__ == "__main__":
    main()
