"""Log records of children, at the parent's handlers: ``tines.logging.forward()``.

One call in the parent, before it starts children, and every record of a child (and of its children)
is handled in this process, by the loggers and handlers that are configured here. Children need no
configuration of their own, under any start method.

A child sends its records into a queue and a thread of the parent takes them out. The child forgets
the handlers it inherited, so nothing is written twice and no stream is shared. A record that a
killed child has sent is not lost.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import threading
from multiprocessing import util
from typing import Any

from tines.process.base import at_start
from tines.queues import SimpleQueue

__all__ = ["forward"]

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_queue: SimpleQueue[logging.LogRecord | None] | None = None
_listener: tuple[int, threading.Thread] | None = None


def forward() -> None:
    """Bring the log records of children that are started from now on to this process.

    Called again, or in a child whose parent forwards already, it does nothing.
    """
    global _queue, _listener
    with _lock:
        if _queue is not None:
            return
        _queue = SimpleQueue()
        thread = threading.Thread(target=_listen, args=(_queue,), name="tines-logging", daemon=True)
        _listener = (os.getpid(), thread)
        thread.start()
        # When the children were joined.
        util.Finalize(None, _stop, exitpriority=-50)
        at_start(_prepare)


class _Setup:
    """What a child does at its start: the levels of its parent, and one handler."""

    def __init__(self, queue: SimpleQueue[Any], levels: dict[str, int]) -> None:
        self.queue = queue
        self.levels = levels

    def __call__(self) -> None:
        global _queue, _listener
        _queue, _listener = self.queue, None
        for logger in _loggers().values():
            for handler in logger.handlers[:]:
                logger.removeHandler(handler)
            logger.propagate = True
        for name, level in self.levels.items():
            logging.getLogger(name).setLevel(level)
        logging.getLogger().addHandler(_Sender(self.queue))
        at_start(_prepare)


class _Sender(logging.handlers.QueueHandler):
    """Puts records into the queue, their arguments as text: those might not travel."""

    def __init__(self, queue: Any) -> None:
        super().__init__(queue)
        self._put = queue.put

    def enqueue(self, record: logging.LogRecord) -> None:
        """Send one record."""
        self._put(record)


def _prepare() -> _Setup | None:
    if _queue is None:
        return None
    levels = {name: logger.level for name, logger in _loggers().items() if logger.level}
    return _Setup(_queue, levels)


def _loggers() -> dict[str, logging.Logger]:
    loggers = {
        name: logger
        for name, logger in list(logging.root.manager.loggerDict.items())
        if isinstance(logger, logging.Logger)
    }
    return {**loggers, "": logging.root}


def _listen(queue: SimpleQueue[logging.LogRecord | None]) -> None:
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
    if _queue is not None and _listener is not None and _listener[0] == os.getpid():
        _queue.put(None)
        _listener[1].join()
