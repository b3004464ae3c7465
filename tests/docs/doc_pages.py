"""Pages of the documentation, as programs and transcripts that can be run.

What a fenced block is for follows from its language:

=========  =====================================================================================
python     a whole program; a first line ``# name.py`` says under which name it is saved
text       behind a program, what it prints; ``...`` stands for any text within a line
pycon      a session of the interactive interpreter
console    a session of the shell: commands behind ``$``, each followed by what it prints
others     shown only (``make``, configuration files)
=========  =====================================================================================

All blocks of a page share a directory, in order, so a later one may use the file of an earlier one.
A comment ``<!-- requires: torch -->`` names modules without which the page cannot be run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Block", "Command", "Page", "commands", "matches", "read"]

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_REQUIRES = re.compile(r"<!-- requires: ([\w, .]+) -->")
_NAME = re.compile(r"# (\w+\.py)\n")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: The word behind the fence.
        text: What is between the fences.
        line: Where it begins in its page.
        expected: What it prints, if the page says so.
    """

    language: str
    text: str
    line: int
    expected: str | None = None

    @property
    def file_name(self) -> str:
        """The name to save a program under."""
        named = _NAME.match(self.text)
        return named[1] if named else "program.py"


@dataclass(frozen=True)
class Page:
    """A page and what of it can be run, in order."""

    path: Path
    requires: tuple[str, ...]
    blocks: tuple[Block, ...]


@dataclass
class Command:
    """A line of a shell session, and what it prints."""

    line: str
    expected: list[str] = field(default_factory=list)


def read(path: Path) -> Page:
    """Read a page."""
    text = path.read_text("utf-8")
    blocks: list[Block] = []
    for found in _FENCE.finditer(text):
        language, body = found.groups()
        line = text.count("\n", 0, found.start()) + 1
        if language == "text":
            assert blocks, f"{path}:{line}: output without a program before it"
            program = blocks.pop()
            assert program.language == "python" and program.expected is None, f"{path}:{line}"
            blocks.append(Block("python", program.text, program.line, body))
        else:
            blocks.append(Block(language, body, line))
    requires = _REQUIRES.search(text)
    names = tuple(name.strip() for name in requires[1].split(",")) if requires else ()
    return Page(path, names, tuple(blocks))


def commands(session: str) -> list[Command]:
    """Take a shell session apart."""
    found: list[Command] = []
    for line in session.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:]))
        else:
            assert found, f"output before the first command: {line!r}"
            found[-1].expected.append(line)
    return found


def matches(expected: str, printed: str) -> bool:
    """Whether a program printed what its page says; a line ``...`` stands for any lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + "\n"
        for line in expected.splitlines()
    )
    lines = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    return re.fullmatch(pattern, lines) is not None
