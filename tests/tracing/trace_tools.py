"""Helpers of the tests of traces."""

from __future__ import annotations

from typing import Any

from tines import context
from tines.pool import Pool


def pool_of(processes: int, *, method: str = "fork", **options: Any) -> Pool:
    """Make a pool."""
    return Pool(processes, context=context.default.get_context(method), **options)


def events(content: dict[str, Any], category: str, phase: str = "X") -> list[dict[str, Any]]:
    """Return the events of a category."""
    return [
        event
        for event in content["traceEvents"]
        if event.get("cat") == category and event["ph"] == phase
    ]


def names_of(found: list[dict[str, Any]]) -> list[str]:
    """Return the names of events."""
    return [event["name"] for event in found]
