"""A place of its own for each test, so programs of other tests are not seen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from programs import Programs

if sys.platform == "win32":
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the entries of programs that this test starts will be."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    return runtime / "tines"


@pytest.fixture
def programs(place: Path) -> Iterator[Programs]:
    """Starts programs, and ends them."""
    with Programs() as started:
        yield started
