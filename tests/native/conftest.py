"""The native core on the rack: debug builds that can be told to die, and programs that do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


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


@pytest.fixture(scope="session")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A debug build of the core."""
    pytest.importorskip("setuptools")
    if not (ROOT / "setup.py").exists():
        pytest.skip("not run from a source tree")
    return build_overlay(tmp_path_factory.mktemp("debug"), "debug")


Run = Callable[..., str]


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
