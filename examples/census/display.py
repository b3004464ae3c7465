"""What the census shows: colours and a moving bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from .measuring import Census
from .racing import QUIET, STDLIB, TINES, Race
from .surviving import Outcome

__all__ = ["Display"]

T = TypeVar("T")


class Display:
    """Prints each part of the demonstration."""

    def __init__(self, library: Path) -> None:
        self.console = Console(highlight=False)
        self._library = library

    def heading(self, text: str) -> None:
        """Begin a part."""
        self.console.print()
        self.console.rule(f"[bold]{text}", align="left")

    def say(self, text: str) -> None:
        """Print a sentence."""
        self.console.print(text)

    def progress(self, items: Iterable[T], total: int, what: str) -> Iterator[T]:
        """Hand items on as they come, and show how far that is."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console) as bar:
            yield from bar.track(items, total=total, description=what)

    def census(self, census: Census) -> None:
        """Show what was found."""
        facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        facts.add_row("files", f"[bold]{len(census.files):,}")
        facts.add_row("lines", f"[bold]{census.lines:,}")
        facts.add_row("functions", f"[bold]{census.functions:,}")
        facts.add_row("most used names", self._most_used(census, 8))
        facts.add_row("longest functions", self._longest(census, 3))
        facts.add_row("do not parse", self._unparsed(census))
        self.console.print(facts)

    def _most_used(self, census: Census, count: int) -> str:
        return ", ".join(f"{name} {uses:,}" for name, uses in census.names.most_common(count))

    def _longest(self, census: Census, count: int) -> str:
        return "\n".join(
            f"{function.lines:,} lines: {function.name} in {self.short(function.path)}"
            for function in census.longest_functions(count)
        )

    def _unparsed(self, census: Census) -> str:
        if not census.unparsed:
            return "none"
        names = ", ".join(Path(each.path).name for each in census.unparsed[:3])
        more = len(census.unparsed) - 3
        return f"{len(census.unparsed)}: {names}" + (f" and {more} more" if more > 0 else "")

    def races(self, races: Iterable[Race]) -> None:
        """Show times and ratios."""
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("one task", no_wrap=True)
        for column in ("tasks", STDLIB, TINES, "ratio"):
            table.add_column(column, justify="right")
        busiest = 0.0
        for race in races:
            busiest = max(busiest, race.other_load)
            table.add_row(
                race.subject,
                f"{race.tasks:,}",
                _times(race, STDLIB),
                _times(race, TINES),
                _ratio(race),
            )
        self.console.print(table)
        if busiest >= QUIET:
            self.say(
                f"[yellow]Other programs kept {busiest:.1f} cores busy meanwhile, so these times "
                "cannot be compared. Run it again on a quiet machine.[/]"
            )

    def survival(self, outcome: Outcome, total: int) -> None:
        """Show what a kill cost."""
        self.say(
            f"killed worker {outcome.killed} with SIGKILL: "
            f"[bold]{len(outcome.results):,} of {total:,}[/] files measured, "
            f"{len(outcome.lost)} lost"
        )
        for path, error in outcome.lost.items():
            self.say(
                f"  [yellow]{self.short(path)}[/]: {type(error).__name__}: worker {error.pid} was "
                f"ended by {error.signal} in attempt {error.attempt}"
            )

    def short(self, path: str) -> str:
        """Return a path as it is below the library."""
        return str(Path(path).relative_to(self._library))


def _ratio(race: Race) -> str:
    if not race.comparable:
        return "[yellow]busy[/]"
    style = "green" if race.ratio >= 1 else "yellow"
    return f"[bold {style}]{race.ratio:.2f}x"


def _times(race: Race, contender: str) -> str:
    best, worst = race.spread(contender)
    return f"{race.median(contender):.2f} s [dim]({best:.2f}-{worst:.2f})[/]"
