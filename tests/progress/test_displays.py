"""Options, figures and displays by themselves: no pool, no clock."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress
from tqdm import tqdm

from tines.progress import Display, ProgressOptions
from tines.progress.bars import TqdmDisplay
from tines.progress.contract import Counts, Line
from tines.progress.displays import make_display, shared_by
from tines.progress.lines import Pace, amount, clock, speed
from tines.progress.options import choose
from tines.progress.plain import PlainDisplay
from tines.progress.terminal import RichDisplay, own_progress


def line(key: int = 1, done: int = 0, total: int | None = 100, **others: Any) -> Line:
    fields: dict[str, Any] = {
        "description": "work",
        "failed": 0,
        "retried": 0,
        "elapsed": 1.0,
        "rate": 10.0,
        "remaining": 9.0,
        "over": False,
        **others,
    }
    return Line(key=key, done=done, total=total, **fields)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ("rich", TypeError, "progress='rich'.*True, False.*ProgressOptions.display='rich'"),
        ("yes", TypeError, "progress='yes' is not understood: give True, False"),
        (1.5, TypeError, "progress=1.5 is not understood.*tqdm"),
        (object(), TypeError, "progress=<object.* is not understood"),
        (int, TypeError, "progress=<class 'int'> is not understood"),
    ],
)
def test_what_is_no_progress_is_refused_with_the_choices(
    given: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        choose(given)


@pytest.mark.parametrize(
    ("option", "error", "words"),
    [
        ({"total": -1}, ValueError, "total=-1"),
        ({"total": "many"}, TypeError, "total must be a whole number, not 'many'"),
        ({"refresh": 0}, ValueError, "refresh=0 must be above zero"),
        ({"refresh": "often"}, TypeError, "refresh must be a number of seconds, not 'often'"),
        ({"display": "curses"}, ValueError, "display='curses'.*auto, rich, tqdm, plain"),
        ({"display": 7}, TypeError, "display=7 is not one of: auto, rich, tqdm, plain"),
        ({"file": "log.txt"}, TypeError, "file must be something to write text to"),
        ({"description": 3}, TypeError, "description must be a string, not 3"),
    ],
)
def test_bad_options_are_named(option: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ProgressOptions(**option)


def test_a_display_whose_package_is_absent_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ImportError, match=r"pip install tines\[progress\]"):
        ProgressOptions(display="rich")


def test_off_is_off() -> None:
    assert choose(None) is choose(False) is None


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("file", "term", "rich", "expected"),
    [
        (Terminal(), "xterm", True, RichDisplay),
        (Terminal(), "dumb", True, PlainDisplay),
        (Terminal(), "xterm", False, PlainDisplay),
        (io.StringIO(), "xterm", True, PlainDisplay),
    ],
)
def test_the_place_decides(
    monkeypatch: pytest.MonkeyPatch, file: io.StringIO, term: str, rich: bool, expected: type
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: object() if rich and name == "rich" else None
    )
    assert type(make_display(ProgressOptions(file=file))) is expected


@pytest.mark.parametrize(
    ("installed", "expected"),
    [(("rich", "ipywidgets", "tqdm"), "rich"), (("rich", "tqdm"), "tqdm"), (("rich",), "plain")],
)
def test_in_a_notebook(
    monkeypatch: pytest.MonkeyPatch, installed: tuple[str, ...], expected: str
) -> None:
    from tines.progress import displays

    monkeypatch.setattr(displays, "in_notebook", lambda: True)
    monkeypatch.setattr(displays, "_installed", lambda name: name in installed)
    assert displays._style(ProgressOptions()) == expected


def test_a_program_without_stderr_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    display = make_display(ProgressOptions())
    display.draw([line(over=True)])
    display.close()


def test_calls_with_the_same_place_share_a_display() -> None:
    file = io.StringIO()
    one = ProgressOptions(file=file, total=3)
    two = ProgressOptions(file=file, description="other")
    assert shared_by(one) == shared_by(two) != shared_by(ProgressOptions(file=io.StringIO()))


def test_plain_lines_come_more_and_more_seldom() -> None:
    file = io.StringIO()
    display = PlainDisplay(file)
    for tick in range(3000):
        display.draw([line(done=tick, total=None, elapsed=tick / 10, remaining=None)])
    display.draw([line(done=3000, total=3000, elapsed=300.0, failed=2, retried=1, over=True)])
    display.close()
    lines = file.getvalue().splitlines()
    shown = [
        int(found[1].replace(",", ""))
        for each in lines
        if (found := re.search(r": ([\d,]+)/", each))
    ]
    assert shown == [20, 60, 140, 300, 620, 1220, 1820, 2420, 3000]
    assert lines[-1] == "work: 3,000/3,000, 10/s, took 5:00, 2 failed, 1 retried"
    assert lines[0] == "work: 20/?, 10/s"


def test_rich_shows_figures_and_puts_the_terminal_back() -> None:
    file = Terminal()
    console = Console(file=file, force_terminal=True, width=100)
    display = RichDisplay(own_progress(None, True, console), own=True)
    display.draw([line(1, 40, failed=3), line(2, 7, None, remaining=None, description="[x]")])
    display.draw([line(1, 100, failed=3, over=True), line(2, 9, None, over=True)])
    assert console._live_stack if hasattr(console, "_live_stack") else console._live
    display.close()
    text = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", file.getvalue())
    assert "40/100 (40%)  10/s  0:09 left  3 failed" in text
    assert "[x]" in text  # a name is no markup
    assert "7/?" in text
    assert "100/100  10/s  took 0:01" in text
    assert file.getvalue().rindex("\x1b[?25h") > file.getvalue().rindex("\x1b[?25l")
    assert type(sys.stdout).__module__ != "rich.file_proxy"


def test_a_progress_of_the_users_is_used_and_left_running() -> None:
    file = Terminal()
    console = Console(file=file, force_terminal=True, width=100)
    with Progress(console=console, auto_refresh=False) as progress:
        display = make_display(ProgressOptions(display=progress))
        display.draw([line(done=50)])
        display.draw([line(done=100, failed=1, over=True)])
        display.close()
        assert progress.live.is_started
        [task] = progress.tasks
        assert (task.completed, task.total, task.finished) == (100, 100, True)
        assert task.description == "work (1 failed)"


def test_a_bar_of_tqdms_is_moved_and_not_closed() -> None:
    bar = tqdm(file=io.StringIO())
    display = make_display(ProgressOptions(display=bar))
    display.draw([line(done=50)])
    display.draw([line(done=100, retried=2, over=True)])
    display.draw([line(key=2, done=5, over=True)])
    display.close()
    assert (bar.n, bar.total) == (105, 100)
    assert "retried=2" in str(bar)
    assert not bar.disable
    bar.close()


def test_a_class_of_tqdms_makes_a_bar_for_each_call() -> None:
    made = []

    class Kept(tqdm):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs, file=io.StringIO())
            made.append(self)

    display = make_display(ProgressOptions(display=Kept))
    assert isinstance(display, TqdmDisplay)
    assert isinstance(display, Display)
    display.draw([line(1, 10), line(2, 20, description="other")])
    display.draw([line(1, 100, over=True), line(2, 40)])
    display.close()
    assert [(bar.n, bar.desc, bar.disable) for bar in made] == [
        (100, "work", True),
        (40, "other", True),
    ]


def test_the_rate_follows_the_last_seconds() -> None:
    pace = Pace(0.0)
    for second in range(100):
        shown = pace.line(1, "", Counts(10 * second, 0, 0, None), 2000, second, False)
    assert shown.rate == pytest.approx(10)
    for second in range(100, 120):
        done = 990 + 50 * (second - 99)
        shown = pace.line(1, "", Counts(done, 0, 0, None), 2990, second, False)
    assert shown.rate == pytest.approx(50)
    assert shown.remaining == pytest.approx(20)
    shown = pace.line(1, "", Counts(2990, 0, 0, None), 2990, 130.0, True)
    assert shown.rate == pytest.approx(23)
    assert shown.remaining is None


def test_nothing_is_said_of_what_is_not_known() -> None:
    shown = Pace(5.0).line(1, "", Counts(0, 0, 0, None), None, 5.0, False)
    assert (shown.rate, shown.remaining, shown.total) == (None, None, None)
    assert amount(shown) == "0/?"
    assert speed(None) == "-/s"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4, "0:00"), (59.6, "1:00"), (725, "12:05"), (11100, "3:05:00"), (None, "-:--")],
)
def test_clock(value: float | None, text: str) -> None:
    assert clock(value) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0.05, "20.0 s each"),
        (3.42, "3.4/s"),
        (812.4, "812/s"),
        (9999, "9,999/s"),
        (1.5e6, "1,500k/s"),
        (2.5e7, "25M/s"),
    ],
)
def test_speed(rate: float, text: str) -> None:
    assert speed(rate) == text


NOTEBOOK = """
import builtins, sys, types, warnings
class ZMQInteractiveShell:
    config = {"IPKernelApp": {}}
