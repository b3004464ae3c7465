"""The running tally on the terminal: a table where rich is installed, a line where it is not."""

from __future__ import annotations

import sys
import time
from dataclasses import fields
from types import TracebackType
from typing import Any

from chaos.tally import Tally

__all__ = ["Display"]

EVERY = 0.25


class Display:
    """A context manager that gives a function to report to."""

    def __init__(self, name: str, seed: int) -> None:
        self._title = f"chaos {name}, seed {seed}"
        self._next = 0.0
        self._live: Any = None

    def __enter__(self) -> Display:
        if sys.stderr.isatty():
            try:
                from rich.console import Console
                from rich.live import Live

                self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
                self._live.start()
            except ImportError:
                pass
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def report(self, tally: Tally) -> None:
        """Show a tally, a few times a second at the most."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + EVERY
        if self._live is not None:
            self._live.update(self._table(tally), refresh=True)
        elif sys.stderr.isatty():
            sys.stderr.write(f"\r{self._title}: {tally}")

    def _table(self, tally: Tally) -> Any:
        from rich.table import Table

        table = Table(title=self._title)
        table.add_column("")
        table.add_column("count", justify="right")
        for each in fields(tally):
            value = getattr(tally, each.name)
            wrong = value and each.metadata.get("must")
            table.add_row(
                each.name.replace("_", " "), f"{value:,}", style="bold red" if wrong else ""
            )
        return table
