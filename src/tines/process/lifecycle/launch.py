"""What a child that is not forked from its parent needs to know, and how it gets it.

The parent writes one message into a shared file and hands over the descriptor: the preparation data
of the standard library (paths, main module, authentication key), then the process object with its
arguments. Large arrays in them are mapped by the child instead of going through a pipe, and
``start()`` does not wait for a child that is still starting up.

Functions and classes of an interactive session, and lambdas, travel by value.

A main module that starts processes when it is imported, or sets the start method by the standard
library's function, would have its children fail in all sorts of ways. They fail in one way: with a short
message, or, as a worker, whose pool says it once, without a word.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing.process as std
import os
import pickle
import sys
import time

from tines._std import standard
from tines.process import family, liveness, shared_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Any

    from tines.errors import StartError
    from tines.process.lifecycle.contract import Launchable

__all__ = [
    "STARTING",
    "UNGUARDED",
    "SameNumber",
    "check_guard",
    "import_ready",
    "importing_main",
    "make_ready",
    "pack",
    "prepare",
    "ready",
    "run",
    "set_environment",
    "with_guard",
]

_ready: list[str] = []

_ENVIRONMENT = "tines_environment"
"""Beside the standard library's names in the preparation data: variables to set before all else, or to
remove, which ``None`` stands for."""

_FAMILY = "tines_family"
"""There too: what the child holds for the servers of its family (:mod:`tines.process.family`)."""


def make_ready(module: str) -> None:
    """Have new servers and spare interpreters import a module of tines before they have a job.

    For rooms above this one: what their children will need anyway. Programs name their own modules
    with ``set_forkserver_preload()``.
    """
    if module not in _ready:
        _ready.append(module)


def ready() -> tuple[str, ...]:
    """Return what :func:`make_ready` named so far, and what running a main module takes."""
    main = sys.modules.get("__main__")
    if getattr(main, "__spec__", None) is None and hasattr(main, "__file__"):
        return (*_ready, "pkgutil")  # ``runpy`` imports it only to run a file
    return tuple(_ready)


def import_ready(modules: tuple[str, ...]) -> None:
    """Import them, in a server or spare. What fails is the job's to report."""
    for module in modules:
        try:
            __import__(module)
        except ImportError:
            pass


class SameNumber:
    """Stands, in the pickle of a process, for a descriptor that has the same number in the child.

    The standard library has such a class as well, in a module that children have no other use for.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def detach(self) -> int:
        """Return the descriptor's number in the child."""
        return self._fd


STARTING = "TINES_WORKER_STARTING"
"""The variable that a child has until its main module is imported, if its parent says why it failed."""

UNGUARDED = 213
"""Exit code of such a child whose main module was not to start processes: one that nobody else uses."""

_PROBLEM = """\
a process cannot be started while this process is itself being started and imports its main module.

The main module starts processes when it is imported, and each child imports it, so each child would
start children of its own, without end. Start them only where the module is run as the program:"""

_SET_AGAIN = """\
the start method cannot be set while this process is being started and imports its main module.

The main module sets it when it is imported, and each child imports it, where it is set already. Set it
only where the module is run as the program:"""


def with_guard(problem: str, children: str) -> str:
    """Return a problem with an unguarded main module, and how to guard it."""
    return f"""\
{problem}

    if __name__ == "__main__":
        main()

(With 'spawn' and 'forkserver' {children} import the main module; with 'fork' they do not.)"""


def importing_main() -> bool:
    """Return whether this process is itself being started, and is not yet what it is to be."""
    return bool(getattr(std.current_process(), "_inheriting", False))


def check_guard() -> None:
    """Refuse to start a process from a main module that is only being imported.

    Raises:
        StartError: this process is itself being started.
    """
    if importing_main():
        raise _refusal(_PROBLEM)


def _refusal(problem: str) -> StartError:
    """Return an error that ends this process without the frames that it has gone through."""
    from tines.errors import StartError

    error = StartError(with_guard(problem, "children"))
    sys.excepthook = functools.partial(_leave, sys.excepthook, error)
    return error


