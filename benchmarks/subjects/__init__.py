"""The workloads, one module each with a ``SUBJECT``."""

from __future__ import annotations

import importlib

from benchmarks.model import Subject

__all__ = ["MODULES", "SAME_CORE", "SAME_POOLS", "find", "matching"]

SAME_POOLS = ("*_spawn", "*_forkserver", "torch")
"""Pools that differ from another peer's in how their workers start, or in what tensors cost."""

SAME_CORE = ("billiard", "multiprocess")
"""Made from the standard library's source; what they changed shows where tasks are small."""

MODULES = (
    "queue_small",
    "queue_bulk",
    "latency",
    "pool",
    "arrays",
    "data",
    "loader",
    "skew",
    "startup",
    "imports",
    "memory",
    "growth",
)


def find(name: str) -> Subject:
    """Return one subject.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in MODULES:
        raise ValueError(f"subject {name!r} is not known: choose from {', '.join(MODULES)}")
    subject: Subject = importlib.import_module(f"{__name__}.{name}").SUBJECT
    return subject


def matching(term: str) -> list[str]:
    """Names that begin with ``term``: ``queue`` is both queue subjects.

    Raises:
        ValueError: there are none.
    """
    names = [name for name in MODULES if name.startswith(term)]
    if not names:
        raise ValueError(f"subject {term!r} is not known: choose from {', '.join(MODULES)}")
    return names
