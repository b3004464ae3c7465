"""A worker that is traced: the pool's own worker, on channels that look at the clock.

What a task goes through is seen at the edges: it is received, its items begin, it is over, its outcome is
sent. The worker's loop is the same as without tracing.
"""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import current_process
from typing import TYPE_CHECKING, Any

from tines import _clock
from tines.pool.worker import main as worker
from tines.pool.worker.functions import FunctionCache, name_of
from tines.tracing import recorder as _recorder
from tines.tracing.records import (
    FLAGS_SHIFT,
    ITEMS_SHIFT,
    NAME_SHIFT,
    TAG_MASK,
    Kind,
    cpu_bits,
    meta,
)
from tines.wire import messages

if TYPE_CHECKING:
    from tines.engines.contract import Control
    from tines.pool.worker.functions import Carried
    from tines.tracing.recorder import Join, Recorder
    from tines.transport.contract import Buffer, Channel, Message
    from tines.wire.tracebacks import Place, RemoteException

__all__ = ["Badge"]

_now = _clock.monotonic_ns
_cpu = time.process_time_ns

# The two ends of a record: see ``records.py``. The last word of each says that it is whole.
_OPENING = struct.Struct("=4Q")
_CLOSING = struct.Struct("=5Q")
_CLOSING_AT = 3 * 8

# Ends no message, so that every function is looked up.
_NO_TRAILER = b"\xff" * 8

_TASK = meta(Kind.TASK, items=0)

_MOST_NAMES = 256
"""How many functions a worker knows the name of by their trailer; the pool's workers keep as many."""


@dataclass(frozen=True)
class Badge:
    """Whose worker a process is.

    Attributes:
        join: Opens its spool, where the process has not done that at its start.
        owner: The identity of the spool of the pool's process.
        pool: The number of the pool there.
    """

    join: Join
    owner: int
    pool: int

    def run(self, control: Control | None, spec: worker.WorkerSpec) -> None:
        """Be a worker that is traced; see :class:`tines.pool.worker.main.Witness`."""
        self.join()
        recorder = _recorder.current()
        if recorder is None:
            worker.run(worker.Worker(control, spec))
            return
        recorder.spool.join_pool(self.owner, self.pool, spec.slot)
        # Here it is known, also to a forked process; the parent's record of the start may be dropped.
        recorder.spool.rename(current_process().name)
        log = _TaskLog(recorder)
        tasks: Any = _Tasks(spec.tasks, log)
        results: Any = _Results(spec.results, log)
        spec = worker.WorkerSpec(spec.slot, tasks, results, spec.setup, spec.environment)
        worker.run(_TracedWorker(control, spec, log))


class _TaskLog:
    """Writes the record of the task that is running. For the worker's main thread alone.

    Attributes:
        name: The number of the name of the function that was looked up last.
        called: That name.
        details: Where what is too long for records goes.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.spool = recorder.spool
        self.details = recorder.details()
        self._recorder = recorder
        self._message: Message | None = None
        self._memory = self.spool.memory
        self._words = self.spool.words
        self.name = 0
        self.called = ""
        self._number = -1
        self._at = 0
        self._opening = (0, 0, 0)
        self._items = 1
        self._begun = 0
        self._ended = 0
        self._cpu_begun = self._cpu_bits = 0

    def ready(self) -> None:
        """The worker is ready for its first task."""
        now = _now()
        self.spool.write(0, self.spool.opened, 0, meta(Kind.BOOT), 0, 0, 0, now)
        self._recorder.look_at_memory(now)

    def received(self, message: Message, waited: int, received: int) -> None:
        """A task was taken."""
        tag = message[1]
        spool = self.spool
        if spool.stopped:
            self._number = -1
            return
        self._number = number = spool.take()
        self._at = at = spool.place(number)
        self._message = message
        self._opening = opening = (tag & TAG_MASK, waited, received)
        self._begun = self._ended = self._cpu_bits = 0
        self._items = 1
        self.name = 0
        _OPENING.pack_into(self._memory, at, *opening, _TASK)

    def begun(self, items: int) -> None:
        """It was unpickled, and begins to run."""
        if self._number >= 0:
            self._items = items
            word = self._at >> 3
            self._words[word + 3] = _TASK | self.name << NAME_SHIFT | items << ITEMS_SHIFT
            self._cpu_begun = _cpu()
            self._words[word + 4] = self._begun = _now()

    def ended(self) -> None:
        """It has run; what follows is pickling."""
        if not self._ended:
            self._ended = _now()
            if self._begun:
                self._cpu_bits = cpu_bits(_cpu() - self._cpu_begun, self._ended - self._begun)

    def done(self, raised: bool, sending: int, done: int) -> None:
        """Its outcome was sent."""
        number, self._number = self._number, -1
        self._message = None
        if number < 0:
            return
        spool = self.spool
        flags = raised << FLAGS_SHIFT | self._cpu_bits
        word = _TASK | flags | self.name << NAME_SHIFT | self._items << ITEMS_SHIFT
        begun = self._begun or self._ended or sending
        closing = (word, begun, self._ended or sending, sending, done)
        if spool.holds(number):
            _CLOSING.pack_into(self._memory, self._at + _CLOSING_AT, *closing)
        else:  # threads of the task have filled the spool since
            spool.write(*self._opening, *closing)
        self._recorder.look_at_memory(done)

    def finishing(self) -> None:
        """It was well, and its outcome is about to be sent; whoever has that may end the trace."""
        message, self._message = self._message, None
        if message is not None and self.details.is_slow(self._ended - self._begun):
            kind, tag, data, buffers = message
            self.details.slow(tag & TAG_MASK, self.called, kind, data, buffers)

    def failed(self, tag: int, error: RemoteException) -> None:
        """A call raised."""
        if not self.spool.stopped:
            self.details.failed(tag & TAG_MASK, error)


class _Tasks:
    """The worker's end of the tasks channel."""

    def __init__(self, channel: Channel, log: _TaskLog) -> None:
        self._channel = channel
        self._recv = channel.recv
        self._ticking = channel.ticking
        self._log = log
        self.release = channel.release

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def recv(self, timeout: float | None = None, lease: int = -1) -> Message | None:
        """Take a message."""
        waited = _now()
        message = self._recv(timeout, lease)
        if message is not None and message[0] != messages.RETIRE:
            self._log.received(message, waited, _now())
        return message

    def ticking(self, iterable: Sequence[object], index: int) -> Iterator[object]:
        """Iterate over items, which now begin to run."""
        items = self._ticking(iterable, index)
        self._log.begun(len(iterable))
        if len(iterable) > 1:
            return items  # a chunk is over when it reports
        # No code of ours runs before the second iterator, which notes the time and is over.
        return itertools.chain(items, iter(self._log.ended, None))


