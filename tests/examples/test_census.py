"""The census: its measures, its arithmetic, and the whole program on a small library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rich", reason="the program shows its results with rich")

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

from census.display import Display  # noqa: E402
from census.measuring import (  # noqa: E402
    Census,
    Function,
    measure,
    naming_style,
    sample,
    source_files,
    standard_library,
)
from census.racing import STDLIB, TINES, Race  # noqa: E402

SOURCE = """\
import os

def short():
    return os.getcwd()

async def longer(path):
    def inner():
        return path
    return inner, os.path
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A small library: packages, a file that does not parse, and things that do not count."""
    for number in range(12):
        (tmp_path / f"module_{number}.py").write_text(SOURCE * (number + 1))
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "python2.py").write_text("print 'hello'\n")
    (tmp_path / "package" / "notes.txt").write_text("def not_counted(): ...\n")
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "installed.py").write_text("x = 1\n")
    return tmp_path


def test_measures_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(SOURCE)
    measures = measure(str(path))
    assert (measures.lines, measures.functions, measures.problem) == (9, 3, None)
    assert measures.longest == Function(4, "longer", str(path))
    assert measures.names == {"os": 2, "getcwd": 1, "path": 2, "inner": 1}
    assert measures.worker == os.getpid()


def test_a_file_that_does_not_parse_is_a_result(tmp_path: Path) -> None:
    path = tmp_path / "python2.py"
    path.write_text("print 'hello'\n")
    measures = measure(str(path))
    assert measures.lines == 1
    assert measures.functions == 0
    assert measures.problem is not None
    assert measures.problem.startswith("SyntaxError")


def test_who_measured_does_not_count(library: Path) -> None:
    paths = source_files(library)
    forwards, backwards = Census(map(measure, paths)), Census(map(measure, reversed(paths)))
    assert forwards.files == backwards.files
    (library / "module_3.py").write_text("changed = 1\n")
    assert Census(map(measure, paths)).files != forwards.files


def test_sums_of_a_library(library: Path) -> None:
    census = Census(map(measure, source_files(library)))
    assert len(census.files) == 14
    assert census.functions == 3 * sum(range(1, 13))
    assert [Path(each.path).name for each in census.unparsed] == ["python2.py"]
    assert census.names["getcwd"] == sum(range(1, 13))
    assert Path(census.richest_file().path).name == "module_11.py"
    assert [function.name for function in census.longest_functions(2)] == ["longer", "longer"]


def test_the_interpreters_library_is_found() -> None:
    assert (standard_library() / "ast.py").is_file()


@pytest.mark.parametrize(
    ("name", "style"),
    [
        ("MAX_SIZE", "CONSTANT"),
        ("snake_case", "snake_case"),
        ("__init__", "lower"),
        ("os", "lower"),
        ("OrderedDict", "CapWords"),
        ("assertEqual", "mixedCase"),
        ("_", "_"),
    ],
)
def test_naming_styles(name: str, style: str) -> None:
    assert naming_style(name) == style


def test_a_sample_comes_from_all_parts() -> None:
    paths = [str(number) for number in range(1000)]
    assert sample(paths, 4) == ["0", "250", "500", "750"]
    assert sample(paths[:3], 4) == ["0", "1", "2"]


def test_a_race_beside_other_load_is_not_compared() -> None:
    times = {STDLIB: [1.0], TINES: [2.0]}
    quiet, busy = Race("x", 1, times, other_load=0.1), Race("y", 1, times, other_load=1.5)
    assert quiet.comparable and not busy.comparable
    display = Display(Path())
    with display.console.capture() as captured:
        display.races([quiet, busy])
    text = captured.get()
    assert text.count("0.50x") == 1
    assert "1.5 cores busy" in " ".join(text.split())
    with display.console.capture() as captured:
        display.races([quiet])
    assert "busy" not in captured.get()


def test_a_race_counts_medians() -> None:
    race = Race("x", 1, {STDLIB: [4.0, 2.0, 90.0], TINES: [1.0, 2.0, 0.5]})
    assert race.median(STDLIB) == 4.0
    assert race.spread(TINES) == (0.5, 2.0)
    assert race.ratio == 4.0


def census_of(library: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the whole program, without a terminal, on a library."""
    program = EXAMPLES / "standard_library_census.py"
    return subprocess.run(
        [sys.executable, str(program), "--library", str(library), *options],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=100,
    )


@pytest.mark.slow
@pytest.mark.watchdog(120)
def test_the_whole_program(library: Path) -> None:
    # Takes long enough to be killed in the middle of it.
    (library / "large.py").write_text(SOURCE * 4_000)
    finished = census_of(library, "--workers", "2", "--rounds", "1")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stderr == ""
    text = finished.stdout
    assert "the results are the same" in text
    assert "15/15" in text
    with_retry, without = text.split("retries=0")
    assert "15 of 15 files measured, 0 lost" in with_retry
    assert "14 of 15 files measured, 1 lost" in without
    assert "large.py: WorkerLostError" in without
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--workers", "0"), "must be at least 1"),
        (("--rounds", "many"), "invalid positive value"),
        (("--library", "/nowhere"), "is not a directory"),
    ],
)
def test_bad_options_are_named(library: Path, options: tuple[str, str], complaint: str) -> None:
    finished = census_of(library, *options)
    assert finished.returncode == 2
    assert options[0] in finished.stderr
    assert complaint in finished.stderr


def test_an_empty_library_is_an_error(tmp_path: Path) -> None:
    finished = census_of(tmp_path)
    assert finished.returncode == 1
    assert "there are no .py files" in finished.stderr
