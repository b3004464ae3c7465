"""The two suites, and how their test cases are loaded into this process.

A test is named ``Class.test`` in the first suite and ``module.Class.test`` in the second, which has
several modules. The names are the same for both subjects, so runs can be compared.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import unittest
from collections.abc import Iterator
from enum import Enum
from types import ModuleType

__all__ = ["METHODS", "Suite", "Unavailable", "load"]

METHODS = ("fork", "spawn", "forkserver")


class Suite(Enum):
    """What is tested."""

    MULTIPROCESSING = "multiprocessing"
    FUTURES = "futures"


class Unavailable(Exception):
    """The tests are not installed with this interpreter."""


def load(suite: Suite, method: str) -> dict[str, unittest.TestCase]:
    """Return the tests of a suite for one start method, by name.

    Raises:
        Unavailable: this interpreter comes without them.
    """
    modules = _MODULES[suite](method)
    prefix = "" if suite is Suite.MULTIPROCESSING else None
    tests: dict[str, unittest.TestCase] = {}
    for module in modules:
        for case in _cases(module, suite, method):
            where = module.__name__.rpartition(".")[2] + "." if prefix is None else prefix
            for name in unittest.defaultTestLoader.getTestCaseNames(case):
                tests[f"{where}{case.__name__}.{name}"] = case(name)
    return tests


def _cases(module: ModuleType, suite: Suite, method: str) -> Iterator[type[unittest.TestCase]]:
    for name, value in sorted(vars(module).items()):
        if not (isinstance(value, type) and issubclass(value, unittest.TestCase)):
            continue
        if suite is Suite.MULTIPROCESSING or _of_executor(name, method):
            yield value


def _of_executor(name: str, method: str) -> bool:
    """Whether a class of the second suite is for process pools with this start method."""
    rest = name.removeprefix("ProcessPool")
    start = method.capitalize()
    longer = [other.capitalize() for other in METHODS if other != method]
    longer = [other for other in longer if other.startswith(start)]
    return rest != name and rest.startswith(start) and not any(map(rest.startswith, longer))


def _of_multiprocessing(method: str) -> list[ModuleType]:
    _require("test._test_multiprocessing")
    return [importlib.import_module(f"compat.cases.{method}")]


def _of_futures(_method: str) -> list[ModuleType]:
    _require("test.test_concurrent_futures")
    package = importlib.import_module("test.test_concurrent_futures")
    if not hasattr(package, "__path__"):
        return [package]
    return [
        importlib.import_module(f"{package.__name__}.{entry.name}")
        for entry in pkgutil.iter_modules(package.__path__)
        if entry.name.startswith("test_")
    ]


def _require(name: str) -> None:
    try:
        found = importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise Unavailable(f"this interpreter was installed without {name}")


_MODULES = {Suite.MULTIPROCESSING: _of_multiprocessing, Suite.FUTURES: _of_futures}
