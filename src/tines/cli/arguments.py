"""The parser of all subcommands: what is not known is answered with the nearest that is."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

__all__ = ["Parser", "nearest", "one_of", "seconds"]


def nearest(given: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean X?"`` for the nearest of what is known, or nothing."""
    found = difflib.get_close_matches(given, list(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else ""


def one_of(*names: str) -> Callable[[str], str]:
    """Return a type for ``add_argument``: one of some names."""

    def check(given: str) -> str:
        if given in names:
            return given
        hint = nearest(given, names)
        raise argparse.ArgumentTypeError(f"{given!r} is not one of {', '.join(names)}{hint}")

    return check


def seconds(least: float, most: float) -> Callable[[str], float]:
    """Return a type for ``add_argument``: a number of seconds in a range."""

    def check(given: str) -> float:
        try:
            value = float(given)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"{given!r} is not a number of seconds from {least:g} to {most:g}"
            )
        return value

    return check


class Parser(argparse.ArgumentParser):
    """A parser that names the nearest valid option. An option is known by its whole name only.

    Args:
        also: Options that are valid in this place, though not this parser's business.
        options: Those of ``argparse``.
    """

    def __init__(self, *, also: Sequence[str] = (), **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        self._also = also
        self.set_defaults(parser=self)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; end with a message and code 2 where that fails."""
        given = sys.argv[1:] if args is None else list(args)
        if given and given[0].startswith("-") and given[0] not in self.options():
            self.refuse(given[:1])  # before what follows it is taken for a command
        found, unknown = self.parse_known_args(given, namespace)
        if unknown:
            found.parser.refuse(unknown)
        if found.run is None:
            self.error("name a command or a program")
        return found

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Say what is not known, and what may have been meant."""
        for each in unknown:
            if each.startswith("-") and each != "-":
                name = each.partition("=")[0]
                self.error(f"there is no option {name}{nearest(name, self.options())}")
        self.error(f"unexpected: {' '.join(unknown)!r}")

    def options(self) -> list[str]:
        """Return all options of this parser."""
        return [*self._also, *(name for action in self._actions for name in action.option_strings)]
