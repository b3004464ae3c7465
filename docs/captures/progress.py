"""Draws ``docs/howto/progress.svg``: the progress display of a pool that is busy, and loses workers.

Run it from the root of the repository: ``python docs/captures/progress.py``.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

import tines
from tines.progress import Line, ProgressOptions
from tines.progress.terminal import RichDisplay, own_progress

OUTPUT = Path(__file__).resolve().parents[1] / "howto" / "progress.svg"
WIDTH = 96
AT = 4.0


class Capture(RichDisplay):
    """A live display of which one frame is kept."""

    def __init__(self, screen: Console) -> None:
        self.progress = own_progress(None, True, Console(stderr=True, width=WIDTH))
        super().__init__(self.progress, own=True)
        self._screen = screen
        self._kept = False

    def draw(self, lines: Sequence[Line]) -> None:
        """Draw, and keep the frame at the moment wanted."""
        super().draw(lines)
        if not self._kept and any(line.elapsed >= AT for line in lines):
            self._kept = True
            self._screen.print(self.progress.get_renderable())


def digest(size: int) -> str:
    """Work for a millisecond or so; now and then, die of it."""
    if random.random() < 0.002:
        os.kill(os.getpid(), signal.SIGKILL)
    return hashlib.sha256(bytes(size)).hexdigest()


def parse(number: int) -> int:
    """Refuse a few of the numbers."""
    time.sleep(0.001)
    if number % 211 == 210:
        raise ValueError(number)
    return number


def records() -> Iterator[int]:
    """An input whose length nobody knows."""
    yield from range(6000)


def main() -> None:
    """Run it, and write the file."""
    screen = Console(record=True, width=WIDTH, file=open(os.devnull, "w"))  # noqa: SIM115
    screen.print("[dim]>>>[/] pool.map_async(digest, sizes, retries=3, [bold]progress=True[/])")
    screen.print("[dim]>>>[/] for record in pool.imap_unordered(parse, records(), ...)", end="\n\n")
    display = Capture(screen)
    shown = ProgressOptions(display=display)
    sizes = [random.randrange(200_000, 1_400_000) for _ in range(8000)]
    with tines.Pool(2) as pool:
        digests = pool.map_async(digest, sizes, retries=3, progress=shown)
        iterator = pool.imap_unordered(parse, records(), progress=shown)
        failed = 0
        while True:
            try:
                next(iterator)
            except StopIteration:
                break
            except ValueError:
                failed += 1
        assert len(digests.get()) == len(sizes)
    screen.save_svg(str(OUTPUT), title="tines", unique_id="tines-progress")
    print(f"{OUTPUT} written; {failed} records failed", file=sys.stderr)


if __name__ == "__main__":
    main()
