"""Makes ``benchmarks`` and the faulty adapters importable, here and in the cases' processes."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

for place in (str(HERE), str(ROOT)):
    if place not in sys.path:
        sys.path.insert(0, place)


@pytest.fixture(autouse=True)
def no_subreaper_afterwards() -> Iterator[None]:
    """Undo what the runner does to the process it runs in.

    Here that is the whole session's: orphans of later tests would become its children, and stay as
    zombies where a test waits for them to go.
    """
    yield
    if sys.platform == "linux":
        from benchmarks.load import PR_SET_CHILD_SUBREAPER

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture(autouse=True)
def importable_in_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
