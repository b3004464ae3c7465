"""``progress=``: what may be given, checked where it is given."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from typing import Any, TextIO

from tines._arguments import whole_number
from tines.progress.contract import Display

__all__ = ["STYLES", "ProgressArgument", "ProgressOptions", "choose"]

STYLES = ("auto", "rich", "tqdm", "plain")

CHOICES = (
    "True, False, a tines.progress.ProgressOptions, a rich.progress.Progress, a tqdm bar or class, "
    "or an object with the methods of tines.progress.Display"
)


@dataclass(frozen=True)
class ProgressOptions:
    """How progress is shown.

    Attributes:
        description: What stands before the figures; the name of the function, if empty.
        total: How many items there will be, where the input has no ``len()``.
        display: ``"rich"``, ``"tqdm"`` or ``"plain"``; ``"auto"`` takes rich in a terminal or
            notebook and plain lines elsewhere. Or an object: a ``rich.progress.Progress``, a tqdm bar
            or class, a :class:`~tines.progress.contract.Display`.
        refresh: Seconds between two looks.
        file: Where to write; ``sys.stderr`` of the moment, if not given.
        leave: Whether the last state stays on the terminal.
    """

    description: str = ""
    total: int | None = None
    display: Any = "auto"
    refresh: float = 0.1
    file: TextIO | None = None
    leave: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.description, str):
            raise TypeError(f"description must be a string, not {self.description!r}")
        if self.total is not None:
            object.__setattr__(self, "total", whole_number("total", self.total, least=0))
        if not isinstance(self.refresh, (int, float)) or isinstance(self.refresh, bool):
            raise TypeError(f"refresh must be a number of seconds, not {self.refresh!r}")
        if not self.refresh > 0:
            raise ValueError(f"refresh={self.refresh!r} must be above zero")
        if self.file is not None and not callable(getattr(self.file, "write", None)):
            raise TypeError(f"file must be something to write text to, not {self.file!r}")
        self._check_display()

    def _check_display(self) -> None:
        display = self.display
        if not isinstance(display, str):
            if kind_of(display) is None:
                raise TypeError(
                    f"display={display!r} is not one of: {', '.join(STYLES)}; {CHOICES}"
                )
            return
        if display not in STYLES:
            raise ValueError(f"display={display!r} is not known: use one of {', '.join(STYLES)}")
        if display in ("rich", "tqdm") and importlib.util.find_spec(display) is None:
            raise ImportError(
                f"display={display!r} needs the package {display}, which is not installed: "
                f"pip install {'tines[progress]' if display == 'rich' else display}"
            )


ProgressArgument = bool | ProgressOptions | Display | object | None
"""What ``progress=`` takes."""


def kind_of(display: object) -> str | None:
    """Return ``"rich"``, ``"tqdm"``, ``"class"`` (of tqdm's) or ``"display"`` for such an object.

    By what it can do, so that neither package has to be there to tell.
    """
    if isinstance(display, type):
        return "class" if _has(display, "update", "refresh", "set_postfix", "close") else None
    if _has(display, "add_task", "update", "start", "stop", "refresh"):
        return "rich"
    if _has(display, "update", "refresh", "set_postfix", "close"):
        return "tqdm"
    return "display" if _has(display, "draw", "close") else None


def _has(thing: object, *methods: str) -> bool:
    return all(callable(getattr(thing, name, None)) for name in methods)


def choose(progress: object, name: str = "progress") -> ProgressOptions | None:
    """Return the options for what was given as ``progress=``; ``None`` for none.

    Raises:
        TypeError: it is nothing that can show progress.
    """
    if progress is None or progress is False:
        return None
    if progress is True:
        return ProgressOptions()
    if isinstance(progress, ProgressOptions):
        return progress
    if isinstance(progress, str) or kind_of(progress) is None:
        hint = ""
        if progress in STYLES:
            hint = f"; for this one: ProgressOptions(display={progress!r})"
        raise TypeError(f"{name}={progress!r} is not understood: give {CHOICES}{hint}")
    return replace(ProgressOptions(), display=progress)
