"""What the tests of traces share: where a trace goes, and that nothing else is left there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tines import _watchers
from tines.pool.events import observer_of
from tines.tracing import recorder


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """Where a trace goes; afterwards nothing but traces is there, and nothing is traced."""
    yield tmp_path / "run.json"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    assert recorder.current() is None
    assert _watchers.processes is None and observer_of("ring", 1) is None
