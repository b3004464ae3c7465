"""Which display shows a call, and where."""

from __future__ import annotations

import functools
import importlib.util
import multiprocessing
import os
import sys
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from tines.progress.contract import Display
from tines.progress.options import ProgressOptions, kind_of

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["make_display", "restore_streams", "shared_by"]


def shared_by(options: ProgressOptions) -> Hashable:
    """Return what calls have in common that are shown by one display."""
    if isinstance(options.display, str):
        file = options.file if options.file is not None else sys.stderr
        return options.display, id(file), options.leave
    return id(options.display)


def make_display(options: ProgressOptions) -> Display:
    """Return a new display. Imports what it needs; called by the display's thread."""
    given = options.display
    if not isinstance(given, str):
        kind = kind_of(given)
        if kind == "rich":
            from tines.progress.terminal import RichDisplay

            return RichDisplay(given, own=False)
        if kind == "display":
            return given  # type: ignore[no-any-return]
        from tines.progress.bars import TqdmDisplay

        return TqdmDisplay(make=given) if kind == "class" else TqdmDisplay(given)
    style = _style(options) if given == "auto" else given
    if style == "rich":
        from tines.progress.terminal import RichDisplay, own_progress

        return RichDisplay(own_progress(options.file, options.leave, _console(options)), own=True)
    if style == "tqdm":
        if in_notebook() and not _installed("ipywidgets"):
            from tqdm import tqdm  # text; tqdm.auto would warn that it is that
        else:
            from tqdm.auto import tqdm

        from tines.progress.bars import TqdmDisplay

        make = functools.partial(tqdm, leave=options.leave, file=options.file)
        return TqdmDisplay(make=make)
    from tines.progress.plain import PlainDisplay

    return PlainDisplay(_stream(options))


def _style(options: ProgressOptions) -> str:
    """Choose for ``"auto"``.

    A worker that shows progress of its own shares the terminal with its parent, which may have a live
    display on it: so only the first process of a program draws, the others write lines.
    """
    if multiprocessing.parent_process() is not None:
        return "plain"
    if options.file is None and in_notebook():
        # rich needs ipywidgets there to draw in place.
        if _installed("rich") and _installed("ipywidgets"):
            return "rich"
        return "tqdm" if _installed("tqdm") else "plain"
    stream = _stream(options)
    isatty = getattr(stream, "isatty", None)
    terminal = isatty is not None and isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    return "rich" if terminal and _installed("rich") else "plain"


def _console(options: ProgressOptions) -> Console | None:
    """Return where rich draws; ``None``: where it wants to."""
    if options.file is not None or not in_notebook() or _installed("ipywidgets"):
        return None
    from rich.console import Console

    # Without ipywidgets rich would warn that it cannot draw in place, each time it does.
    return Console(stderr=True, force_jupyter=False)


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = getattr(ipython, "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


class _Nowhere:
    """A program without a console has no ``sys.stderr``."""

    def write(self, _text: str) -> None:
        pass

    def flush(self) -> None:
        pass


def _stream(options: ProgressOptions) -> Any:
    return options.file or sys.stderr or _Nowhere()


def restore_streams() -> None:
    """In a forked child: undo what a live display of rich did to ``sys.stdout`` and ``sys.stderr``.

    It had put itself in between, behind a lock which another thread of the parent may have held.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        while type(stream).__module__ == "rich.file_proxy":
            stream = stream.rich_proxied_file
        setattr(sys, name, stream)
