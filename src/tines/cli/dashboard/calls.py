"""What a pool says of its calls: how far maps are, and what failed last, with tracebacks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from tines.cli.figures import amount
from tines.cli.page.html import Markup, table, text
from tines.cli.top_model import PoolView, number

__all__ = ["failures", "maps"]

MOST_MAPS = 16


def maps(pool: PoolView) -> str:
    """Return the maps and iterators that workers have in hand."""
    said = _records(pool.statistics, "maps")
    rows = [
        (
            str(each.get("function", "")),
            _bar(each),
            _far(each),
            amount(number(each, "failed") or None, "item"),
            amount(number(each, "retried") or None, "time"),
        )
        for each in said[:MOST_MAPS]
    ]
    if not rows:
        return ""
    more = len(said) - len(rows)
    note = f"<p class='note'>and {more} more maps</p>" if more > 0 else ""
    return f"{table(('map', '', 'finished', 'failed', 'tried again'), rows, 2)}{note}"


def _far(said: Mapping[str, object]) -> str:
    done, total = number(said, "done") or 0, number(said, "total")
    if total is None:
        return amount(done, "item")
    share = f", {100 * done / total:.0f}%" if total else ""
    return f"{done:,.0f} of {total:,.0f}{share}"


def _bar(said: Mapping[str, object]) -> Markup:
    total = number(said, "total")
    if not total:
        return Markup("<progress aria-label='how many there are is not known'></progress>")
    done = min(number(said, "done") or 0, total)
    return Markup(
        f"<progress value='{done:.0f}' max='{total:.0f}'>{100 * done / total:.0f}%</progress>"
    )


def failures(pool: PoolView, key: str) -> str:
    """Return the last tasks that failed.

    Args:
        pool: Whose.
        key: What tells this pool from all others.
    """
    said = _records(pool.statistics, "failures")
    if not said:
        return ""
    # By when each was: what is open stays so while others come.
    rows = "".join(
        f"<details class='failure' id='failure-{key}-{(number(each, 'at') or 0):.6f}'>"
        f"<summary>{_summary(each)}</summary><pre tabindex='0'>{text(_traceback(each))}</pre></details>"
        for each in said
    )
    return f"<h4>Failed last</h4>{rows}"


def _summary(said: Mapping[str, object]) -> str:
    when = time.strftime("%H:%M:%S", time.localtime(number(said, "at") or 0))
    where = ", ".join(_where(said))
    return f"{when} <b>{text(said.get('error', ''))}</b>{f' in {text(where)}' if where else ''}"


def _where(said: Mapping[str, object]) -> Iterator[str]:
    if said.get("task"):
        yield str(said["task"])
    for name, what in (("item", "item"), ("pid", "process")):
        value = number(said, name)
        if value is not None:
            yield f"{what} {value:.0f}"


def _traceback(said: Mapping[str, object]) -> str:
    lines = said.get("traceback")
    if isinstance(lines, list) and lines:
        return "\n".join(map(str, lines))
    return str(said.get("error", ""))


def _records(said: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    found = said.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
