"""What every test gets: a watchdog, a look at what the session leaves behind, and common fixtures.

All are in ``tests/support``; a test asks for another limit with ``@pytest.mark.watchdog(60)``.
"""

from __future__ import annotations

import pytest

from support.fixtures import method, start, transport
from support.leftovers import (
    pytest_configure,
    pytest_runtest_logfinish,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_unconfigure,
)
from support.watchdog import (
    pytest_runtest_call,
    pytest_runtest_protocol,
    pytest_runtest_setup,
    pytest_sessionstart,
)

__all__ = [
    "method",
    "pytest_addoption",
    "pytest_configure",
    "pytest_runtest_call",
    "pytest_runtest_logfinish",
    "pytest_runtest_protocol",
    "pytest_runtest_setup",
    "pytest_sessionfinish",
    "pytest_sessionstart",
    "pytest_terminal_summary",
    "pytest_unconfigure",
    "start",
    "transport",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Have the tests of pools run over an engine, as in ``--engine simulated:2``."""
    parser.addoption("--engine", default=None, help="the engine of pools, such as simulated:2")
