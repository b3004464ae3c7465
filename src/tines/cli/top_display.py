"""Where ``tines top`` puts its rows: rich on a terminal where it is installed, else plain text."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from tines.cli.figures import without_bars
from tines.cli.top_rows import COLUMNS, RIGHT, WIDE, Kind, Row, columns

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Display", "best", "rendered", "text"]

_STYLES = {
    Kind.PROGRAM: "bold",
    Kind.POOL: "cyan",
    Kind.SELECTED: "reverse cyan",
    Kind.RUNNING: "green",
    Kind.WAITING: "dim",
    Kind.QUEUE: "yellow",
    Kind.NOTE: "dim",
}
_GAP = 2


class Display(Protocol):
    """Something that shows one picture after another, in the same place."""

    def __enter__(self) -> Display:
        """Take the terminal."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give it back."""

    def show(self, title: str, rows: Sequence[Row], foot: str) -> None:
        """Show a picture."""


def best() -> Display:
    """Return what suits this terminal and installation."""
    # One that cannot move its cursor shows one picture below the other; rich would show none.
    if not sys.stdout.isatty() or os.environ.get("TERM", "").lower() in ("", "dumb", "unknown"):
        return _Plain(in_place=False)
    try:
        return _Rich()
    except ImportError:
        return _Plain(in_place=True)


def text(title: str, rows: Sequence[Row], width: int) -> str:
    """Return a picture as plain text, no line longer than ``width``."""
    chosen = columns(rows, width, _GAP)
    table = [COLUMNS, *(row.cells for row in rows if row.kind is not Kind.NOTE)]
    widths = {number: max(len(cells[number]) for cells in table) for number in chosen}
    used = sum(widths.values()) - widths[WIDE] + _GAP * (len(chosen) - 1)
    widths[WIDE] = min(widths[WIDE], max(3, width - used))

    def line(cells: Sequence[str]) -> str:
        fitted = (_fitted(cells[number], widths[number], number in RIGHT) for number in chosen)
        return (" " * _GAP).join(fitted).rstrip()

    lines = [*textwrap.wrap(title, width), line(COLUMNS)]
    for row in rows:
        if row.kind is Kind.NOTE:  # stands alone in its line
            note = row.cells[WIDE]
            indent = " " * (len(note) - len(note.lstrip()))
            lines += textwrap.wrap(note, width, initial_indent=indent, subsequent_indent=indent)
        else:
            lines.append(line(row.cells))
    return "\n".join(lines)


def _fitted(cell: str, size: int, right: bool) -> str:
    if len(cell) > size:
        return f"{cell[: size - 3]}..." if size > 5 else cell[:size]
    return cell.rjust(size) if right else cell.ljust(size)


def rendered(title: str, rows: Sequence[Row], foot: str, width: int) -> RenderableType:
    """Return a picture for rich. Nothing that comes from programs is taken for its markup."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="bold reverse")
    chosen = columns(rows, width, 1)
    for number in chosen:
        table.add_column(
            COLUMNS[number],
            justify="right" if number in RIGHT else "left",
            ratio=1 if number == WIDE else None,
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in rows:
        table.add_row(*(Text(row.cells[number]) for number in chosen), style=_STYLES[row.kind])
    return Group(Text(title, style="bold"), table, Text(foot, style="dim"))


class _Plain:
    def __init__(self, *, in_place: bool) -> None:
        self._before = "\x1b[H\x1b[J" if in_place else ""
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")

    def __enter__(self) -> _Plain:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def show(self, title: str, rows: Sequence[Row], foot: str) -> None:
        picture = text(title, rows, shutil.get_terminal_size((120, 40)).columns)
        try:
            picture.encode(sys.stdout.encoding or "ascii")
        except UnicodeEncodeError:
            picture = without_bars(picture)
        print(f"{self._before}{picture}\n{foot}", flush=True)


class _Rich:
    def __init__(self) -> None:
        from rich.live import Live

        self._live: Any = Live(screen=True, auto_refresh=False)

    def __enter__(self) -> _Rich:
        self._live.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.__exit__(*exception)

    def show(self, title: str, rows: Sequence[Row], foot: str) -> None:
        width = self._live.console.width
        self._live.update(rendered(title, rows, foot, width), refresh=True)
