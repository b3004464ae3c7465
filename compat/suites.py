"""The suites, and how their test cases are loaded into this process.

A test is named ``Class.test`` in the first suite and ``module.Class.test`` in the others, which have
several modules. The names are the same for all subjects, so runs can be compared.
"""

from __future__ import annotations

import fnmatch
import importlib
import importlib.util
import multiprocessing
import pkgutil
import unittest
from collections.abc import Iterator
from enum import Enum
from types import ModuleType

__all__ = ["METHODS", "Suite", "Unavailable", "load"]

OTHERS: dict[str, tuple[str, ...]] = {
    "test.test_asyncio.test_events": ("*.test_get_event_loop_new_process",),
    "test.test_asyncio.test_unix_events": ("TestFork.*",),
    "test.test_compileall": ("CommandLine*workers*", "CompileallTests*.*workers*"),
    "test.test_fcntl": ("*",),
    "test.test_genericalias": ("*",),
    "test.test_importlib.test_threaded_import": ("*.test_multiprocessing_pool_circular_import",),
    "test.test_logging": (
        "ConfigDictTest.*queue*",
        "LogRecordTest.*",
        "QueueHandlerTest.*",
        "QueueListenerTest.*",
    ),
    "test.test_pickle": ("CompatPickleTests.*",),
    "test.test_re": ("*.test_search_anchor_at_beginning", "*.test_regression_gh94675"),
}
"""Modules for something else whose tests use processes, and which of their tests those are."""

METHODS = ("fork", "spawn", "forkserver")


class Suite(Enum):
    """What is tested."""

    MULTIPROCESSING = "multiprocessing"
    FUTURES = "futures"
    MAIN = "main"
    """How children find the main program again; programs that are run by command lines."""
    OTHERS = "others"
    """Tests of other modules of the standard library that use processes."""


class Unavailable(Exception):
    """The tests are not installed with this interpreter."""


def load(suite: Suite, method: str) -> dict[str, unittest.TestCase]:
    """Return the tests of a suite for one start method, by name.

    Raises:
        Unavailable: this interpreter comes without them.
    """
    tests: dict[str, unittest.TestCase] = {}
    for module in _MODULES[suite](method):
        where = "" if suite is Suite.MULTIPROCESSING else module.__name__.rpartition(".")[2] + "."
        for case in _cases(module, suite, method):
            for name in unittest.defaultTestLoader.getTestCaseNames(case):
                if suite is not Suite.OTHERS or _of_processes(module, f"{case.__name__}.{name}"):
                    tests[f"{where}{case.__name__}.{name}"] = case(name)
    return tests


def _cases(module: ModuleType, suite: Suite, method: str) -> Iterator[type[unittest.TestCase]]:
    for name, value in sorted(vars(module).items()):
        if not (isinstance(value, type) and issubclass(value, unittest.TestCase)):
            continue
        if suite is Suite.FUTURES:
            wanted = _of_executor(name, method)
        elif suite is Suite.MAIN:
            wanted = name.lower() == f"{method}cmdlinetest"
        else:
            wanted = True
        if wanted:
            yield value


def _of_processes(module: ModuleType, test: str) -> bool:
    return any(fnmatch.fnmatchcase(test, pattern) for pattern in OTHERS[module.__name__])


def _of_executor(name: str, method: str) -> bool:
    """Whether a class of the suite of futures is for process pools with this start method."""
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


def _of_main_handling(_method: str) -> list[ModuleType]:
    _require("test.test_multiprocessing_main_handling")
    return [importlib.import_module("test.test_multiprocessing_main_handling")]


def _of_others(method: str) -> list[ModuleType]:
    _require("test.test_logging")
    multiprocessing.set_start_method(method)
    modules = []
    for name in OTHERS:
        try:
            modules.append(importlib.import_module(name))
        except (ImportError, unittest.SkipTest):  # another version has other modules
            continue
    return modules


def _require(name: str) -> None:
    try:
        found = importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise Unavailable(f"this interpreter was installed without {name}")


_MODULES = {
    Suite.MULTIPROCESSING: _of_multiprocessing,
    Suite.FUTURES: _of_futures,
    Suite.MAIN: _of_main_handling,
    Suite.OTHERS: _of_others,
}