def _leave(
    hook: Callable[..., object],
    expected: StartError,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    """End a process whose main module did what it was not to, and did not catch the error."""
    if error is not expected:
        hook(kind, error, trace)
        return
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    code = UNGUARDED if STARTING in os.environ else 1
    with contextlib.suppress(Exception):
        if code == 1:
            # By both names: what looks for the standard library's finds it.
            text = f"StartError: (RuntimeError) {error}"
            print(_place_in_main(trace), text, file=sys.stderr, sep="")
        sys.stderr.flush()
    os._exit(code)


def _place_in_main(trace: TracebackType | None) -> str:
    import traceback

    frames = [
        frame
        for frame, _ in traceback.walk_tb(trace)
        if frame.f_globals.get("__name__") == "__mp_main__"
    ]
    return "".join(traceback.format_stack(frames[-1], limit=1)) if frames else ""


def preparation(name: str) -> dict[str, object]:
    """Return the standard library's preparation data.

    Raises:
        StartError: this process is itself still importing its main module.
    """
    from multiprocessing import spawn

    check_guard()
    data = spawn.get_preparation_data(name)
    main_path = data.get("init_main_from_path")
    if main_path is not None and os.path.basename(main_path).startswith("<"):
        del data["init_main_from_path"]  # "<stdin>": it is no file
    return data


def pack(
    process_obj: Launchable, popen: Any, environment: Mapping[str, str | None] | None = None
) -> int:
    """Write everything the child needs into a shared file; return its descriptor.

    Args:
        process_obj: The process to start.
        popen: Collects, by ``duplicate_for_child``, descriptors that the arguments refer to.
        environment: What differs here from the environment that the child will be born with; ``None``
            for a variable that is there and should not be.

    Raises:
        EncodeError: an argument cannot be pickled.
    """
    from multiprocessing.context import set_spawning_popen
    from multiprocessing.reduction import DupFd, ForkingPickler

    from tines.wire import pickling

    data = preparation(process_obj.name)
    if environment or process_obj.environment:
        data[_ENVIRONMENT] = {**(environment or {}), **(process_obj.environment or {})}
    set_spawning_popen(popen)
    try:
        if process_obj.inherits_family and (ends := family.ends()):
            data[_FAMILY] = [DupFd(fd) for fd in ends]
        kind, rest, buffers = pickling.encode(process_obj)
        first = ForkingPickler.dumps(data)
    finally:
        set_spawning_popen(None)
    assert kind == pickling.PICKLED
    fd = shared_file.create("tines-start")
    try:
        shared_file.write_message(
            fd,
            (first, rest, *buffers),
            kind=process_obj._bound,
            flag=process_obj.own_group,
        )
    except BaseException:
        os.close(fd)
        raise
    return fd


def prepare(data: dict[str, Any]) -> None:
    """Make this process like its parent: environment, paths, arguments, directory, main module."""
    from multiprocessing import spawn

    set_environment(data.pop(_ENVIRONMENT, {}))
    if _FAMILY in data:
        family.join(given.detach() for given in data.pop(_FAMILY))
    try:
        spawn.prepare(data)
    except RuntimeError as error:
        if _sets_method_again(error):
            raise _refusal(_SET_AGAIN).with_traceback(error.__traceback__) from None
        raise
    pickling = sys.modules.get("tines.wire.pickling")
    if pickling is not None:
        pickling.note_main()


def _sets_method_again(error: BaseException) -> bool:
    """Whether this comes from the standard library's ``set_start_method()``; ours is not so strict."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    function = standard("context").DefaultContext.set_start_method
    return trace is not None and trace.tb_frame.f_code is function.__code__


def set_environment(variables: Mapping[str, str | None]) -> None:
    """Set variables of this process, or remove those that are ``None``."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if "TZ" in variables and hasattr(time, "tzset"):
        time.tzset()  # a new interpreter looks at it by itself


def run(payload_fd: int, liveness_fd: int) -> int:
    """Unpack, in the child, what :func:`pack` wrote, and run it; return the exit code."""
    from tines.process.lifecycle.bootstrap import live

    message = shared_file.read_message(payload_fd)
    os.close(payload_fd)
    if message is None:
        raise EOFError("the parent ended before it had said what to run")
    bound, own_group, (data, process_obj, *buffers) = message
    # Before the main module is imported: that can take long.
    liveness.enter(liveness_fd, bool(bound), bool(own_group))
    current: Any = std.current_process()
    current._inheriting = True
    try:
        prepare(pickle.loads(data))
        process = pickle.loads(process_obj, buffers=buffers)
    finally:
        del current._inheriting
    # Their memory belongs to the objects now; the rest of the message can go.
    del message, data, process_obj, buffers
    process._listen()
    return live(process, liveness_fd)
