"""Makes ``benchmarks`` and the faulty adapters importable, here and in the cases' processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

for place in (str(HERE), str(ROOT)):
    if place not in sys.path:
        sys.path.insert(0, place)


@pytest.fixture(autouse=True)
def importable_in_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
