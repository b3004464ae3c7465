"""The native core on the rack: debug builds that can be told to die, and programs that do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from native_tools import HERE, ROOT, Run, build_overlay


@pytest.fixture(scope="session")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A debug build of the core."""
    pytest.importorskip("setuptools")
    if not (ROOT / "setup.py").exists():
        pytest.skip("not run from a source tree")
    return build_overlay(tmp_path_factory.mktemp("debug"), "debug")


@pytest.fixture
def run(overlay: Path) -> Run:
    """Run one of the programs with the debug build; return what it printed. It must end well."""

    def run(program: str, *arguments: object, timeout: float = 55) -> str:
        path = os.pathsep.join((str(overlay), str(HERE)))
        done = subprocess.run(
            [sys.executable, "-m", f"programs.{program}", *map(str, arguments)],
            cwd=HERE,
            env={**os.environ, "PYTHONPATH": path, "TINES_NATIVE": "require"},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )
        assert done.returncode == 0, f"{program} {arguments}: {done.stdout}{done.stderr[-4000:]}"
        return done.stdout

    return run


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """The core is for Linux."""
    return None if sys.platform.startswith("linux") else True
