"""Programs for tests to look at: each says when it is ready, and ends when its input does."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from types import TracebackType

HEAD = """
import os, sys, time
import tines as mp

def wait(*ignored):
    time.sleep(1000)

def ready(*words):
    print("ready", *words, flush=True)
    sys.stdin.read()

def until(condition):
    while not condition():
        time.sleep(0.01)
"""

MAIN = 'if __name__ == "__main__":\n'

POOL = """
with mp.Pool(2) as pool:
    task = pool.apply_async(time.sleep, (1000,))
    until(lambda: pool.statistics().running)
    ready()
"""

QUEUE = """
queue = mp.Queue()
for number in range(5):
    queue.put(number)
queue.get()
ready()
"""


class Programs:
    """Keeps what it started, and ends it."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def start(self, body: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a program, and return when it is ready; its first line is in ``said``."""
        text = HEAD + MAIN + textwrap.indent(body, "    ")
        program = subprocess.Popen(
            [sys.executable, "-c", text, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._started.append(program)
        assert program.stdout is not None
        program.said = program.stdout.readline().split()  # type: ignore[attr-defined]
        assert program.said[:1] == ["ready"]  # type: ignore[attr-defined]
        return program

    def __enter__(self) -> Programs:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for program in self._started:
            program.kill()
            program.communicate()
