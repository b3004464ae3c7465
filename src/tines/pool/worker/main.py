"""The worker: takes a task from the channel, runs it, sends what came of it, takes the next.

A task is taken under the worker's lease slot, and every item is counted there before it begins. So
whenever the worker dies, the parent can read what it held, and how far it had come. The slot is
released after the result is with the transport.

SIGINT means an order from the parent, which says in the control pipe what it is about. It is obeyed
as soon as the very dispatch that it names is running, and only then: one that comes while the task is
received or unpickled is kept until it begins. A stray SIGINT does nothing.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from itertools import islice
from pickle import loads
from types import FunctionType

from tines import _clock
from tines.errors import (
    EncodeError,
    QueueShutDown,
    TaskCancelledError,
    TaskTimeoutError,
    TransportError,
)
from tines.pool.worker.functions import FunctionCache, describe_call, name_of
from tines.pool.worker.interrupt import TaskInterrupt
from tines.wire import messages, pickling
from tines.wire.descriptors import mark, promised
from tines.wire.messages import Order, Verb
from tines.wire.pickling import encode
from tines.wire.tracebacks import RemoteException

# Not from ``typing``: each worker imports this, and would import that with it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Protocol

    from tines.engines.contract import Control
    from tines.pool.worker.setup import Setup
    from tines.transport.contract import Buffer, Channel
    from tines.wire.tracebacks import Place

    class Witness(Protocol):
        """What an observer of the pool sends along with a worker."""

        def run(self, control: Control | None, spec: WorkerSpec) -> None:
            """Be the worker, and observe it."""


__all__ = ["Worker", "WorkerSpec", "main", "run"]

REPORT_SECONDS = 0.1
"""A chunk that takes longer has what is done of it reported, so that it cannot be lost."""


_ONCE = (None,)


class WorkerSpec:
    """What a worker is told at its start.

    Attributes:
        slot: Its lease slot.
        tasks: Where tasks come from.
        results: Where results go.
        setup: What to do before the first task, and limits.
        environment: Variables of its slot.
        witness: Observes the worker in its own process: runs it, in place of ``main``.
    """

    def __init__(
        self,
        slot: int,
        tasks: Channel,
        results: Channel,
        setup: Setup,
        environment: dict[str, str],
    ) -> None:
        self.slot = slot
        self.tasks = tasks
        self.results = results
        self.setup = setup
        self.environment = environment
        self.witness: Witness | None = None


def main(control: Control | None, spec: WorkerSpec) -> None:
    """Be a worker, until there is nothing left to do. What the process runs."""
    if spec.witness is not None:
        spec.witness.run(control, spec)
    else:
        run(Worker(control, spec))


def run(worker: Worker) -> None:
    """Be this worker."""
    try:
        if worker.prepare():
            worker.serve()
    except (QueueShutDown, TransportError):
        pass  # the pool has ended


class Worker:
    """A worker of a pool. In its own process."""

    def __init__(self, control: Control | None, spec: WorkerSpec) -> None:
        self._control = control
        self._slot = spec.slot
        self._mark = spec.slot << messages.SLOT_SHIFT
        self._tasks = spec.tasks
        self._results = spec.results
        self._setup = spec.setup
        self._environment = spec.environment
        self._functions = FunctionCache()
        # The dispatch that is running, for the signal handler; 0 while none is. An order is kept before
        # that is looked at, and looked for after that is set, so one of the two sees the other.
        self._running = 0
        self._order: Order | None = None
        self._began = 0  # the item of a chunk that failed, counted from 1
        self._promised = promised()

    def prepare(self) -> bool:
        """Get ready for tasks; ``False``: the initializer failed, as the parent has been told."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._obey)
        try:
            self._setup.run(self._environment)
        except Exception as error:
            remote = RemoteException.capture(error)
            self._results.send(pickle.dumps(remote), (), messages.UNREADY, self._mark)
            return False
        now = pickle.dumps((_clock.monotonic(), time.process_time()))
        self._results.send(now, (), messages.READY, self._mark)
        return True

    def serve(self) -> None:
        """Run tasks until the channel is shut down or this worker's share is done."""
        recv, release = self._tasks.recv, self._tasks.release
        limits = self._setup.limits()
        slot = self._slot
        while True:
            message = recv(None, slot)
            if message is None:
                continue
            kind, tag, data, buffers = message
            if kind == messages.CALL:
                self._call(tag, data, buffers)
            elif kind == messages.RETIRE:
                release(slot)
                break
            else:
                self._other(kind, tag, data, buffers)
            # What was received must not keep memory while the worker waits.
            del message, data, buffers
            release(slot)
            if limits is not None and limits.reached():
                break
        self._results.send(b"", (), messages.RETIRING, self._mark)

    def _call(
        self, tag: int, data: Buffer, buffers: Sequence[Buffer], keywords: bool = False
    ) -> None:
        """Run one call and send its outcome."""
        functions = self._functions
        function: Any = None
        args = value = None
        try:
            if type(data) is bytes and data.endswith(functions.trailer):
                function = functions.latest
            else:
                function = functions.find(data)
            args = loads(data, buffers=buffers) if buffers else loads(data)
            if function is None:
                function, args = functions.carried(args)
            self._running = tag
            if self._order is not None:
                self._carry_out()
            for _ in self._tasks.ticking(_ONCE, self._slot):
                value = function(*args[0], **args[1]) if keywords else function(*args)
            self._running = 0
        except BaseException as error:
            if isinstance(error, SystemExit) and (self._setup.exit_ends or not self._running):
                raise
            self._running = 0
            self._fail(tag, error, _placed(function, args, keywords))
            return
        try:
            kind, encoded, out_of_band = encode(value)
            if kind == messages.VALUE and promised() != self._promised:
                out_of_band = self._marked(out_of_band)
            self._results.send(encoded, out_of_band, kind, self._mark | tag)
        except EncodeError as error:
            self._fail(tag, _unsendable(error, value), _placed(function, args, keywords))
        except MemoryError as error:  # of the result's buffers; there is room for saying so
            self._fail(tag, error, _placed(function, args, keywords))

    def _other(self, kind: int, tag: int, data: Buffer, buffers: Sequence[Buffer]) -> None:
        """Run a chunk, or a call that is timed or has keywords."""
        if kind & messages.TIMED:  # travels alone
            self._results.send(b"", (), messages.STARTED, self._mark | tag)
        if kind & (messages.TIMED | messages.KEYWORDS):
            self._call(tag, data, buffers, bool(kind & messages.KEYWORDS))
            return
        self._began = 0
        try:
            function = self._functions.find(data)
            items = loads(data, buffers=buffers)
            self._running = tag
            if self._order is not None:
                self._carry_out()
            ticking = self._tasks.ticking(items, self._slot)
            self._began = 1
            star = kind in (messages.STAR, messages.STAR_EACH)
            run = _starred(function) if star else function
            if kind in (messages.EACH, messages.STAR_EACH):
                run = _Guarded(run, function, star)
            self._run_slices(tag, len(items), run, ticking)
        except SystemExit:
            raise
        except BaseException as error:
            self._running = 0
            place = None
            if 0 < self._began <= len(items):
                index = self._began - 1
                arguments = items[index] if star else (items[index],)
                place = describe_call(name_of(function), arguments, {}), index, os.getpid()
            self._fail(tag, error, place)

    def _run_slices(
        self, tag: int, count: int, function: Callable[[object], object], items: Iterable[object]
    ) -> None:
        """Run a chunk, a slice at a time: each is one ``map``, at the speed of C.

        Slices double while they are quick. When ``REPORT_SECONDS`` have gone by, what is done so far
        is sent, so a worker's death costs little that was done.
        """
        reported = _clock.monotonic()
        values: list[object] = []
        results = map(function, items)
        size = 1
        done = sent = 0
        while True:
            slice_began = _clock.monotonic()
            try:
                values.extend(islice(results, min(size, count - done)))
            except BaseException:
                self._began = sent + len(values) + 1
                raise
            done = min(done + size, count)
            if done == count:
                break
            now = _clock.monotonic()
            if now - slice_began < REPORT_SECONDS / 8:
                size *= 4
            elif now - slice_began > REPORT_SECONDS / 2:
                size = max(1, size // 4)
            if now - reported > REPORT_SECONDS:
                self._report(messages.PART, tag, now - reported, values, function)
                sent += len(values)
                values = []
                reported = now
        self._running = 0
        self._report(messages.VALUES, tag, _clock.monotonic() - reported, values, function)

    def _report(
        self, kind: int, tag: int, seconds: float, values: list[object], function: object
    ) -> None:
        errors = function.take_errors() if isinstance(function, _Guarded) else None
        try:
            _, data, buffers = pickling.encode((seconds, values, errors))
        except EncodeError as error:
            if not isinstance(function, _Guarded):
                raise _culprit(values, error) from None
            _, data, buffers = pickling.encode((seconds, *_only_encodable(values, errors)))
        if promised() != self._promised:
            buffers = self._marked(buffers)
        self._results.send(data, buffers, kind, self._mark | tag)

    def _marked(self, buffers: Sequence[Buffer]) -> Sequence[Buffer]:
        """Have a result opened as it arrives: it holds descriptors that are this process's to give."""
        self._promised = promised()
        return mark(buffers)

    def _fail(self, tag: int, error: BaseException, place: Place | None) -> None:
        if isinstance(error, TaskInterrupt):
            error = error.outcome.with_traceback(error.__traceback__)
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            error = error.with_traceback(error.__traceback__.tb_next)  # without our own frame
        remote = RemoteException.capture(error)
        remote.place = place
        self._tell(tag, remote)

    def _tell(self, tag: int, remote: RemoteException) -> None:
        _, data, buffers = pickling.encode(remote)
        self._results.send(data, buffers, messages.ERROR, self._mark | tag)

    def _obey(self, signum: int, frame: object) -> None:
        """Handle SIGINT: read what is ordered, and raise it if it is about what is running."""
        try:
            while self._control is not None and (order := self._control.receive()) is not None:
                self._order = Order.decode(order)
        except OSError:
            pass  # somebody has closed what is not theirs
        if self._order is not None and self._running:
            self._carry_out()

    def _carry_out(self) -> None:
        """Raise what is ordered, unless it is about a dispatch before the one that is running."""
        order, self._order = self._order, None
        if order is None or order.tag != self._running:
            return
        if order.verb == Verb.CANCEL:
            message = "the task was cancelled while it was running"
            raise TaskInterrupt(TaskCancelledError(message, started=True))
        message = f"the task ran longer than timeout={order.timeout:g} s"
        raise TaskInterrupt(TaskTimeoutError(message, timeout=order.timeout))


def _placed(function: object, args: Any, keywords: bool) -> Place | None:
    """Return where a call failed, if it came as far as being unpickled."""
    if function is None or args is None:
        return None
    positional, named = args if keywords else (args, {})
    if isinstance(function, FunctionType) and "what_runs" in vars(function):
        # One of ours, that calls the user's.
        return vars(function)["what_runs"](*positional), 0, os.getpid()
    return describe_call(name_of(function), positional, named), 0, os.getpid()


def _starred(function: Callable[..., object]) -> Callable[[Any], object]:
    return lambda arguments: function(*arguments)


class _Guarded:
    """A function whose exceptions are put aside, so that the chunk goes on.

    Attributes:
        errors: The exceptions since they were last taken, by index among the values since then.
    """

    def __init__(self, function: Callable[[object], object], called: object, star: bool) -> None:
        self._function = function
        self._called = called
        self._star = star
        self._index = 0
        self.errors: dict[int, RemoteException] = {}

    def __call__(self, item: Any) -> object:
        try:
            return self._function(item)
        except Exception as error:
            self.errors[self._index] = remote = RemoteException.capture(error)
            arguments = item if self._star else (item,)
            call = describe_call(name_of(self._called), arguments, {})
            remote.place = call, self._index, os.getpid()
            return None
        finally:
            self._index += 1

    def take_errors(self) -> dict[int, RemoteException] | None:
        """Return the errors since the last time, by index among the values since then."""
        errors, self.errors = self.errors, {}
        self._index = 0
        return errors or None


def _only_encodable(
    values: list[object], errors: dict[int, RemoteException] | None
) -> tuple[list[object], dict[int, RemoteException]]:
    """Replace the values that cannot be sent by errors that say so."""
    kept = dict(errors or {})
    for index, value in enumerate(values):
        try:
            pickling.encode(value)
        except EncodeError as error:
            values[index] = None
            kept[index] = RemoteException.capture(_unsendable(error, value))
    return values, kept


def _culprit(values: list[object], error: BaseException) -> Exception:
    """Return what says which of the results cannot be sent."""
    for value in values:
        try:
            pickling.encode(value)
        except EncodeError as own:
            return _unsendable(own, value)
    return _unsendable(error, values)


def _unsendable(error: BaseException, value: object) -> Exception:
    """Return what says that a result cannot be sent."""
    from tines.pool.worker.unsendable import MaybeEncodingError

    return MaybeEncodingError(error, value)
