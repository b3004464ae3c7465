"""How far apart the machine's cores are: the round trip of a cache line between two of them.

Between two cores that share a cache it is some 100 ns, between others several times that, and a
virtual machine may be moved from the one to the other at any time. What passes small messages
between processes is as fast as that lets it be, so the figure is taken before every single run.

The measuring is done by a C program (``cache_line.c``), as an interpreter is too slow to see it.
Where there is no C compiler, or no Linux, the figure is left out.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["CacheLine"]

SOURCE = Path(__file__).with_suffix(".c")
LIMIT_SECONDS = 60.0


def _output(command: list[str]) -> str | None:
    """What a program prints, or ``None`` if it cannot be run or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=LIMIT_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


class CacheLine:
    """Context manager around the compiled program, which is gone afterwards."""

    def __enter__(self) -> CacheLine:
        self._directory = tempfile.TemporaryDirectory(prefix="benchmark-")
        self._program: Path | None = None
        if sys.platform == "linux":
            program = Path(self._directory.name, "cache-line")
            compiler = shlex.split(os.environ.get("CC", "cc"))
            if _output([*compiler, "-O2", "-o", str(program), str(SOURCE)]) is not None:
                self._program = program
        return self

    def __exit__(self, *_: object) -> None:
        self._directory.cleanup()

    def nanoseconds(self) -> float | None:
        """The median over pairs of cores; ``None`` if unknown, or if there is only one core."""
        if self._program is None:
            return None
        lines = (_output([str(self._program)]) or "").split()
        return statistics.median(map(float, lines)) if lines else None
