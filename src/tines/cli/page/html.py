"""Pieces of HTML. What is a ``str`` of the trace goes through :func:`text`, everywhere."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

__all__ = ["Markup", "details", "section", "table", "text"]

# Not allowed in HTML, or invisible there: controls, halves of characters, and what turns the direction of
# writing (a name may look like another one with these).
_UNFIT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class Markup(str):
    """HTML that was made here, as a cell of a table."""

    __slots__ = ()


def text(value: object) -> str:
    """Return a text so that it is nothing but text, between tags as well as in attributes."""
    return html.escape(_UNFIT.sub("\N{REPLACEMENT CHARACTER}", str(value)), quote=True)


def section(title: str, *content: str, note: str = "") -> str:
    """Return a section, or nothing if it has no content."""
    if not any(content):
        return ""
    under = f"<p class='note'>{text(note)}</p>" if note else ""
    return f"<section><h2>{text(title)}</h2>{under}{''.join(content)}</section>\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: int) -> str:
    """Return a table of texts (or :class:`Markup`); from column ``numbers`` on they are numbers."""

    def shown(cell: str) -> str:
        return cell if isinstance(cell, Markup) else text(cell)

    def row(cells: Sequence[str], tag: str) -> str:
        made = (
            f"<{tag} class='n'>{shown(cell)}</{tag}>"
            if index >= numbers
            else f"<{tag}>{shown(cell)}</{tag}>"
            for index, cell in enumerate(cells)
        )
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    head = row(columns, "th").replace("<th", "<th scope='col'")
    # It can be scrolled by the keyboard where it is wider than the screen.
    return f"<div class='wide' tabindex='0'><table><thead>{head}</thead><tbody>{body}</tbody></table></div>"


def details(summary: str, content: str) -> str:
    """Return something that opens when it is asked for."""
    return f"<details><summary>{text(summary)}</summary><pre>{text(content)}</pre></details>"
