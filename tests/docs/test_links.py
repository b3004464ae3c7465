"""Every relative link of the project's pages leads to a file that exists, and to a heading in it.

The pages are read on a code host as well as on the site, whose build checks its own part of them.
Nothing here needs the network, so addresses of other sites are not followed.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / ".github").rglob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
    ]
)

_FENCE = re.compile(r"^(`{3,}|:{3,}).*?^\1 *$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_TARGET = re.compile(r"\]\(\s*<?([^\s()<>]+)>?(?: +\"[^\"]*\")?\s*\)")
_HTML_TARGET = re.compile(r"\b(?:src|href|srcset)=\"([^\"]+)\"")
_ELSEWHERE = re.compile(r"[a-z][a-z+.-]*:", re.IGNORECASE)


def anchors(text: str) -> set[str]:
    """Return the names that a page's headings can be linked by, as code hosts make them."""
    found: set[str] = set()
    for title in _HEADING.findall(_FENCE.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        unique, count = name, 0
        while unique in found:
            count += 1
            unique = f"{name}-{count}"
        found.add(unique)
    return found


def broken(page: Path) -> list[str]:
    """Return the links of a page that lead nowhere."""
    text = page.read_text("utf-8")
    prose = _CODE.sub("", _FENCE.sub("", text))
    found = []
    for link in [*_TARGET.findall(prose), *_HTML_TARGET.findall(prose)]:
        if _ELSEWHERE.match(link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (page.parent / name) if name else page
        if not target.exists():
            found.append(f"{link}: there is no {target}")
        elif anchor and anchor not in anchors(target.read_text("utf-8")):
            found.append(f"{link}: there is no such heading in {target.name}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# What `it` is, twice\n\n# What it is, twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n"
        "[a](there.md) [b](there.md#what-it-is-twice) [c](there.md#what-it-is-twice-1) [d](#here)\n"
        "[e](https://example.org/no) `[f](code)`\n"
        "```\n[g](fenced)\n```\n"
        '[h](absent.md) [i](there.md#absent) [j](#absent) ![k](absent.svg) <img src="none.svg">\n'
    )
    assert [link.split(":")[0] for link in broken(page)] == [
        "absent.md",
        "there.md#absent",
        "#absent",
        "absent.svg",
        "none.svg",
    ]
