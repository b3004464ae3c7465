"""What a process with ``returns=True`` hands back, and how its parent gets it.

The child encodes what ``run()`` returned or raised and puts it into its :class:`~.box.Box`; the
parent reads it once the child has ended. Large arrays are mapped, not copied. An exception that
nobody asked for is logged once, when the process object is given up.
"""

from __future__ import annotations

import logging

from tines.errors import ProcessLostError, ResultEncodeError, describe_exit
from tines.wire import pickling
from tines.wire.tracebacks import RemoteException

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tines.process.lifecycle.box import Box

__all__ = ["Outcome", "run_and_keep"]

_log = logging.getLogger("tines.process")


def run_and_keep(run: Callable[[], object], box: Box) -> None:
    """Run in the child: call ``run`` and put what comes of it into the box.

    Raises:
        SystemExit: ``run`` raised; the exit code is 1, and the parent has the traceback.
    """
    try:
        value = run()
    except (SystemExit, KeyboardInterrupt):
        raise  # the process is told to end: that is no outcome
    except BaseException as error:
        _put_exception(box, error)
        raise SystemExit(1) from None
    try:
        kind, data, buffers = pickling.encode(value)
        box.put_outcome(kind, (data, *buffers), failed=False)
    except Exception as error:
        _put_exception(box, _unsendable(value, error))
        raise SystemExit(1) from None


def _unsendable(value: object, error: Exception) -> ResultEncodeError:
    failure = ResultEncodeError(
        f"the process finished, but what it returned, {pickling.short_repr(value)}, cannot be "
        f"sent back: {error}"
    )
    failure.__cause__ = error
    return failure


def _put_exception(box: Box, error: BaseException) -> None:
    kind, data, buffers = pickling.encode(RemoteException.capture(error))
    box.put_outcome(kind, (data, *buffers), failed=True)


class Outcome:
    """The parent's view of one outcome. Read once, kept, and handed to every asker."""

    def __init__(self, box: Box, name: str) -> None:
        self._box = box
        self._name = name
        self._read = False
        self._asked_for = False
        self._value: object = None
        self._error: BaseException | None = None

    def get(self, pid: int | None, exitcode: int | None) -> tuple[object, BaseException | None]:
        """Return ``(value, None)`` or ``(None, error)``. The process has ended."""
        self._asked_for = True
        if not self._read:
            self._value, self._error = self._take(pid, exitcode)
            self._read = True
        return self._value, self._error

    def _take(self, pid: int | None, exitcode: int | None) -> tuple[object, BaseException | None]:
        message = self._box.outcome()
        if message is None:
            return None, _lost(self._name, pid, exitcode, self._box.dump())
        kind, failed, (data, *buffers) = message
        try:
            value = pickling.decode(kind, data, buffers)
        except Exception as error:
            return None, error
        return (None, value.revive()) if failed else (value, None)

    def give_up(self) -> None:
        """Log an exception that nobody asked for. The process object is being given up."""
        if self._asked_for or self._read:
            return
        message = self._box.outcome()
        if message is None or not message[1]:
            return
        self._read = True
        kind, _, (data, *buffers) = message
        failure: RemoteException = pickling.decode(kind, data, buffers)
        _log.error(
            "process %s failed, and its exception was never retrieved:\n%s",
            self._name,
            failure.traceback,
        )


def _lost(name: str, pid: int | None, exitcode: int | None, dump: str | None) -> ProcessLostError:
    text = f"process {name} (pid {pid}) {describe_exit(exitcode)} before it returned a result"
    if dump:
        text += f"; its stacks when it crashed:\n{dump.rstrip()}"
    return ProcessLostError(text, pid=pid, exitcode=exitcode, dump=dump)
