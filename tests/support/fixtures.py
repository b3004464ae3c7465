"""Fixtures that all rooms share: what a test is run over, and children that it starts.

A room whose tests want something of their own under one of these names defines it in its conftest.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import pytest

from support.processes import Start, starting
from tines.transport import NAMES, named
from tines.transport.contract import Transport

__all__ = ["method", "start", "transport"]


@pytest.fixture(params=NAMES)
def transport(request: pytest.FixtureRequest) -> Transport:
    """Each transport that can be used here."""
    try:
        return named(request.param)
    except ImportError as error:
        pytest.skip(f"no {request.param} transport here: {error}")


@pytest.fixture(params=multiprocessing.get_all_start_methods())
def method(request: pytest.FixtureRequest) -> str:
    """Each start method of this system."""
    name: str = request.param
    return name


@pytest.fixture
def start(method: str) -> Iterator[Start]:
    """Start processes of the standard library; those that a failed test left are killed."""
    with starting(multiprocessing.get_context(method)) as start:
        yield start
