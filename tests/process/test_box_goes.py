"""The file of a child's outcome goes with those who have it open, however they end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.waiting import PATIENCE, wait_for

PROGRAM = """
import sys, time
import tines as mp

def live(queue):
    queue.put("here")
    time.sleep(1000)

if __name__ == "__main__":
    context = mp.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=live, args=(queue,), returns=True, daemon=True)
    process.start()
    print(queue.get(), flush=True)
    sys.stdin.read()
"""


def test_a_killed_program_leaves_no_file(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    place = tmp_path / "temporary"
    place.mkdir()
    names = dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(place))
    running = subprocess.Popen(
        [sys.executable, str(program)],
        env={**os.environ, **names},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stdout is not None and running.stdout.readline().strip() == "here"
    finally:
        running.kill()
        running.communicate(timeout=PATIENCE)
    # Its child ends as it notices that.
    wait_for(lambda: not [name for name in os.listdir(place) if "process" in name])
