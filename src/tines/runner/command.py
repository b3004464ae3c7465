"""The command line of the runner: ``[option ...] (script | -m module | -c code | -) [argument ...]``.

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
  tines [option ...] script.py [argument ...]
  tines [option ...] -m module [argument ...]
  tines [option ...] -c code [argument ...]
  tines [option ...] - [argument ...]         from standard input

                      run a program with multiprocessing, in it and in all its children, meaning
                      tines

  --stats             print at the end what its pools and queues did
  --trace FILE        write a trace of its pools and processes, for Perfetto and `tines report`
"""

_TRACE = "--trace"


def names_program(argv: Sequence[str], commands: Sequence[str]) -> bool:
    """Return whether a command line asks for a program rather than for one of ``commands``."""
    options, rest = _split(argv)
    if not rest:
        return bool(options)  # without a program: the runner says what is missing
    first = rest[0]
    return first == "-" or first[:2] in ("-m", "-c") or not (first[0:1] == "-" or first in commands)


def run(argv: Sequence[str]) -> int:
    """Run the program that a command line asks for; return the exit code.

    What the program raises comes out of here, as it would come out of the program.
    """
    from tines.runner import alias

    options, arguments = _split(argv)
    try:
        path = _trace_path(options)
        if not arguments:
            raise program.CannotRun("there is no program to run: name one after the options", 2)
        found, rest = _find(arguments)
        if path is not None:
            _start_trace(path)
    except program.CannotRun as error:
        print(f"{sys.executable}: {error}", file=sys.stderr)
        return error.exit_code
    if "--stats" in options:
        from tines.runner import stats

        stats.start()
    alias.install()
    program.run(found, rest)
    return 0


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the runner's own options, and the rest: the program and what is its."""
    options: list[str] = []
    rest = list(argv)
    while rest and (rest[0] in ("--stats", _TRACE) or rest[0].startswith(f"{_TRACE}=")):
        option = rest.pop(0)
        if option == _TRACE and rest:
            option = f"{_TRACE}={rest.pop(0)}"
        options.append(option)
    return options, rest


def _trace_path(options: Sequence[str]) -> str | None:
    path = None
    for option in options:
        if option.startswith(_TRACE):
            path = option.partition("=")[2]
            if not path:
                raise program.CannotRun("--trace needs the name of the file to write", 2)
    return path


def _start_trace(path: str) -> None:
    from tines.tracing import trace

    try:
        trace(path).start()
    except OSError as error:
        raise program.CannotRun(f"--trace {path}: {error.strerror or error}", 2) from None


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
