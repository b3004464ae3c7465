"""Settings of the start methods: the standard library's own, which ours obey."""

from __future__ import annotations

import sys

from tines._std import mirrored, standard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.spawn import (
        get_command_line,
        get_executable,
        get_preparation_data,
        import_main_path,
        set_executable,
    )

__all__ = [
    "freeze_support",
    "get_command_line",
    "get_executable",
    "get_preparation_data",
    "import_main_path",
    "set_executable",
]

_HELPERS = (
    "from multiprocessing.resource_tracker import main",
    "from multiprocessing.forkserver import main",
)

__getattr__ = mirrored(__name__)


def freeze_support() -> None:
    """Be what this process was started for, if that is not the program: a child of a frozen program.

    To be called first in the main module's ``if __name__ == "__main__":``. In a program that is not frozen
    it does nothing. Unlike the standard library's it serves on every system, and the helper processes of
    the standard library too, whose command lines are ``-c`` and a line of source.
    """
    if not getattr(sys, "frozen", False):
        return
    for option, code in zip(sys.argv[1:], sys.argv[2:], strict=False):
        if option == "-c" and code.removeprefix("import sys; ").startswith(_HELPERS):
            exec(code, {})
            sys.exit()
    # Looked up now: tools that freeze programs put one of their own there.
    standard("spawn").freeze_support()
