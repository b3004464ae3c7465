"""Pools that are traced: the inside of a pool with its channels and its engine wrapped.

Nothing in the pool knows of tracing. A traced pool sends through :class:`_Sender`, collects into
:class:`_Inbox` and starts workers through :class:`_Engine`, whose workers run
:func:`tines.tracing.workers.main`. A pool that is not traced has none of these.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tines.pool.runtime.core import Core
from tines.pool.runtime.dispatcher import Dispatcher
from tines.tracing import recorder as _recorder
from tines.tracing import workers
from tines.tracing.records import FLAGS_SHIFT, ITEMS_SHIFT, POOL_SHIFT, Kind, Order, meta
from tines.wire import messages
from tines.wire.messages import Order as PoolOrder
from tines.wire.messages import Verb

if TYPE_CHECKING:
    from tines.engines.contract import Engine, Exit, Running
    from tines.pool.jobs.chunk import Chunk
    from tines.pool.jobs.result import ApplyResult
    from tines.pool.options import PoolOptions
    from tines.pool.worker.main import WorkerSpec
    from tines.pool.worker.setup import Setup
    from tines.tracing.recorder import Recorder
    from tines.transport.contract import Buffer, Channel, Message, Transport

__all__ = ["TracedCore"]

_now = time.monotonic_ns

_SUBMIT = meta(Kind.SUBMIT, items=0)
_RESULT = meta(Kind.RESULT)
_RAISED = meta(Kind.RESULT, flags=1)


class TracedCore(Core):
    """The inside of a pool that is traced; made in place of ``Core`` while a trace runs."""

    def __init__(
        self, options: PoolOptions, setup: Setup, transport: Transport, engine: Engine
    ) -> None:
        recorder = _recorder.current()
        assert recorder is not None
        number = recorder.new_pool(transport.name, options.processes)
        super().__init__(options, setup, transport, _Engine(engine, recorder, number))
        self._plain_tasks = self.tasks
        self.tasks: Any = _Sender(self.tasks, recorder, number, self.state.pending)
        self.dispatcher: Dispatcher = _Dispatcher(self, recorder)
        self.collector._inbox = _Inbox(recorder, number)

    def spec(self, slot: int) -> WorkerSpec:
        """Return what a worker is told: it wraps its channels itself."""
        spec = super().spec(slot)
        spec.tasks = self._plain_tasks
        return spec


class _Dispatcher(Dispatcher):
    """Notes when the pickling of what is sent begins; what it sends on is a :class:`_Sender`."""

    def __init__(self, core: Core, recorder: Recorder) -> None:
        super().__init__(core)
        self._recorder = recorder

    def submit(self, task: ApplyResult[Any], func: Any, args: Any, kwds: Any) -> None:
        """Send a call; its pickling begins here."""
        state = self._recorder.here()
        state.began = _now()
        try:
            super().submit(task, func, args, kwds)
        finally:
            state.began = 0

    def send_chunks(self, chunks: list[Chunk]) -> None:
        """Send chunks; the pickling of each begins when the one before was sent."""
        state = self._recorder.here()
        state.began = _now()
        state.chunks = True
        try:
            super().send_chunks(chunks)
        finally:
            state.began = 0
            state.chunks = False


class _Sender:
    """The parent's end of the tasks channel: records what is sent."""

    def __init__(
        self, channel: Channel, recorder: Recorder, pool: int, pending: dict[int, Any]
    ) -> None:
        self._channel = channel
        self._send = channel.send
        self._recorder = recorder
        self._pool = pool << POOL_SHIFT
        self._pending = pending

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
        """Send a message, and record it if it is a task."""
        recorder = self._recorder
        # Before it is sent: its outcome may be there before the call returns.
        task = self._pending.get(tag)
        if task is None or not recorder.active:
            return self._send(data, buffers, kind, tag, timeout)
        state = recorder.here()
        sending = _now()
        began = state.began or sending
        ticket = self._send(data, buffers, kind, tag, timeout)
        end = _now()
        state.last = end
        state.began = end if state.chunks else 0
        attempt = min(task.attempt, 255) << FLAGS_SHIFT
        word = _SUBMIT | attempt | (task.stop - task.start) << ITEMS_SHIFT
        size = _size(data, buffers) if buffers else len(data)
        recorder.spool.write(self._pool | tag, began, sending, word, state.tid, size, 0, end)
        return ticket

    def send_many(
        self,
        messages: Sequence[Message],
        timeout: float | None = None,
        tickets: list[int] | None = None,
    ) -> int:
        """Send messages one by one, so that each has its times."""
        sent = 0
        for kind, tag, data, buffers in messages:
            ticket = self.send(data, buffers, kind, tag, timeout)
            if ticket < 0:
                break
            if tickets is not None:
                tickets.append(ticket)
            sent += 1
        return sent


