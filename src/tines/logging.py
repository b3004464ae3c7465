"""Log records of children, at the parent's handlers: ``tines.logging.forward()``.

One call in the parent, before it starts children, and every record of a child (and of its children)
is handled in this process, by the loggers and handlers that are configured here. Children need no
configuration of their own, under any start method.

A child sends its records into a queue and a thread of the parent takes them out. The child forgets
the handlers it inherited, so nothing is written twice and no stream is shared. A record that a
killed child has sent is not lost. A child that outlives this process writes its warnings and errors to
stderr from then on, as ``logging`` does where nothing is configured.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import threading
from multiprocessing import util

from tines._pids import runs
from tines.errors import TransportError
from tines.process.base import at_start
from tines.queues import SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    Records = SimpleQueue[logging.LogRecord | None]

__all__ = ["forward"]

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_queue: Records | None = None
_listener: threading.Thread | None = None
_handled_by = 0
"""The pid of the process that handles the records."""


def forward() -> None:
    """Bring the log records of children that are started from now on to this process.

    Called again, or in a child whose parent forwards already, it does nothing.
    """
    global _queue, _listener, _handled_by
    with _lock:
        if _queue is not None:
            return
        _queue = SimpleQueue()
        _listener = threading.Thread(
            target=_listen, args=(_queue,), name="tines-logging", daemon=True
        )
        _listener.start()
        _handled_by = os.getpid()
        # When the children were joined.
        util.Finalize(None, _stop, exitpriority=-50)
        at_start(_prepare)


class _Setup:
    """What a child does at its start: the levels of its parent, and one handler."""

    def __init__(self, queue: Records, levels: dict[str, int], handled_by: int) -> None:
        self.queue = queue
        self.levels = levels
        self.handled_by = handled_by

    def __call__(self) -> None:
        global _queue, _listener, _handled_by
        _queue, _listener, _handled_by = self.queue, None, self.handled_by
        for logger in _loggers().values():
            for handler in logger.handlers[:]:
                logger.removeHandler(handler)
            logger.propagate = True
        for name, level in self.levels.items():
            logging.getLogger(name).setLevel(level)
        logging.getLogger().addHandler(_Sender(self.queue, self.handled_by))
        at_start(_prepare)


class _Sender(logging.handlers.QueueHandler):
    """Puts records into the queue, their arguments as text: those might not travel."""

    def __init__(self, queue: Records, handled_by: int) -> None:
        super().__init__(queue)  # type: ignore[arg-type]
        self._put = queue.put
        self._handled_by = handled_by

    def enqueue(self, record: logging.LogRecord) -> None:
        """Send one record, or write it, if nobody is left to handle it."""
        # Else its queue might take records for ever.
        if runs(self._handled_by):
            try:
                self._put(record)
                return
            except TransportError:
                pass  # it has just ended, and the queue with it
        last_resort = logging.lastResort
        if last_resort is not None and record.levelno >= last_resort.level:
            last_resort.handle(record)


def _prepare() -> _Setup | None:
    if _queue is None:
        return None
    levels = {name: logger.level for name, logger in _loggers().items() if logger.level}
    return _Setup(_queue, levels, _handled_by)


def _loggers() -> dict[str, logging.Logger]:
    loggers = {
        name: logger
        for name, logger in list(logging.root.manager.loggerDict.items())
        if isinstance(logger, logging.Logger)
    }
    return {**loggers, "": logging.root}


def _listen(queue: Records) -> None:
    while (record := queue.get()) is not None:
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            try:
                logger.handle(record)
            except (
                Exception
            ):  # a filter's; handlers deal with their own. The next record counts too
                _log.exception("a log record of process %s could not be handled", record.process)


def _stop() -> None:
    """Handle what has arrived, then end the listener."""
    if _queue is not None and _listener is not None and _handled_by == os.getpid():
        _queue.put(None)
        _listener.join()