sys.modules["IPython"] = types.ModuleType("IPython")
sys.modules["ipykernel.zmqshell"] = types.ModuleType("ipykernel.zmqshell")
sys.modules["IPython"].get_ipython = builtins.get_ipython = lambda: ZMQInteractiveShell()
sys.modules["IPython.display"] = screen = types.ModuleType("IPython.display")
screen.display = lambda *things, **more: print(*(getattr(each, "text", "") for each in things))
screen.HTML = str
for name in ("ipywidgets", *sys.argv[2:]):
    sys.modules[name] = None
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if sys.modules.get(name, 0) is None else find(name, *more)
warnings.simplefilter("always")
from tines.progress import ProgressOptions
from tines.progress.contract import Line
from tines.progress.displays import make_display
display = make_display(ProgressOptions(display=sys.argv[1]))
for done in (10, 100):
    display.draw([Line(1, "work", done, 0, 0, 100, 1.0, 10.0, 9.0, done == 100)])
display.close()
print(type(display).__name__, file=sys.__stdout__)
"""


@pytest.mark.parametrize(
    ("style", "missing", "made"),
    [
        ("auto", [], "TqdmDisplay"),
        ("auto", ["tqdm"], "PlainDisplay"),
        ("tqdm", [], "TqdmDisplay"),
        ("rich", [], "RichDisplay"),
    ],
)
def test_a_notebook_without_ipywidgets_is_not_warned(
    style: str, missing: list[str], made: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK, style, *missing],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert done.stdout.split()[-1] == made
    assert "Warning" not in said and "ipywidgets" not in said
    assert style == "rich" or "100" in done.stderr  # what was drawn
