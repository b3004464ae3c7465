"""Contexts with ours on the ring, and children that are gone after the test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import tines
from support.processes import Start, starting
from tines import transport


@pytest.fixture
def context(request: pytest.FixtureRequest) -> Any:
    """A context on the ring: of ``method`` if the test has one, else fork."""
    if transport.choice().name != "ring":
        pytest.skip(f"these locks need the ring transport: {transport.choice().reason}")
    named = "method" in request.fixturenames
    return tines.get_context(request.getfixturevalue("method") if named else "fork")


@pytest.fixture
def start(context: Any) -> Iterator[Start]:
    """Start children; what is still there at the end is killed."""
    with starting(context) as start:
        yield start
