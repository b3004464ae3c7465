"""Run a program as the interpreter would: its ``__main__``, arguments, path, tracebacks, exit code.

A file is read first (:class:`Program`), and nothing is changed until that has worked. Of a module only
the name is taken: to look one up executes the packages that it is in, and those are part of the
program. So the order is that of the interpreter: path, arguments and a new ``__main__``, then the
search, then the code. From that moment the new ``__main__`` is where children that are spawned look
for what to import, and stays so until the end: threads and exit handlers outlive the main code.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import importlib.util
import io
import os
import runpy
import sys
from types import CodeType, ModuleType, TracebackType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    ExceptHook = Callable[[type[BaseException], BaseException, TracebackType | None], object]

__all__ = ["CannotRun", "Program", "from_code", "from_file", "from_module", "from_stdin", "run"]


class CannotRun(Exception):
    """There is no such program.

    Attributes:
        exit_code: What the interpreter exits with in this case.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Program:
    """A program that was found.

    It is no dataclass: those would bring ``inspect`` with them, into each program.

    Attributes:
        argument: What ``sys.argv[0]`` is to be. While a module is searched for it is ``-m``.
        path: What ``sys.path[0]`` is to be.
        names: What its ``__main__`` holds from the start.
        source: Its code, or its text where that is still to be compiled.
        filename: Where that is from, for tracebacks.
        module: The module that the interpreter would search for, and run, by way of ``runpy``.
        is_path: Whether the program is a directory or archive, and ``module`` its ``__main__``.
    """

    __slots__ = ("argument", "filename", "is_path", "module", "names", "path", "source")

    def __init__(
        self,
        argument: str,
        path: str,
        names: dict[str, object],
        source: CodeType | bytes | str = b"",
        filename: str = "",
        *,
        module: str | None = None,
        is_path: bool = False,
    ) -> None:
        self.argument = argument
        self.path = path
        self.names = names
        self.source = source
        self.filename = filename
        self.module = module
        self.is_path = is_path


def from_code(text: str) -> Program:
    """Return the program of ``-c``."""
    if sys.version_info >= (3, 13):
        # From then on tracebacks show the lines of such code.
        import linecache

        linecache.cache["<string>"] = len(text), None, text.splitlines(True), "<string>"
    return Program("-c", "", _names(), text, "<string>")


def from_stdin() -> Program:
    """Read a program from standard input, to its end."""
    if sys.stdin is None:
        raise CannotRun("standard input is closed: there is no program to read", 2)
    return Program("-", "", _names(file="<stdin>"), sys.stdin.buffer.read(), "<stdin>")


def from_file(path: str) -> Program:
    """Return a script, or what a directory or an archive with a ``__main__`` holds.

    Raises:
        CannotRun: there is none.
    """
    absolute = os.path.join(os.getcwd(), path)
    if _is_searched(path):
        return Program(path, absolute, _names(), module="__main__", is_path=True)
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
    return Program(path, directory, _names(loader, file=absolute), source, absolute)


def from_module(name: str) -> Program:
    """Return the program of ``-m``; whether there is one is found out when it is run."""
    return Program("-m", os.getcwd(), _names(), module=name)


def run(program: Program, arguments: Sequence[str]) -> None:
    """Run a program to the end of its main code; what it raises comes out, with its own traceback.

    Args:
        program: What to run.
        arguments: Its arguments.
    """
    _set_path(program)
    sys.argv[:] = [program.argument, *arguments]
    main = ModuleType("__main__")
    vars(main).update(program.names, __builtins__=builtins)
    # The second name is what children that are spawned call it: their objects come back under it.
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    try:
        if program.module is not None:
            # Not public, but what the interpreter itself calls for ``-m`` and for directories.
            start: Callable[..., object] = runpy._run_module_as_main  # type: ignore[attr-defined]
            start(program.module, alter_argv=not program.is_path)
        else:
            code = program.source
            if not isinstance(code, CodeType):
                code = compile(code, program.filename, "exec", dont_inherit=True)
            exec(code, vars(main))
    except SystemExit:
        raise
    except BaseException:
        sys.excepthook = _Hook(sys.excepthook)
        raise


def _is_searched(path: str) -> bool:
    """Return whether modules can be in there: whether it is a directory or an archive.

    As ``pkgutil.get_importer`` finds out, which would bring ``typing`` with it.
    """
    importer = sys.path_importer_cache.get(path)
    if importer is None:
        for hook in sys.path_hooks:
            try:
                importer = hook(path)
            except ImportError:
                continue
            sys.path_importer_cache.setdefault(path, importer)
            break
    return hasattr(importer, "find_spec")


def _set_path(program: Program) -> None:
    # Under -I and -P nothing was put in front of the path, and only a directory or archive is.
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        sys.path[0] = program.path
    elif program.is_path:
        sys.path.insert(0, program.path)


class _Hook:
    """Hands the exception of the program to its excepthook, without our frames."""

    def __init__(self, hook: ExceptHook) -> None:
        self._hook = hook

    def __call__(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        while trace is not None:
            ours = trace.tb_frame.f_code is run.__code__
            trace = trace.tb_next
            if ours:
                break
        error.__traceback__ = trace
        self._hook(kind, error, trace)


def _names(
    loader: object = importlib.machinery.BuiltinImporter, file: str | None = None
) -> dict[str, object]:
    names = {"__loader__": loader, "__package__": None, "__spec__": None}
    if file is not None:
        names["__file__"] = file
        if sys.version_info < (3, 15):
            names["__cached__"] = None
    return names


def _text(error: OSError) -> str:
    return f"[Errno {error.errno}] {error.strerror}"
