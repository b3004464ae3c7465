"""The dashboard and the report of a trace in a browser: nothing is amiss, on any screen, light or dark.

Where ``TINES_SCREENSHOTS`` names a folder, pictures are left there (``make screenshots``).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dashboards import Dashboard
from programs import HEAD, Programs
from support.browser import PROGRAM, Browser

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium")

CALLS = """
def resize(path, width=800):
    if "broken" in path:
        raise ValueError(f"{path} is no picture")
    time.sleep(0 if width else 1000)

queue = mp.Queue()
queue.put("something")
with mp.Pool(2) as pool:
    pool.apply_async(resize, ("broken & <b>.jpeg",)).wait()
    pool.starmap_async(resize, [(f"holiday/{number}.jpeg", number < 30) for number in range(40)], chunksize=1)
    until(lambda: pool.statistics().running == 2 and pool.statistics().done >= 31)
    ready(pool.statistics().workers[0].pid)
"""
RUN = """
if __name__ == "__main__":
    with mp.trace(sys.argv[1]), mp.Pool(2) as pool:
        paths = [f"holiday/{number}.jpeg" for number in range(400)] + ["broken & <b>.jpeg"]
        pool.map(resize, paths, chunksize=5, return_exceptions=True)
"""
LOOKS = [(width, dark) for width in (1280, 400) for dark in (False, True)]
TOO_WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
LETTERS = """[...document.querySelectorAll("td, th")].filter(
    (each) => each.innerText.length > 2 && each.clientWidth < 50 && each.clientHeight > 60).length"""


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    with Browser(tmp_path / "profile") as browser:
        yield browser


def see(browser: Browser, name: str) -> None:
    """Look at the page from all sides."""
    for width, dark in LOOKS:
        browser.look_as(width=width, dark=dark)
        assert not browser.evaluate(TOO_WIDE), (name, width)
        assert not browser.evaluate(LETTERS), (name, width)
        ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") is not dark
        if folder := os.environ.get("TINES_SCREENSHOTS"):
            os.makedirs(folder, exist_ok=True)
            browser.save(Path(folder, f"{name}-{width}-{'dark' if dark else 'light'}.png"))
    assert browser.complaints == []


def test_the_dashboard(browser: Browser, programs: Programs) -> None:
    program = programs.start(CALLS)
    with Dashboard() as dashboard:
        browser.open(f"http://127.0.0.1:{dashboard.port}/?token={dashboard.token}")
        browser.until("document.querySelector('#state.live') !== null")
        shown = browser.until("document.querySelector('.program')?.innerText")
        assert "ValueError: broken & <b>.jpeg is no picture" in shown
        assert browser.until("document.querySelector('progress').max") == 40
        assert browser.until("document.querySelectorAll('.pair .line').length > 3")
        browser.evaluate("document.querySelector('.failure summary').click()")
        see(browser, "dashboard")
        # What was opened stays so, whatever comes.
        before = browser.evaluate("document.querySelector('#summary').innerText")
        browser.until(f"document.querySelector('#summary').innerText != {before!r}")
        assert "in resize" in browser.evaluate("document.querySelector('.failure[open]').innerText")
        browser.press("p")
        browser.until("document.querySelector('#state').innerText == 'paused'")
        browser.press("p")
        browser.until("document.querySelector('#state.live') !== null")
        worker = int(program.said[1])
        os.kill(worker, signal.SIGKILL)
        browser.until(f"document.body.innerText.includes('process {worker} died')")
    assert browser.complaints == []


def test_the_report(browser: Browser, place: Path, tmp_path: Path) -> None:
    trace, page = tmp_path / "run.json", tmp_path / "report.html"
    program = HEAD + CALLS.partition("queue =")[0] + RUN
    for command in (
        ["-c", program, str(trace)],
        ["-m", "tines", "report", str(trace), "--html", str(page)],
    ):
        subprocess.run([sys.executable, *command], check=True, capture_output=True, timeout=120)
    browser.open(page.as_uri())
    browser.until(
        "document.readyState == 'complete' && document.querySelector('svg rect.raised') !== null"
    )
    see(browser, "report")
