"""How a new interpreter is started that calls one of our functions: a child, a spare, the fork server."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["command_line", "prologue"]

prologue = ""
"""Source that every new interpreter runs before anything else of ours; set by the runner."""


def command_line(module: str, function: str, arguments: tuple[Any, ...]) -> list[str]:
    """Return the command line of a new interpreter that calls one of our functions.

    It is called with the collector of cyclic garbage switched off: it finds nothing in what is
    imported at the start. The function switches it on again.
    """
    from multiprocessing import spawn, util

    # Last on the path, where it hides nothing: the child may find tines only through the path that
    # its parent set up itself, and will be told of that path only when it has found tines.
    root = os.path.dirname(os.path.dirname(os.path.abspath(str(sys.modules["tines"].__file__))))
    program = (
        f"import gc, sys; gc.disable(); sys.path.append({root!r}); {prologue}"
        f"from {module} import {function}; {function}{arguments!r}"
    )
    options = util._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [os.fsdecode(spawn.get_executable()), *options, "-c", program, "--multiprocessing-fork"]
