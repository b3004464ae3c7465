"""Every code block of the tutorial and the how-to pages runs, and prints what its page says."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from doc_pages import Block, Page, commands, matches, read

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*(DOCS / "tutorial").glob("*.md"), *(DOCS / "howto").glob("*.md")])

SHOWN_ONLY = {"docker", "make", "pip"}
"""Commands of shell sessions that would change the machine, or take minutes."""

SESSION = """\
import doctest, sys
options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
test = doctest.DocTestParser().get_doctest(sys.stdin.read(), globals(), "session", None, 0)
sys.exit(doctest.DocTestRunner(optionflags=options).run(test, clear_globs=False).failed)
"""


def run(argv: list[str], directory: Path, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run what a reader would run, where the reader would."""
    environment = dict(os.environ, COLUMNS="100", PYTHONUNBUFFERED="1")
    return subprocess.run(
        argv,
        cwd=directory,
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )


def run_program(block: Block, directory: Path) -> None:
    (directory / block.file_name).write_text(block.text, "utf-8")
    finished = run([sys.executable, block.file_name], directory)
    assert finished.returncode == 0, finished.stderr
    if block.expected is not None:
        assert matches(block.expected, finished.stdout), finished.stdout + finished.stderr


def run_interactive(block: Block, directory: Path) -> None:
    finished = run([sys.executable, "-c", SESSION], directory, block.text)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def run_shell(block: Block, directory: Path) -> None:
    for command in commands(block.text):
        words = shlex.split(command.line)
        settings = []
        while re.match(r"[A-Z_]+=", words[0]):
            settings.append(words.pop(0))
        if words[0] in SHOWN_ONLY:
            continue
        if words[0] == "tines":
            words[:1] = [sys.executable, "-m", "tines"]
        assert words[0] in (sys.executable, "python"), f"cannot run {command.line!r}"
        words[0] = sys.executable
        if settings:
            words = ["env", *settings, *words]
        finished = run(words, directory)
        if command.expected:
            printed = finished.stdout + finished.stderr
            assert matches("\n".join(command.expected), printed), printed
        else:
            assert finished.returncode == 0, finished.stderr


RUNNERS = {"python": run_program, "pycon": run_interactive, "console": run_shell}


@pytest.mark.watchdog(120)
@pytest.mark.parametrize("page", [read(path) for path in PAGES], ids=lambda page: page.path.stem)
def test_page(page: Page, tmp_path: Path) -> None:
    missing = [name for name in page.requires if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    for block in page.blocks:
        if block.language in RUNNERS:
            try:
                RUNNERS[block.language](block, tmp_path)
            except AssertionError as error:
                where = f"{page.path.relative_to(ROOT)}:{block.line}"
                raise AssertionError(f"{where}:\n{block.text}\n{error}") from None


def test_a_wrong_output_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        run_program(Block("python", "print(1)\n", 1, "2\n"), tmp_path)
    with pytest.raises(AssertionError):
        run_program(Block("python", "raise SystemExit(1)\n", 1), tmp_path)
    with pytest.raises(AssertionError):
        run_interactive(Block("pycon", ">>> 1 + 1\n3\n", 1), tmp_path)
    with pytest.raises(AssertionError):
        run_shell(Block("console", "$ python -c 'print(1)'\n2\n", 1), tmp_path)


def test_dots_stand_for_any_text() -> None:
    assert matches("pid ... ended\n", "pid 12 ended\n")
    assert matches("first\n...\nlast\n", "first\nsecond\nthird\nlast\n")
    assert not matches("first\nlast\n", "first\nsecond\nlast\n")
    assert not matches("a.c\n", "abc\n")
