"""The command line of the runner: ``[option ...] (script | -m module | -c code | -) [argument ...]``.

It is the interpreter's own, so everything behind the program is the program's.
"""

from __future__ import annotations

import os
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

  --engine NAME       where the workers of its pools are, unless it says so itself; sets TINES_ENGINE
  --stats             print at the end what its pools and queues did
  --trace FILE        write a trace of its pools and processes, for Perfetto and `tines report`
"""

_TRACE = "--trace"
_ENGINE = "--engine"
_VALUED = (_ENGINE, _TRACE)


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
        path = _value(options, _TRACE, "the name of the file to write")
        engine = _value(options, _ENGINE, "the name of an engine, such as dask or simulated:2")
        if engine is not None:
            _set_engine(engine)
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
    while rest and (rest[0] == "--stats" or rest[0].partition("=")[0] in _VALUED):
        option = rest.pop(0)
        if option in _VALUED and rest:
            option = f"{option}={rest.pop(0)}"
        options.append(option)
    return options, rest


def _value(options: Sequence[str], name: str, what: str) -> str | None:
    """Return what an option was given; ``None`` if it is not there."""
    value = None
    for option in options:
        found, _, given = option.partition("=")
        if found == name:
            value = given
            if not value:
                raise program.CannotRun(f"{name} needs {what}", 2)
    return value


def _set_engine(name: str) -> None:
    """Have pools be there, also those of the program's children."""
    from tines.engines import names

    try:
        names.check_name(name, f"{_ENGINE} ")
    except ValueError as error:
        raise program.CannotRun(str(error), 2) from None
    os.environ[names.VARIABLE] = name


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
