"""What a notebook shows: a line of figures above a table, as plain HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

__all__ = ["bytes_of", "table"]


def table(
    title: str, figures: Iterable[str], columns: Sequence[str], rows: Iterable[Sequence[str]]
) -> str:
    """Return HTML, in which no text is taken for markup."""
    head = _row("th", columns)
    body = "".join(_row("td", cells) for cells in rows)
    return (
        f"<div><b>{html.escape(title)}</b>: {html.escape(', '.join(figures))}"
        f"<table><thead>{head}</thead><tbody>{body}</tbody></table></div>"
    )


def bytes_of(count: int) -> str:
    """Return a number of bytes with its unit."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def _row(tag: str, cells: Sequence[str]) -> str:
    style = "style='text-align:left;vertical-align:top'"
    return f"<tr>{''.join(f'<{tag} {style}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"
