"""Pools that are traced: what each tells its observers becomes records.

A pool that is made while a trace runs has a :class:`TracedPool` among its observers, which gives its
workers a badge, so that they record as well. A pool that is not traced has neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tines import _clock
from tines.pool.events import Observer
from tines.pool.scheduler.commands import Step
from tines.tracing import workers
from tines.tracing.records import FLAGS_SHIFT, ITEMS_SHIFT, POOL_SHIFT, Kind, Order, meta
from tines.wire import messages

if TYPE_CHECKING:
    from tines.pool.options import TaskOptions
    from tines.pool.scheduler.task import Task
    from tines.pool.worker.main import WorkerSpec
    from tines.tracing.recorder import Recorder
    from tines.transport.contract import Buffer

__all__ = ["TracedPool"]

_now = _clock.monotonic_ns

_SUBMIT = meta(Kind.SUBMIT, items=0)
_RESULT = meta(Kind.RESULT)
_RAISED = meta(Kind.RESULT, flags=1)


class TracedPool(Observer):
    """Records what one pool tells."""

    def __init__(self, recorder: Recorder, transport: str, processes: int) -> None:
        self._recorder = recorder
        self._number = recorder.new_pool(transport, processes)
        self._pool = self._number << POOL_SHIFT
        # When the messages that are being dealt with came in. Only the seat's thread uses it.
        self._since = 0
        self._options: TaskOptions | None = None
        self._measured = False

    def submitting(self) -> None:
        """Note when pickling begins."""
        self._recorder.here().began = _now()

    def sending(self, task: Task) -> None:
        """Note when it ends."""
        self._recorder.here().sending = _now()

    def sent(self, task: Task, tag: int, data: Buffer, buffers: Sequence[Buffer]) -> None:
        """Record it."""
        recorder = self._recorder
        if not recorder.active:
            return
        state = recorder.here()
        began = state.began
        state.began = state.last = end = _now()
        attempt = min(task.attempt, 255) << FLAGS_SHIFT
        word = _SUBMIT | attempt | (task.stop - task.start) << ITEMS_SHIFT
        size = _size(data, buffers)
        recorder.spool.write(self._pool | tag, began, state.sending, word, state.tid, size, 0, end)
        if task.options is not self._options:
            self._options = task.options
            if task.options.retries:
                self._note("retries")
        if not self._measured and getattr(task.job, "measures", False):
            self._measured = True
            self._note("measured")

    def received(self) -> None:
        """Note when messages come in."""
        self._since = _now()

    def settled(self, kind: int, tag: int, data: Buffer, buffers: Sequence[Buffer]) -> None:
        """Record that an outcome was dealt with."""
        recorder = self._recorder
        if not recorder.active:
            return
        state = recorder.here()
        began = max(self._since, state.last)
        self._since = state.last = end = max(_now(), began)
        word = _RAISED if kind == messages.ERROR else _RESULT
        number = self._pool | tag & messages.TAG_MASK
        slot = tag >> messages.SLOT_SHIFT
        recorder.spool.write(number, began, slot, word, state.tid, _size(data, buffers), 0, end)
        recorder.look_at_memory(end)

    def starting(self, spec: WorkerSpec) -> None:
        """Have a worker record what it does."""
        if spec.setup.most_memory is not None:
            self._note("max_memory")
        join = self._recorder.join("PoolWorker")
        if join is not None:
            spec.witness = workers.Badge(join, self._recorder.spool.identity, self._number)

    def stopping(self, pid: int | None, step: Step, timed_out: bool) -> None:
        """Record what a worker is ordered."""
        order = _ORDERS[step]
        self._recorder.ordered(pid or 0, Order.TIMEOUT if timed_out else order)

    def _note(self, fact: str) -> None:
        """Have the trace know what this pool's user does already, so that nobody advises it."""
        self._recorder.spool.name(f"uses\0{self._number}\0{fact}")


_ORDERS = {
    Step.INTERRUPT: Order.CANCEL,
    Step.TERMINATE: Order.TERMINATE,
    Step.KILL: Order.KILL,
}


def _size(data: Buffer, buffers: Sequence[Buffer]) -> int:
    size = len(data)
    for buffer in buffers:
        size += memoryview(buffer).nbytes
    return size
