"""Contexts with ours on the ring, and children that are gone after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tines
from lock_children import Start
from tines import transport


@pytest.fixture(params=tines.get_all_start_methods())
def method(request: pytest.FixtureRequest) -> str:
    """Each start method, in the tests that ask for it."""
    name: str = request.param
    return name


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
    children: list[Any] = []

    def start(target: Callable[..., object], *args: Any) -> Any:
        child = context.Process(target=target, args=args)
        child.start()
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.join()
        child.close()
