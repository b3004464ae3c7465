"""What the tests of traces share: both transports, all start methods, and nothing left behind."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from tines import _tracing
from tines.tracing import recorder
from tines.transport import NAMES, named
from tines.transport.contract import Transport


@pytest.fixture(params=NAMES)
def transport(request: pytest.FixtureRequest) -> Transport:
    """Each transport that can be used here."""
    try:
        return named(request.param)
    except ImportError as error:
        pytest.skip(f"no {request.param} transport here: {error}")


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def method(request: pytest.FixtureRequest) -> str:
    """Each start method of this system."""
    name: str = request.param
    if name not in multiprocessing.get_all_start_methods():
        pytest.skip(f"there is no start method {name} here")
    return name


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """Where a trace goes; afterwards nothing but traces is there, and nothing is traced."""
    yield tmp_path / "run.json"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    assert recorder.current() is None
    assert _tracing.observer is None and _tracing.make_core is None
