"""What the tests of the native core share: where things are, and builds of another kind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

STEPS = [
    "put_locked",
    "reserved",
    "chunk_linked",
    "half_written",
    "before_commit",
    "after_commit",
    "get_locked",
    "leased",
    "taken",
    "handed_over",
    "chunk_left",
    "allocating",
    "allocated",
    "freeing",
    "freed",
    "before_wake",
    "collecting",
    "populated",
    "inheriting",
    "sent_some",
]
"""Of the ring: where ``programs/kill_steps.py`` kills."""

LOCK_STEPS = [
    "held",
    "inherited",
    "releasing",
    "released",
    "listed",
    "notified",
    "passing_on",
    "leaving",
]
"""Of the primitives: native/tests/locks.c kills at each of them, and says so if it did not."""


def build_overlay(directory: Path, build: str) -> Path:
    """Build the extension in another way; return a directory to put first on PYTHONPATH.

    It holds the package as links to the sources, and this build in place of the usual one.
    """
    environment = {**os.environ, "TINES_NATIVE": "require", "TINES_BUILD": build}
    lib, temporary = str(directory / "lib"), str(directory / "objects")
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "-b", lib, "-t", temporary],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=100,
    )
    assert done.returncode == 0, f"the {build} build failed: {done.stderr}"
    package = directory / "overlay" / "tines"
    package.mkdir(parents=True)
    for entry in (ROOT / "src" / "tines").iterdir():
        if entry.suffix != ".so" and entry.name != "__pycache__":
            (package / entry.name).symlink_to(entry)
    for built in (directory / "lib" / "tines").iterdir():
        shutil.copy2(built, package)
    return package.parent


Run = Callable[..., str]
"""Run one of the programs with the debug build; see the fixture ``run``."""
