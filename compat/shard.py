"""Runs some tests in a process of its own, and tells what happens as it happens.

``python -m compat.shard SUBJECT SUITE METHOD EVENTS`` reads the names of the tests from standard
input, one on a line, and writes one JSON object on a line to the descriptor EVENTS:

    {"event": "begin", "test": ...}
    {"event": "end", "test": ..., "outcome": "pass|fail|skip", "detail": ...}
    {"event": "done"}

Without a name on standard input it writes the names of all tests: ``{"event": "tests", ...}``.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import traceback
import unittest
from typing import Any

__all__ = ["main"]


class _Telling(unittest.TestResult):
    """Writes an event where the base class only takes note."""

    def __init__(self, events: int, names: dict[str, str]) -> None:
        super().__init__()
        self._events = events
        self._names = names
        self._owner = os.getpid()
        self._outcome = ("pass", "")

    def tell(self, event: str, **data: Any) -> None:
        # A test may end in a forked child, where it is not for us to speak.
        if os.getpid() == self._owner:
            os.write(self._events, json.dumps({"event": event, **data}).encode() + b"\n")

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._outcome = ("pass", "")
        self.tell("begin", test=self._names[test.id()])

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        outcome, detail = self._outcome
        self.tell("end", test=self._names[test.id()], outcome=outcome, detail=detail)

    def _failed(self, test: Any, error: Any) -> None:
        detail = "".join(traceback.format_exception(*error))
        if isinstance(test, unittest.TestCase):
            self._outcome = ("fail", detail)
        else:  # setUpClass, setUpModule and their like; none of their tests will begin
            self.tell("broken", what=str(test), detail=detail)

    def addError(self, test: Any, err: Any) -> None:
        self._failed(test, err)

    def addFailure(self, test: Any, err: Any) -> None:
        self._failed(test, err)

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            self._failed(test, err)

    def addSkip(self, test: Any, reason: str) -> None:
        if isinstance(test, unittest.TestCase):
            self._outcome = ("skip", reason)
        else:
            self.tell("broken", what=str(test), detail=reason, skipped=True)

    def addUnexpectedSuccess(self, test: Any) -> None:
        self._outcome = ("fail", "unexpected success")


_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")
"""Options of the interpreter whose value is an argument of its own."""


def _start_programs_by_the_runner() -> None:
    """Have the programs that tests start run by ``python -m tines``, as this one is."""
    from test.support import script_helper

    start = script_helper.run_python_until_end

    def run(*arguments: str, **options: Any) -> Any:
        own = 0
        while own < len(arguments) and _is_of_interpreter(arguments[own]):
            own += 2 if arguments[own] in _WITH_VALUE else 1
        return start(*arguments[:own], "-m", "tines", *arguments[own:], **options)

    script_helper.run_python_until_end = run


def _is_of_interpreter(argument: str) -> bool:
    return argument[:1] == "-" and len(argument) > 1 and argument[:2] not in ("-c", "-m")


def main() -> None:
    """Run in a process of its own."""
    subject, suite, method, events = sys.argv[1:]
    faulthandler.enable()
    os.set_inheritable(int(events), False)
    if subject == "alias":
        from tines.runner import alias

        alias.install()
    elif subject == "runner":
        _start_programs_by_the_runner()
    from compat import suites

    names = sys.stdin.read().split()
    try:
        tests = suites.load(suites.Suite(suite), method)
    except suites.Unavailable as error:
        os.write(
            int(events), json.dumps({"event": "unavailable", "why": str(error)}).encode() + b"\n"
        )
        return
    result = _Telling(int(events), {test.id(): name for name, test in tests.items()})
    if not names:
        result.tell("tests", tests=list(tests))
    else:
        unittest.TestSuite(tests[name] for name in names)(result)
        result.tell("done")


if __name__ == "__main__":
    main()
