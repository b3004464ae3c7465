"""The life of a trace: from the path that is tried out at the start to the file that is there at the end.

A *session* is the recording of this process and its descendants; its spools lie in a directory beside
the first trace's file. A :class:`Trace` is a window on it that becomes a file. Traces may be nested:
they share the session, which ends with the last of them.

Everything that can go wrong with the path does so at the start: there the directory, in which the file is
later written before it is put in place, is made.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import threading
from multiprocessing import current_process
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING

from tines import _clock
from tines._arguments import whole_number
from tines._fork import Rank, at_fork
from tines.tracing import recorder as _recorder
from tines.tracing.pools import TracedPool
from tines.tracing.recorder import SUFFIX, Recorder
from tines.tracing.spool import SMALLEST, Role, stop

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["WORK", "Trace", "discard_environment", "from_environment", "trace"]

MAX_BYTES = 1024 * 1024
"""How much each process records at most by default: 16,000 tasks, roughly."""

MAX_FILE_BYTES = 128 * 1024 * 1024
"""How large a file becomes at most by default, before it is compressed: 100,000 tasks, roughly."""

SMALLEST_FILE = 64 * 1024
PACKED = ".gz"
"""What the name of a file ends with that is to be compressed."""

MAIN_FACTOR = 4
"""The first process records the tasks of all workers, so its spool is so much larger."""

WORK = ".tines-"
"""What, behind the name of the file, marks the directory in which a trace is made."""

_lock = threading.RLock()
_session: _Session | None = None
_of_environment: Trace | None = None


def trace(
    path: str | os.PathLike[str],
    *,
    max_bytes: int = MAX_BYTES,
    max_file_bytes: int = MAX_FILE_BYTES,
) -> Trace:
    """Record what pools and processes do, and write it to a file that Perfetto and Chrome open.

    Args:
        path: The file; overwritten if it is there. ``tines report`` summarises it. It is compressed
            if its name ends with ``.gz``, which makes it about ten times smaller.
        max_bytes: How many bytes each process records at most; this one, four times as many. When
            it is full, the oldest tasks are dropped, and counted.
        max_file_bytes: How large the file may become, before it is compressed. What does not fit are
            the oldest tasks here as well.

    Returns:
        A context manager. Pools that are made, and processes that are started, while it is open
        are traced, and so are theirs.

    Raises:
        ValueError: ``max_bytes`` or ``max_file_bytes`` is too small.
    """
    return Trace(path, max_bytes=max_bytes, max_file_bytes=max_file_bytes)


class Trace:
    """One trace: made by :func:`trace`. A context manager, or :meth:`start` and :meth:`stop`.

    Attributes:
        path: The file that will be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int = MAX_BYTES,
        max_file_bytes: int = MAX_FILE_BYTES,
    ) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"path={path!r} is not a path: give the name of the file to write")
        max_bytes = whole_number("max_bytes", max_bytes)
        if max_bytes < SMALLEST:
            raise ValueError(
                f"max_bytes={max_bytes!r} is too small: a process needs {SMALLEST} at least"
            )
        max_file_bytes = whole_number("max_file_bytes", max_file_bytes)
        if max_file_bytes < SMALLEST_FILE:
            raise ValueError(
                f"max_file_bytes={max_file_bytes!r} is too small: a file needs {SMALLEST_FILE} at least"
            )
        self.path = Path(path)
        self._max_file_bytes = max_file_bytes
        self._max_bytes = max_bytes
        self._owner = -1
        self._work: Path | None = None
        self._session: _Session | None = None
        self._began = 0
        self._whole = False

    def start(self) -> Self:
        """Begin to record.

        Raises:
            OSError: the file could not be written there.
            ValueError: it is already running.
        """
        global _session
        # Now, not when the program ends: what it has done to the path by then does not matter, and
        # the interpreter ends a program that Ctrl-C has interrupted by SIGINT only if no source
        # code is compiled and run after that, which defining a dataclass does.
        from tines.tracing import export  # noqa: F401

        with _lock:
            if self._session is not None:
                raise ValueError(f"the trace {self.path} is already running")
            # The directory may have changed by the end of the program.
            self.path = Path(os.path.abspath(self.path))
            work = _prepare(self.path)
            self._whole = _session is None
            try:
                if _session is None:
                    _session = _Session(work, self._max_bytes)
                self._session = _session
            except BaseException:
                shutil.rmtree(work, ignore_errors=True)
                raise
            self._session.traces.append(self)
            self._work = work
            self._owner = os.getpid()
            self._began = self._session.began if self._whole else _clock.monotonic_ns()
            # When pools have ended and children were joined, but before what prints figures.
            self._exit = Finalize(None, self.stop, exitpriority=-900)
        return self

    def stop(self) -> None:
        """Write the file; a second call does nothing, nor does one in a forked child.

        Raises:
            OSError: the file cannot be written any more. What was recorded is kept then, for
                ``tines report --recover``.
        """
        if self._owner != os.getpid():
            return
        with _lock:
            ended = self._end()
            if ended is not None:
                self._write(*ended)

    def discard(self) -> None:
        """End without writing a file."""
        if self._owner == os.getpid():
            with _lock:
                ended = self._end()
                if ended is not None:
                    self._remove(*ended)

    def _end(self) -> tuple[_Session, Path] | None:
        """Take no further part in the session, and end it if nobody else does."""
        global _session
        session, work = self._session, self._work
        if session is None or work is None:
            return None
        self._session = self._work = None
        self._exit.cancel()
        session.traces.remove(self)
        if not session.traces:
            _session = None
            session.end()
        return session, work

    def _write(self, session: _Session, work: Path) -> None:
        from tines.tracing import export

        unfinished = work / "trace.json"
        window = self._began, _clock.monotonic_ns()
        export.write(
            session.directory,
            unfinished,
            window,
            session.identity,
            whole=self._whole,
            packed=self.path.name.endswith(PACKED),
            max_bytes=self._max_file_bytes,
        )
        os.replace(unfinished, self.path)
        self._remove(session, work)

    def _remove(self, session: _Session, work: Path) -> None:
        if work != session.directory:
            shutil.rmtree(work, ignore_errors=True)
        if not session.traces:
            shutil.rmtree(session.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {str(self.path)!r}{' running' if self._session else ''}>"


class _Session:
    """The recording of this process and its descendants.

    Attributes:
        directory: Where the spools are.
        traces: The traces that are open.
        identity: The identity of this process's own spool.
        began: When it began.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self.directory = directory
        self.traces: list[Trace] = []
        spool_bytes = max_bytes * MAIN_FACTOR
        name = current_process().name
        recorder = _recorder.create(directory, spool_bytes, name, Role.MAIN, TracedPool)
        recorder.child_bytes = max_bytes
        self._recorder: Recorder = recorder
        self.identity = recorder.spool.identity
        self.began = recorder.spool.opened
        # A task may trace itself inside a program that is traced; afterwards that goes on.
        self._previous = _recorder.install(recorder)

    def end(self) -> None:
        """Record no longer, in any process."""
        self._recorder.active = False
        _recorder.uninstall(self._previous)
        self._recorder.spool.close()
        for path in self.directory.glob(f"*{SUFFIX}"):
            with contextlib.suppress(OSError):
                stop(path)


def from_environment() -> None:
    """Start the trace that ``TINES_TRACE`` asks for, until this process ends.

    The variable is taken away, as programs that this one starts would write over the file.
    """
    global _of_environment
    path = os.environ.pop("TINES_TRACE", "")
    if path:
        try:
            _of_environment = trace(path).start()
        except OSError as error:
            sys.exit(f"TINES_TRACE={path}: {error.strerror or error}")


def discard_environment() -> None:
    """Give up what :func:`from_environment` has started: this is no program to be traced."""
    if _of_environment is not None:
        _of_environment.discard()


def _prepare(path: Path) -> Path:
    """Make the directory in which the file will be made."""
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "Is a directory")
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied")
        return Path(tempfile.mkdtemp(prefix=f"{path.name}{WORK}", dir=path.parent))
    except OSError as error:
        reason = f"the trace cannot be written there: {error.strerror}"
        raise type(error)(error.errno, reason, str(path)) from None


def _after_fork_in_child() -> None:
    global _lock, _session
    _lock = threading.RLock()
    _session = None


at_fork(Rank.TRACES, child=_after_fork_in_child)
