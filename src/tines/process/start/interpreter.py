"""Start an interpreter like this one, to call one of our functions: a child, a spare, a fork server.

All of them are started here, with the executable and the flags that the standard library's ``spawn`` would
use, and by one of two command lines. Ours is shorter, and starts faster; it is used where the standard
library would hand its own to ``python -c`` too. A frozen program has no such thing: its executable is the
program, which finds out by ``freeze_support()`` what it was started for. Nor has one that has put a
``get_command_line`` of its own into ``multiprocessing.spawn``. There the command line is theirs, and leads to
the standard library's ``spawn_main``. That reads an object from a pipe and calls a method of it; the object
is one of ours, which calls the function.
"""

from __future__ import annotations

import contextlib
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import NoReturn

__all__ = [
    "check_executable",
    "command",
    "own_command_line",
    "prologue",
    "replace",
    "start",
    "tracker",
]

prologue = ""
"""Source that every new interpreter runs before anything else of ours; set by the runner."""


def own_command_line() -> bool:
    """Return whether an interpreter can be started by ``-c``."""
    from multiprocessing import spawn

    if getattr(sys, "frozen", False):
        return False
    module = getattr(spawn.get_command_line, "__module__", None)
    return module == "multiprocessing.spawn"


def tracker() -> int:
    """Return the descriptor by which a child reaches the resource tracker, which is started if need be."""
    from multiprocessing import resource_tracker

    fd = resource_tracker.getfd()
    assert fd is not None
    return fd


def check_executable() -> None:
    """Refuse to start anything where there is nothing to start.

    Raises:
        StartError: no executable is known.
    """
    from multiprocessing import spawn

    if own_command_line() and not spawn.get_executable():
        from tines.errors import StartError

        raise StartError(
            "there is no Python to start: sys.executable is empty, as in some programs that embed Python; "
            "name one with set_executable(), or use the start method 'fork'"
        )


def start(module: str, function: str, arguments: tuple[object, ...], fds: Iterable[int]) -> int:
    """Start an interpreter that calls a function, and return its pid.

    It is called with the collector of cyclic garbage switched off: it finds nothing in what is
    imported at the start. The function switches it on again.

    Args:
        module: Where the function is.
        function: Its name.
        arguments: Numbers and strings.
        fds: Descriptors that are to have the same numbers there.

    Raises:
        StartError: there is nothing to be started.
        OSError: it cannot be started.
    """
    from multiprocessing import util

    with _command(module, function, arguments) as (command, own):
        passed = sorted({*fds, *own})
        return util.spawnv_passfds(os.fsencode(command[0]), command, passed)


def command(module: str, function: str) -> list[str]:
    """Return a command line for such an interpreter, which needs no descriptors.

    Raises:
        StartError: there is nothing to be started.
    """
    return _ours(module, function, ())


def replace(module: str, function: str, arguments: tuple[object, ...]) -> NoReturn:
    """Become such an interpreter; descriptors that can be inherited are."""
    with _command(module, function, arguments) as (command, own):
        for fd in own:
            os.set_inheritable(fd, True)
        os.execv(command[0], command)


@contextlib.contextmanager
def _command(
    module: str, function: str, arguments: tuple[object, ...]
) -> Iterator[tuple[list[str], list[int]]]:
    """Make a command line, and the descriptors that it needs."""
    if own_command_line():
        yield _ours(module, function, arguments), []
        return
    from multiprocessing import spawn

    reader, writer = os.pipe()
    try:
        with os.fdopen(writer, "wb") as file:
            file.write(_message(_Call(module, function, arguments, prologue)))
        tracker_fd = tracker()
        command = spawn.get_command_line(tracker_fd=tracker_fd, pipe_handle=reader)
        yield [os.fsdecode(part) for part in command], [reader, tracker_fd]
    finally:
        os.close(reader)


def _ours(module: str, function: str, arguments: tuple[object, ...]) -> list[str]:
    from multiprocessing import spawn, util

    check_executable()
    # Last on the path, where it hides nothing: the child may find tines only through the path that
    # its parent set up itself, and will be told of that path only when it has found tines.
    root = os.path.dirname(os.path.dirname(os.path.abspath(str(sys.modules["tines"].__file__))))
    program = (
        f"import gc, sys; gc.disable(); sys.path.append({root!r}); {prologue}"
        f"from {module} import {function}; {function}{arguments!r}"
    )
    options = util._args_from_interpreter_flags()  # type: ignore[attr-defined]
    executable = os.fsdecode(spawn.get_executable())
    return [executable, *options, "-c", program, "--multiprocessing-fork"]


def _message(call: _Call) -> bytes:
    """Return what ``spawn_main`` reads: how to prepare itself, and the process to be."""
    import pickle

    return pickle.dumps({"sys_path": sys.path}) + pickle.dumps(call)


class _Call:
    """Takes the place of a process object, and calls a function instead of being one."""

    def __init__(
        self, module: str, function: str, arguments: tuple[object, ...], prologue: str
    ) -> None:
        self._what = module, function, arguments
        self._prologue = prologue

    def _bootstrap(self, parent_sentinel: int) -> int:
        import gc

        os.close(parent_sentinel)
        gc.disable()
        exec(self._prologue)
        module, function, arguments = self._what
        __import__(module)
        getattr(sys.modules[module], function)(*arguments)
        return 0
