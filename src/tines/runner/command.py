"""The command line of the runner: ``[--stats] (script | -m module | -c code | -) [argument ...]``.

It is the interpreter's own, so everything behind the program is the program's.
"""

from __future__ import annotations

import sys

from tines.runner import program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["USAGE", "names_program", "run"]

USAGE = """\
programs:
  tines [--stats] script.py [argument ...]
  tines [--stats] -m module [argument ...]
  tines [--stats] -c code [argument ...]
  tines [--stats] - [argument ...]         from standard input

                      run a program with multiprocessing, in it and in all its children, meaning
                      tines; --stats prints at the end what its pools and queues did
"""


def names_program(argv: Sequence[str], commands: Sequence[str]) -> bool:
    """Return whether a command line asks for a program rather than for one of ``commands``."""
    first = next((argument for argument in argv if argument != "--stats"), None)
    if first is None:
        return False
    return first == "-" or first[:2] in ("-m", "-c") or not (first[0:1] == "-" or first in commands)


def run(argv: Sequence[str]) -> int:
    """Run the program that a command line asks for; return the exit code.

    What the program raises comes out of here, as it would come out of the program.
    """
    from tines.runner import alias

    arguments = list(argv)
    wants_stats = arguments[0] == "--stats"
    if wants_stats:
        del arguments[0]
    try:
        found, rest = _find(arguments)
    except program.CannotRun as error:
        print(f"{sys.executable}: {error}", file=sys.stderr)
        return error.exit_code
    if wants_stats:
        from tines.runner import stats

        stats.start()
    alias.install()
    program.run(found, rest)
    return 0


def _find(arguments: Sequence[str]) -> tuple[program.Program, Sequence[str]]:
    first, *rest = arguments
    if first == "-":
        return program.from_stdin(), rest
    option, value = first[:2], first[2:]
    if option not in ("-m", "-c"):
        return program.from_file(first), rest
    if not value:
        if not rest:
            raise program.CannotRun(f"Argument expected for the {option} option", 2)
        value, *rest = rest
    return (program.from_module if option == "-m" else program.from_code)(value), rest