class _Results:
    """The worker's end of the results channel."""

    def __init__(self, channel: Channel, log: _TaskLog) -> None:
        self._channel = channel
        self._send = channel.send
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def send(
        self,
        data: Buffer,
        buffers: Sequence[Buffer] = (),
        kind: int = 0,
        tag: int = 0,
        timeout: float | None = None,
    ) -> int:
        """Send a message; an outcome ends the record of its task."""
        ends = kind <= messages.LAST_PLAIN or kind == messages.VALUES
        if ends and kind != messages.ERROR:
            self._log.finishing()
        sending = _now()
        ticket = self._send(data, buffers, kind, tag, timeout)
        if ends:
            self._log.done(kind == messages.ERROR, sending, _now())
        elif kind == messages.READY:
            self._log.ready()
        return ticket


class _Functions(FunctionCache):
    """Functions by trailer; notes the name of what is looked up, at every message."""

    def __init__(self, log: _TaskLog) -> None:
        super().__init__()
        self._log = log
        self._names: dict[bytes, tuple[int, str]] = {}
        self.trailer = _NO_TRAILER

    def find(self, data: Buffer) -> object:
        """Return the function of a message."""
        function = super().find(data)
        trailer, self.trailer = self.trailer, _NO_TRAILER
        if function is not None:
            name = self._names.get(trailer)
            if name is None:
                if len(self._names) >= _MOST_NAMES:  # trailers of closures carry their pickles
                    self._names.clear()
                called = name_of(function)
                name = self._names[trailer] = self._log.spool.name(called), called
            self._log.name, self._log.called = name
        return function

    def carried(self, body: Carried) -> Carried:
        """Return a function that comes with its task."""
        function, inner = super().carried(body)
        self._log.called = name_of(function)
        self._log.name = self._log.spool.name(self._log.called)
        return function, inner


class _TracedWorker(worker.Worker):
    """The pool's worker, which also says when it pickles a chunk's results, and fails."""

    def __init__(self, control: Control | None, spec: worker.WorkerSpec, log: _TaskLog) -> None:
        super().__init__(control, spec)
        self._functions = _Functions(log)
        self._log = log

    def _report(
        self, kind: int, tag: int, seconds: float, values: list[object], function: object
    ) -> None:
        log = self._log
        for error in getattr(function, "errors", {}).values():
            log.failed(tag, error)
        if kind != messages.PART:
            log.ended()
            super()._report(kind, tag, seconds, values, function)
            return
        began = _now()
        super()._report(kind, tag, seconds, values, function)
        word = meta(Kind.PART, items=len(values))
        log.spool.write(tag & TAG_MASK, began, 0, word, 0, 0, 0, _now())

    def _fail(self, tag: int, error: BaseException, place: Place | None) -> None:
        self._log.ended()
        super()._fail(tag, error, place)

    def _tell(self, tag: int, remote: RemoteException) -> None:
        self._log.failed(tag, remote)  # first, as whoever has the outcome may end the trace
        super()._tell(tag, remote)
