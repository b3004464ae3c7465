"""Draws ``docs/howto/top.svg`` and ``top-pool.svg``: ``tines top`` while programs are at work.

Run it from the root of the repository: ``python docs/captures/top.py``. It starts two programs, watches them
through the same reader, model and display as the command, and keeps what is shown.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from rich.console import Console

from tines.cli import top, top_display, top_rows
from tines.cli.top_model import Tracker, View, arranged
from tines.insight.reader import Reader

OUTPUT = Path(__file__).resolve().parents[1] / "howto"
WIDTH = 110
SAMPLES = 4
FOOT = "s sort  up/down choose a pool  enter open  esc back  q quit"

THUMBNAILS = """
import random, time
import tines as mp

def thumbnail(path, size):
    until = time.perf_counter() + random.expovariate(1 / 0.4)
    while time.perf_counter() < until:
        sum(range(1000))
    if size == 512:
        time.sleep(random.expovariate(1 / 1.5))

def checksum(block):
    return hash(block)

if __name__ == "__main__":
    with mp.Pool(4) as images, mp.Pool(2) as sums:
        images.starmap_async(
            thumbnail, [(f"photos/{n:04}.raw", random.choice((128, 512))) for n in range(900)],
            chunksize=1,
        )
        for _ in sums.imap_unordered(checksum, (bytes([n % 256]) * 4096 for n in range(10**9))):
            pass
"""

CRAWL = """
import time
import tines as mp

def fetch(pages):
    for page in pages:
        time.sleep(0.004)

if __name__ == "__main__":
    pages = mp.Queue()
    workers = [mp.Process(target=fetch, args=(pages,), daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    while True:
        pages.put("https://example.org/")
        time.sleep(0.0017)
"""


def main() -> None:
    """Start the programs, look at them, write the files, end the programs."""
    programs = []
    with Reader() as reader:
        for name, text in (("thumbnails.py", THUMBNAILS), ("crawl.py", CRAWL)):
            # A program that ``python NAME`` would run, without a file to leave behind.
            code = f"import sys; sys.orig_argv = ['python', {name!r}]\n{textwrap.dedent(text)}"
            programs.append(subprocess.Popen([sys.executable, "-c", code]))
        try:
            view = watch(reader, {program.pid for program in programs})
        finally:
            for program in programs:
                program.kill()
                program.wait()
        reader.sample()  # sweeps what the killed programs left
    title = f"{top_rows.headline(view)}  by time"
    draw("top", title, top_rows.overview(view, 0))
    program = next(each for each in view.programs if each.pools)
    draw("top-pool", title, top_rows.detail(program, program.pools[0]))


def watch(reader: Reader, pids: set[int]) -> View:
    """Return the last of a few views of these programs, with rates in it."""
    tracker = Tracker(top.processes())
    for _ in range(SAMPLES):
        time.sleep(1.0)
        view = arranged(tracker.view(reader.sample(5.0)), "time")
    programs = tuple(program for program in view.programs if program.pid in pids)
    return View(programs)


def draw(name: str, title: str, rows: list[top_rows.Row]) -> None:
    """Write one picture."""
    with open(os.devnull, "w") as nowhere:
        screen = Console(record=True, width=WIDTH, file=nowhere)
        screen.print(top_display.rendered(title, rows, FOOT, screen.width))
        path = OUTPUT / f"{name}.svg"
        screen.save_svg(str(path), title="tines top", unique_id=f"tines-{name}")
    print(f"{path} written", file=sys.stderr)


if __name__ == "__main__":
    main()
