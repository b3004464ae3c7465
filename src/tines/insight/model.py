"""What is in a page, for its reader: checked and cleaned.

The reader takes numbers that are finite, text that is printable, and no more of either than a screen
could use. What fields statistics have is their own business (:mod:`tines.insight.values`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tines.insight.page import Unreadable
from tines.insight.values import LONGEST_TEXT, Plain

__all__ = ["Program", "Thing", "parse", "printable"]

_DEEPEST = 10
_MOST = 4096
_LARGEST_NUMBER = 2**63


@dataclass(frozen=True)
class Thing:
    """A pool or a queue.

    Attributes:
        number: Its number in the program, from 1, in the order they were made.
        kind: Its class.
        statistics: What its ``statistics()`` said, as plain data; empty if that failed.
        error: Why that failed.
    """

    number: int
    kind: str
    statistics: Mapping[str, Plain]
    error: str | None = None

    @property
    def workers(self) -> list[Mapping[str, Plain]] | None:
        """The workers of a pool; ``None``: it is a queue."""
        found = self.statistics.get("workers")
        if not isinstance(found, list):
            return None
        return [worker for worker in found if isinstance(worker, dict)]


@dataclass(frozen=True)
class Program:
    """A process that has made pools or queues.

    Attributes:
        pid: Its process id.
        started: When it started, in the kernel's own unit (``/proc/PID/stat``); 0: not known.
        parent: The pid of its parent.
        since: ``time.time()`` of its first pool or queue.
        name: Its command line.
        process: Its name among the processes of its program; ``MainProcess`` for the first.
        python: The version of its interpreter.
        version: Its version of tines.
        taken: ``time.monotonic()`` of these figures.
        spent: Processor seconds that all its answers to readers have taken so far.
        things: Its pools and queues.
        answering: Whether these are figures of now: it answered.
    """

    pid: int
    started: int
    parent: int
    since: float
    name: str
    process: str
    python: str
    version: str
    taken: float
    spent: float
    things: tuple[Thing, ...] = ()
    answering: bool = True


def parse(payload: bytes) -> Program:
    """Return the program that a payload describes.

    Raises:
        Unreadable: it describes none.
    """
    try:
        data = json.loads(payload, parse_int=_whole, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"its payload is not JSON: {error}") from None
    try:
        data = _cleaned(data, 0)
        things = tuple(_thing(entry) for entry in _field(data, "things", list))
        return Program(
            pid=_field(data, "pid", int),
            started=_field(data, "started", int),
            parent=_field(data, "parent", int),
            since=float(_field(data, "since", (int, float))),
            name=_field(data, "name", str),
            process=_field(data, "process", str),
            python=_field(data, "python", str),
            version=_field(data, "version", str),
            taken=float(_field(data, "taken", (int, float))),
            spent=float(_field(data, "spent", (int, float))),
            things=things,
        )
    except ValueError as error:
        raise Unreadable(f"its payload does not describe a program: {error}") from None


def printable(text: str) -> str:
    """Return text without what moves a terminal's cursor or is no character at all."""
    if text.isprintable():
        return text
    spaced = "".join(" " if each.isspace() else each for each in text)
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in spaced)


def _thing(data: object) -> Thing:
    error = data.get("error") if isinstance(data, dict) else None
    return Thing(
        number=_field(data, "number", int),
        kind=_field(data, "kind", str),
        statistics=_field(data, "statistics", dict),
        error=error if isinstance(error, str) else None,
    )


def _field(data: object, name: str, kind: Any) -> Any:
    if not isinstance(data, dict):
        raise ValueError(f"a {type(data).__name__} is where a dictionary should be")
    value = data.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name!r} is missing, or a {type(value).__name__}")
    return value


def _cleaned(value: object, depth: int) -> Plain:
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    if isinstance(value, str):
        return printable(value[:LONGEST_TEXT])
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite")  # 1e999
    if isinstance(value, (list, dict)) and len(value) > _MOST:
        raise ValueError(f"a collection has {len(value)} entries")
    if isinstance(value, list):
        return [_cleaned(entry, depth + 1) for entry in value]
    if isinstance(value, dict):
        return {printable(key[:64]): _cleaned(entry, depth + 1) for key, entry in value.items()}
    return value


def _whole(digits: str) -> int:
    # Python takes its time with numbers of a million digits.
    if len(digits) > 20 or not -_LARGEST_NUMBER <= int(digits) < 2 * _LARGEST_NUMBER:
        raise ValueError("a number is out of range")
    return int(digits)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number")
