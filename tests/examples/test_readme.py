"""What the front page shows is true: its programs run, and its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"))
    if path.exists()
]


def blocks(page: Path) -> list[str]:
    """Return the Python code blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def run(program: str, directory: Path) -> str:
    """Run a program from a file, as a reader would."""
    script = directory / "program.py"
    script.write_text(program)
    finished = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=40,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_the_shortest_example_runs(tmp_path: Path) -> None:
    program = next(block for block in blocks(ROOT / "README.md") if "__main__" in block)
    assert run(program, tmp_path) == "[0, 2, 4, 6, 8, 10, 12, 14, 16, 18]\n"


def test_the_example_with_retries_runs(tmp_path: Path) -> None:
    program, extract = (block for block in blocks(ROOT / "README.md") if "Pool" in block)
    body = "".join(f"    {line}\n" for line in [*extract.splitlines(), "print(results)"])
    start = program.index('if __name__ == "__main__":\n')
    whole = f'{program[:start]}if __name__ == "__main__":\n{body}'
    assert run(whole, tmp_path) == "[0, 2, 4, 6, 8, 10, 12, 14, 16, 18]\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
    local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    missing = [link for link in local if not (page.parent / link).exists()]
    assert missing == []
