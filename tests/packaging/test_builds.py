"""The package builds with a compiler, without one, and without the native core if asked.

The builds run in a copy of the tree, with the backend that pip would call, and without a network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("LICENSE", "MANIFEST.in", "README.md", "native", "pyproject.toml", "setup.py", "src")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
SDIST = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"

FOR_DEVELOPERS_ONLY = {".editorconfig", ".gitignore", ".pre-commit-config.yaml"}
"""What a checkout has and a source distribution need not have."""

linux_only = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the native core is built on Linux only"
)


def _has_backend() -> bool:
    try:
        return int(version("setuptools").split(".")[0]) >= 77
    except PackageNotFoundError:
        return False


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _has_backend(), reason="building needs setuptools 77 or later"),
    pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="not run from a source tree"),
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what a source distribution holds, with nothing built in it."""
    copy = tmp_path / "tree"
    copy.mkdir()
    ignored = shutil.ignore_patterns("*.so", "*.egg-info", "__pycache__")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=ignored)
        else:
            shutil.copy2(source, copy / part)
    return copy


def build(tree: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build a wheel in ``tree/wheels``."""
    settings = {name: text for name, text in os.environ.items() if not name.startswith("TINES_")}
    return subprocess.run(
        [sys.executable, "-c", BUILD, str(tree / "wheels")],
        cwd=tree,
        env={**settings, **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=100,
    )


def wheel(tree: Path) -> Path:
    """Return the one wheel that was built."""
    (found,) = (tree / "wheels").glob("*.whl")
    return found


def extension_in(names: list[str]) -> bool:
    """Whether one of the files of a wheel is the native core."""
    return any(name.startswith("tines/_native") and name.endswith(".so") for name in names)


def transport_of(wheel: Path, directory: Path) -> str:
    """Unpack a wheel, and say which transport tines takes when it is run from there."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    settings = {name: text for name, text in os.environ.items() if not name.startswith("TINES_")}
    finished = subprocess.run(
        [sys.executable, "-c", "from tines import transport; print(transport.choice().name)"],
        env={**settings, "PYTHONPATH": str(directory)},
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return finished.stdout.strip()


@linux_only
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_with_a_compiler(tree: Path, tmp_path: Path) -> None:
    built = build(tree, TINES_NATIVE="require")
    assert built.returncode == 0, built.stderr
    names = zipfile.ZipFile(wheel(tree)).namelist()
    assert extension_in(names)
    assert "tines/py.typed" in names
    assert transport_of(wheel(tree), tmp_path / "site") == "ring"


@linux_only
def test_without_a_compiler(tree: Path, tmp_path: Path) -> None:
    built = build(tree, CC="no-such-compiler")
    assert built.returncode == 0, built.stderr
    names = zipfile.ZipFile(wheel(tree)).namelist()
    assert not extension_in(names)
    assert transport_of(wheel(tree), tmp_path / "site") == "pipe"


@linux_only
def test_a_required_core_that_does_not_build_is_an_error(tree: Path) -> None:
    built = build(tree, CC="no-such-compiler", TINES_NATIVE="require")
    assert built.returncode != 0
    assert "no-such-compiler" in built.stderr


def test_switched_off(tree: Path, tmp_path: Path) -> None:
    built = build(tree, TINES_NATIVE="off")
    assert built.returncode == 0, built.stderr
    assert wheel(tree).name.endswith("-py3-none-any.whl")
    assert transport_of(wheel(tree), tmp_path / "site") == "pipe"


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not run from a checkout")
def test_a_source_distribution_has_all_that_its_tests_and_pages_need(tmp_path: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tracked = {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}
    copy = tmp_path / "tree"
    for name in tracked:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    made = subprocess.run(
        [sys.executable, "-c", SDIST, str(tmp_path)],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert made.returncode == 0, made.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as unpacked:
        names = {name.partition("/")[2] for name in unpacked.getnames()}
    absent = {name for name in tracked - names if not name.startswith(".github/")}
    assert absent <= FOR_DEVELOPERS_ONLY


@pytest.mark.parametrize("name", ["TINES_NATIVE", "TINES_BUILD"])
def test_an_unknown_setting_is_named(tree: Path, name: str) -> None:
    built = build(tree, **{name: "maybe"})
    assert built.returncode != 0
    assert f"{name}='maybe' is not known: use one of" in built.stderr
