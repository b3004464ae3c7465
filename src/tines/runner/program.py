"""Run a program as the interpreter would: its ``__main__``, arguments, path, tracebacks, exit code.

A program is found first (:class:`Program`), and nothing is changed until that has worked. Then its
``__main__`` takes the place of ours in ``sys.modules``, where children that are spawned look for
what to import, and stays there until the end: threads and exit handlers outlive the main code.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.util
import io
import os
import pkgutil
import sys
from dataclasses import dataclass
from types import CodeType, ModuleType, TracebackType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["CannotRun", "Program", "from_code", "from_file", "from_module", "from_stdin", "run"]


class CannotRun(Exception):
    """There is no such program.

    Attributes:
        exit_code: What the interpreter exits with in this case.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Program:
    """A program that was found.

    Attributes:
        source: Its code, or its text where that is still to be compiled.
        filename: Where its code is from, for tracebacks.
        argument: What ``sys.argv[0]`` is to be.
        path: What ``sys.path[0]`` is to be.
        names: What its ``__main__`` holds from the start.
        by_runpy: Whether the interpreter itself would run it through ``runpy``, whose frames its
            tracebacks then show.
    """

    source: CodeType | bytes | str
    filename: str
    argument: str
    path: str
    names: dict[str, Any]
    by_runpy: bool = False


def from_code(text: str) -> Program:
    """Return the program of ``-c``."""
    if sys.version_info >= (3, 13):
        # From then on tracebacks show the lines of such code.
        import linecache

        linecache.cache["<string>"] = len(text), None, text.splitlines(True), "<string>"
    return Program(text, "<string>", "-c", "", _names(importlib.machinery.BuiltinImporter))


def from_stdin() -> Program:
    """Read a program from standard input, to its end."""
    if sys.stdin is None:
        raise CannotRun("standard input is closed: there is no program to read", 2)
    names = _names(importlib.machinery.BuiltinImporter, file="<stdin>")
    return Program(sys.stdin.buffer.read(), "<stdin>", "-", "", names)


def from_file(path: str) -> Program:
    """Return a script, or what a directory or an archive with a ``__main__`` holds.

    Raises:
        CannotRun: there is none.
    """
    absolute = os.path.join(os.getcwd(), path)
    importer = pkgutil.get_importer(path)
    if importer is not None and hasattr(importer, "find_spec"):
        return _from_importer(importer, path, absolute)
    try:
        with io.open_code(absolute) as file:
            content = file.read()
    except OSError as error:
        raise CannotRun(f"can't open file {absolute!r}: {_text(error)}", 2) from None
    loader: Any = importlib.machinery.SourceFileLoader("__main__", absolute)
    source: CodeType | bytes = content
    if content[:4] == importlib.util.MAGIC_NUMBER:
        loader = importlib.machinery.SourcelessFileLoader("__main__", absolute)
        source = loader.get_code("__main__")
    directory = os.path.dirname(os.path.realpath(absolute))
    names = _names(loader, file=absolute)
    return Program(source, absolute, path, directory, names)


def _from_importer(importer: Any, path: str, absolute: str) -> Program:
    spec = importer.find_spec("__main__")
    if spec is None:
        raise CannotRun(f"can't find '__main__' module in {absolute!r}", 1)
    return Program(
        spec.loader.get_code("__main__"), spec.origin, path, absolute, _of_spec(spec), by_runpy=True
    )


def from_module(name: str) -> Program:
    """Return the program of ``-m``.

    Raises:
        CannotRun: there is no such module, or it is no program.
    """
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        hint = ""
        if name.endswith(".py"):
            hint = f". Try using '{name[:-3]}' instead of '{name}' as the module name."
        raise CannotRun(
            f"Error while finding module specification for {name!r} "
            f"({type(error).__name__}: {error}){hint}",
            1,
        ) from None
    if spec is None:
        raise CannotRun(f"No module named {name}", 1)
    if spec.submodule_search_locations is not None:
        if name.rpartition(".")[2] == "__main__":
            raise CannotRun("Cannot use package as __main__ module", 1)
        try:
            return from_module(f"{name}.__main__")
        except CannotRun as error:
            raise CannotRun(
                f"{error}; {name!r} is a package and cannot be directly executed", 1
            ) from None
    code = getattr(spec.loader, "get_code", lambda _: None)(name)
    if code is None:
        raise CannotRun(f"No code object available for {name}", 1)
    origin = spec.origin or name
    return Program(code, origin, origin, os.getcwd(), _of_spec(spec), by_runpy=True)


def run(program: Program, arguments: Sequence[str]) -> None:
    """Run a program to the end of its main code; what it raises comes out, with its own traceback.

    Args:
        program: What to run.
        arguments: Its arguments.
    """
    # Under -I and -P nothing was put in front of the path.
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        sys.path[0] = program.path
    sys.argv[:] = [program.argument, *arguments]
    main = ModuleType("__main__")
    vars(main).update(program.names, __builtins__=builtins)
    sys.modules["__main__"] = main
    code: CodeType | None = None
    try:
        code = (
            program.source
            if isinstance(program.source, CodeType)
            else compile(program.source, program.filename, "exec", dont_inherit=True)
        )
        exec(code, vars(main))
    except SystemExit:
        raise
    except BaseException:
        sys.excepthook = _Hook(sys.excepthook, code, program.by_runpy)
        raise


class _Hook:
    """Hands the exception of the program to its excepthook, without our frames."""

    def __init__(self, hook: Any, code: CodeType | None, by_runpy: bool) -> None:
        self._hook = hook
        self._code = code
        self._by_runpy = by_runpy

    def __call__(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        error.__traceback__ = self._cut(trace)
        self._hook(kind, error, error.__traceback__)

    def _cut(self, trace: TracebackType | None) -> TracebackType | None:
        if trace is None or trace.tb_frame.f_code is self._code:
            return trace
        rest = self._cut(trace.tb_next)
        if self._by_runpy and trace.tb_frame.f_globals.get("__name__") == "runpy":
            trace.tb_next = rest
            return trace
        return rest


def _names(loader: Any, file: str | None = None) -> dict[str, Any]:
    names = {"__loader__": loader, "__package__": None, "__spec__": None}
    if file is not None:
        names.update(__file__=file, __cached__=None)
    return names


def _of_spec(spec: importlib.machinery.ModuleSpec) -> dict[str, Any]:
    return {
        "__loader__": spec.loader,
        "__package__": spec.parent,
        "__spec__": spec,
        "__file__": spec.origin,
        "__cached__": spec.cached,
    }


def _text(error: OSError) -> str:
    return f"[Errno {error.errno}] {error.strerror}"