class _Inbox(deque[Any]):
    """The collector's inbox: records what leaves it, which is when it was dealt with.

    Messages still arrive in one step of C, as the collector demands.
    """

    def __init__(self, recorder: Recorder, pool: int) -> None:
        super().__init__()
        self._recorder = recorder
        self._pool = pool << POOL_SHIFT
        self._since = 0

    def extend(self, messages: Iterable[Message]) -> None:
        """Take messages."""
        super().extend(messages)
        self._since = _now()

    def popleft(self) -> Any:
        """Remove a message that was dealt with."""
        message = super().popleft()
        kind, tag, data, buffers = message
        recorder = self._recorder
        if (kind == messages.VALUES or kind <= messages.LAST_PLAIN) and recorder.active:
            state = recorder.here()
            began = max(self._since, state.last)
            self._since = state.last = end = max(_now(), began)
            word = _RAISED if kind == messages.ERROR else _RESULT
            number = self._pool | tag & messages.TAG_MASK
            slot = tag >> messages.SLOT_SHIFT
            size = _size(data, buffers) if buffers else len(data)
            recorder.spool.write(number, began, slot, word, state.tid, size, 0, end)
        return message


class _Engine:
    """Starts workers that record what they do."""

    def __init__(self, engine: Engine, recorder: Recorder, pool: int) -> None:
        self._engine = engine
        self._recorder = recorder
        self._pool = pool
        self.watch = engine.watch

    def start(
        self,
        name: str,
        target: Callable[..., object],
        args: tuple[Any, ...],
        environment: Mapping[str, str],
    ) -> Running:
        """Start a worker; see the contract."""
        recorder = self._recorder
        join = recorder.join(name)
        if join is None:
            return self._engine.start(name, target, args, environment)
        badge = workers.Badge(join, recorder.spool.identity, self._pool)
        running = self._engine.start(name, workers.main, (badge, *args), environment)
        return _Running(running, recorder)


class _Running:
    """A worker that was started: records what it is ordered."""

    def __init__(self, running: Running, recorder: Recorder) -> None:
        self._running = running
        self._recorder = recorder
        self.pid = running.pid

    @property
    def sentinel(self) -> Any:
        """Ready once the worker has ended."""
        return self._running.sentinel

    def interrupt(self, order: bytes) -> bool:
        """Give an order."""
        verb = PoolOrder.decode(order).verb
        self._note(Order.TIMEOUT if verb == Verb.TIMEOUT else Order.CANCEL)
        return self._running.interrupt(order)

    def terminate(self) -> None:
        """Ask it to end."""
        self._note(Order.TERMINATE)
        self._running.terminate()

    def kill(self) -> None:
        """End it."""
        self._note(Order.KILL)
        self._running.kill()

    def outcome(self) -> Exit:
        """Reap it."""
        return self._running.outcome()

    def _note(self, order: Order) -> None:
        self._recorder.ordered(self.pid or 0, order)


def _size(data: Any, buffers: Sequence[Any]) -> int:
    size = len(data)
    for buffer in buffers:
        size += memoryview(buffer).nbytes
    return size
