"""Programs that are run twice: by the interpreter itself, and by ``python -m tines``."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Both", "Ended"]


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    code: int
    out: str
    err: str


class Both:
    """Runs one command line with and without tines, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def run(self, *arguments: str, stdin: str = "", options: tuple[str, ...] = ()) -> Ended:
        """Run ``python -m tines ARGUMENTS``; ``options`` are the interpreter's."""
        return self._run([*options, "-m", "tines", *arguments], stdin)

    def plain(self, *arguments: str, stdin: str = "", options: tuple[str, ...] = ()) -> Ended:
        """Run ``python ARGUMENTS``."""
        return self._run([*options, *arguments], stdin)

    def same(self, *arguments: str, stdin: str = "") -> Ended:
        """Run both; output, errors and exit code must be the same."""
        theirs, ours = self.plain(*arguments, stdin=stdin), self.run(*arguments, stdin=stdin)
        assert ours == theirs
        return ours

    def _run(self, arguments: list[str], stdin: str) -> Ended:
        done = subprocess.run(
            [sys.executable, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=50,
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        return Ended(done.returncode, done.stdout, done.stderr)
