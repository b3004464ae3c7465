"""The test suites of libraries, from their source distributions: what passes has to pass."""

from __future__ import annotations

from clients.client import Client

__all__ = ["CLIENTS"]

_PYTEST = ("-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "--tb=short")

CLIENTS: tuple[Client, ...] = ()
