"""What an entry of the table says: a program, and what of its run is compared."""

from __future__ import annotations

import fnmatch
import re
import sys
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum
from pathlib import Path

__all__ = ["METHODS", "OWN", "Client", "Compare", "Server", "Side"]

METHODS = ("fork", "spawn", "forkserver")

OWN = "own"
"""In the place of a start method: the one that the program chooses."""


_PASSED = re.compile(r"^PASSED (?:\S*/)?(\S+)", re.MULTILINE)

_ADDRESS = r"\b0x[0-9a-f]{6,}"
"""Where an object lies, which its ``repr`` may tell."""


class Side(Enum):
    """What ``multiprocessing`` means in a run."""

    STANDARD = "standard"
    RING = "ring"
    PIPE = "pipe"


@dataclass(frozen=True)
class Compare:
    """What is compared, besides the exit code and what is left running.

    Attributes:
        exit_code: What the program exits with on the standard library: a run that ends in another
            way shows nothing.
        keep: Lines of standard output that this pattern finds; the others do not count.
        masked: Patterns; what they find in a line stands for what differs in any two runs (times,
            process ids).
        ordered: Whether lines have to come in the same order.
        errors: Whether the lines of standard error count like those of standard output. If not,
            there may only be no more complaints (tracebacks and their like) than there were.
        files: A pattern of files, under the directory where the program ran, whose contents have to
            be the same.
        passed: Whether it is a run of pytest: what passed has to pass.
        on_purpose: Patterns of tests that need not pass, as what they expect is not so on purpose.
    """

    exit_code: int = 0
    keep: str = ""
    masked: tuple[str, ...] = ()
    ordered: bool = False
    errors: bool = False
    files: str = ""
    passed: bool = False
    on_purpose: tuple[str, ...] = ()

    def tests(self, text: str) -> frozenset[str]:
        """Return the tests that passed and count, from what pytest wrote."""
        return frozenset(
            test
            for test in _PASSED.findall(text)
            if not any(fnmatch.fnmatchcase(test, pattern) for pattern in self.on_purpose)
        )

    def lines(self, text: str) -> tuple[str, ...]:
        """Return the lines of an output that count, as they are compared."""
        lines = [line.rstrip() for line in text.splitlines() if re.search(self.keep, line)]
        for pattern in (_ADDRESS, *self.masked):
            lines = [re.sub(pattern, "*", line) for line in lines]
        return tuple(lines if self.ordered else sorted(lines))


@dataclass(frozen=True)
class Server:
    """How a program that serves is asked.

    Attributes:
        paths: What is asked for, many times and by many at once; the answers are compared.
        workers: How many different processes have to have answered ``/worker`` with their pid.
    """

    paths: tuple[str, ...] = ("/", "/work?n=20", "/missing")
    workers: int = 2


@dataclass(frozen=True)
class Client:
    """A program.

    Attributes:
        name: Its name in the table.
        packages: What pip installs for it; the first is the one whose version is told.
        command: What follows the interpreter, or ``python -m tines``. ``{port}`` is a free port,
            ``{method}`` the start method, ``{sources}`` the unpacked source distribution.
        files: Files or directories of ``programs/`` that lie in its working directory.
        prepare: Called with the working directory before each run; its way to more files.
        methods: The start methods with which it is run. It finds the method in
            ``CLIENT_METHOD`` in its environment, and in ``{method}``.
        compare: What is compared.
        server: How it is asked, if it is a server.
        sources: A package whose source distribution it needs, as for the tests in it.
        environment: In which virtual environment it is installed.
        limit: Seconds that a run may take.
        variables: What is added to its environment.
        since: The first version of Python that it runs on.
        until: The last one, if there is one.
    """

    name: str
    packages: tuple[str, ...]
    command: tuple[str, ...]
    _: KW_ONLY
    files: tuple[str, ...] = ()
    prepare: Callable[[Path], None] | None = None
    methods: tuple[str, ...] = (OWN,)
    compare: Compare = Compare()
    server: Server | None = None
    sources: str = ""
    environment: str = "common"
    limit: float = 120.0
    variables: dict[str, str] = field(default_factory=dict)
    since: tuple[int, int] = (3, 10)
    until: tuple[int, int] = (3, 99)

    def why_not_here(self) -> str:
        """Say why it cannot be run on this interpreter; empty if it can."""
        here = sys.version_info[:2]
        if here < self.since:
            return f"needs Python {'.'.join(map(str, self.since))}"
        if here > self.until:
            return f"does not run on Python newer than {'.'.join(map(str, self.until))}"
        return ""
