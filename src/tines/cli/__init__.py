"""The command ``tines``: one module for each subcommand, imported when it is asked for.

What names no subcommand is a program to run (:mod:`tines.runner`). For that nothing is imported which
a program would not need itself: it starts as fast as without the command.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "main"]

COMMANDS = ("dashboard", "doctor", "report", "stacks", "top")
"""The subcommands. A program of the same name is run as ``./doctor``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Args:
        argv: The arguments without the program's name; those of this process by default.
    """
    from tines.runner import command

    given = sys.argv[1:] if argv is None else list(argv)
    if command.names_program(given, COMMANDS):
        return _run_program(given)
    if "tines.tracing.session" in sys.modules:
        from tines.tracing.session import discard_environment

        discard_environment()  # what TINES_TRACE asks for is the trace of a program
    from tines.cli.subcommands import parser

    arguments = parser().parse_args(given)
    try:
        code: int = arguments.run(arguments)
        return code
    except BrokenPipeError:
        # The reader (``| head``) has gone. Nothing more is to be said, at exit either.
        sys.stdout = None
        return 1


def _run_program(given: Sequence[str]) -> int:
    from tines.runner import command

    code = command.run(given)
    if code and len(given[0]) > 1 and given[0][0] != "-" and not os.path.exists(given[0]):
        # It named no file, so perhaps it was to be a subcommand.
        from tines.cli.arguments import nearest

        if hint := nearest(given[0], COMMANDS):
            print(f"tines: there is no command or file {given[0]}{hint}", file=sys.stderr)
    return code
