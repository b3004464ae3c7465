"""The test suites of libraries, from their source distributions: what passes has to pass."""

from __future__ import annotations

from clients.client import METHODS, Client, Compare

__all__ = ["CLIENTS"]

_PYTEST = ("-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "--tb=short")

_PEBBLE = "pebble==5.2.3"
_LOKY = "loky==3.7.0"

_LOCKED = (
    "*::TestProcessPoolDeadlockOnNewFutures::test_pool_deadlock_stop",
    "*::TestProcessPoolDeadlockOnResult::test_pool_deadlock",
)
"""Expect that a lock whose holder was killed stays locked, which ends the pool. Here the next one gets
the lock, and the pool goes on."""

CLIENTS = (
    Client(
        "pebble-suite",
        (_PEBBLE, "pytest>=8"),
        (
            *_PYTEST,
            "{sources}/test/test_process_pool_{method}.py",
            "{sources}/test/test_concurrent_process_{method}.py",
            "{sources}/test/test_asynchronous_process_{method}.py",
        ),
        sources=_PEBBLE,
        methods=METHODS,
        compare=Compare(passed=True, on_purpose=_LOCKED),
        environment="suites",
        limit=400,
    ),
    Client(
        "loky-suite",
        (_LOKY, "pytest>=8", "pytest-timeout", "psutil", "numpy"),
        (
            *_PYTEST,
            "--timeout=60",
            "--loky-verbosity=50",
            "--skip-high-memory",
            "{sources}/tests/test_loky_backend.py",
            "{sources}/tests/test_synchronize.py",
        ),
        sources=_LOKY,
        compare=Compare(passed=True),
        environment="suites",
        limit=900,
    ),
)
