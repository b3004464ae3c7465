"""Measure Python source: what one task does, and how its results add up.

Nothing here knows about processes. ``measure`` takes a path and returns plain data, so it runs in
this process or in any other.
"""

from __future__ import annotations

import ast
import os
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "Census",
    "Function",
    "Measures",
    "measure",
    "naming_style",
    "sample",
    "source_files",
    "standard_library",
]

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, order=True)
class Function:
    """A function and how many lines it has."""

    lines: int
    name: str
    path: str


@dataclass(frozen=True)
class Measures:
    """What was found in one file.

    ``worker`` says which process measured it, and does not count when measures are compared.
    """

    path: str
    lines: int = 0
    functions: int = 0
    longest: Function | None = None
    names: Counter[str] = field(default_factory=Counter)
    problem: str | None = None
    worker: int = field(default=0, compare=False)


class Census:
    """The sum of the measures of many files, in whatever order they came."""

    def __init__(self, measures: Iterable[Measures]) -> None:
        self.files = sorted(measures, key=lambda each: each.path)
        self.lines = sum(each.lines for each in self.files)
        self.functions = sum(each.functions for each in self.files)
        self.unparsed = [each for each in self.files if each.problem]
        self.names: Counter[str] = Counter()
        for each in self.files:
            self.names.update(each.names)

    def longest_functions(self, count: int) -> list[Function]:
        """Return the longest function of each of the files that have the longest."""
        longest = [each.longest for each in self.files if each.longest is not None]
        return sorted(longest, reverse=True)[:count]

    def richest_file(self) -> Measures:
        """Return the file that uses most names, and so takes longest to measure."""
        return max(self.files, key=lambda each: each.names.total())


def standard_library() -> Path:
    """Return where the running interpreter keeps its own library."""
    return Path(sysconfig.get_path("stdlib"))


def source_files(directory: Path) -> list[str]:
    """Return every .py file below a directory, except what pip installed there."""
    return sorted(
        str(path)
        for path in directory.rglob("*.py")
        if path.is_file() and not {"site-packages", "dist-packages"} & set(path.parts)
    )


def sample(paths: Sequence[str], count: int) -> list[str]:
    """Return ``count`` paths from all parts of a sorted list, or all if there are no more."""
    if len(paths) <= count:
        return list(paths)
    return [paths[index * len(paths) // count] for index in range(count)]


def measure(path: str) -> Measures:
    """Parse one file and measure it. A file that does not parse is a result too."""
    source = Path(path).read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes and the like: not our subject
            tree = ast.parse(source)
        found = _walk(path, tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        found = {"problem": f"{type(error).__name__}: {error}"}
    return Measures(
        path=path,
        lines=source.count(b"\n"),
        worker=os.getpid(),
        **found,
    )


def _walk(path: str, tree: ast.AST) -> dict[str, object]:
    functions = []
    names: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names[node.id] += 1
        elif isinstance(node, ast.Attribute):
            names[node.attr] += 1
        elif isinstance(node, FUNCTIONS):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            functions.append(Function(lines, node.name, path))
    return {
        "functions": len(functions),
        "longest": max(functions, default=None),
        "names": names,
    }


def naming_style(name: str) -> str:
    """Say how a name is written: a task so small that handing it out costs more than doing it."""
    bare = name.strip("_")
    if bare.isupper():
        return "CONSTANT"
    if bare.islower():
        return "snake_case" if "_" in bare else "lower"
    if bare[:1].isupper():
        return "CapWords"
    return "mixedCase" if bare else "_"
