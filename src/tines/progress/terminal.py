"""A live display by rich, in terminals and notebooks; on a ``Progress`` of the user's or our own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from tines.progress.lines import amount, clock, speed, troubles

if TYPE_CHECKING:
    from rich.progress import Task

    from tines.progress.contract import Line

__all__ = ["RichDisplay", "own_progress"]


class _Figures(ProgressColumn):
    """Done of total, rate, time left, troubles: worked out by us, so that all displays agree."""

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        """Return the figures of one call."""
        line: Line | None = task.fields.get("line")
        if line is None:
            return Text("")
        text = Text(amount(line), style="progress.download")
        text.append(f"  {speed(line.rate)}", style="progress.data.speed")
        if line.over:
            text.append(f"  took {clock(line.elapsed)}", style="progress.elapsed")
        else:
            text.append(f"  {clock(line.remaining)} left", style="progress.remaining")
        for word in troubles(line):
            text.append(f"  {word}", style="red" if word.endswith("failed") else "yellow")
        return text


def own_progress(file: TextIO | None, leave: bool, console: Console | None = None) -> Progress:
    """Return a ``Progress`` with our columns; it is drawn only when it is told to."""
    console = console or Console(file=file, stderr=file is None)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        _Figures(),
        console=console,
        auto_refresh=False,
        transient=not leave,
    )


class RichDisplay:
    """Draws into a ``Progress``, which it starts and stops unless it is running already."""

    def __init__(self, progress: Any, *, own: bool) -> None:
        self._progress = progress
        self._own = own
        self._tasks: dict[int, TaskID] = {}
        self._started = False

    def draw(self, lines: Sequence[Line]) -> None:
        """See :class:`tines.progress.contract.Display`."""
        progress = self._progress
        if not progress.live.is_started:
            progress.start()
            self._started = True
        for line in lines:
            task = self._tasks.get(line.key)
            if task is None:
                task = progress.add_task(line.description, total=line.total)
                self._tasks[line.key] = task
            total = line.done if line.over and line.total is None else line.total
            progress.update(task, completed=line.done, total=total, line=line, **self._words(line))
            if line.over:
                progress.stop_task(task)
                del self._tasks[line.key]
        progress.refresh()

    def _words(self, line: Line) -> dict[str, str]:
        """Columns of the user's know nothing of ours: there troubles go to the description."""
        words = [] if self._own else troubles(line)
        return {"description": f"{line.description} ({', '.join(words)})"} if words else {}

    def close(self) -> None:
        """See :class:`tines.progress.contract.Display`."""
        if self._started:
            self._started = False
            self._progress.stop()
