"""The sending side of a pool: what callers ask for becomes messages on the tasks channel.

A task that is sent is a *dispatch*: its number is drawn from the state machine, which has it pending
before the message goes, as its outcome may be there before ``send`` returns.

Who sends: any caller's thread; the reading threads of iterators; the collector thread, which goes on
with maps; whoever carries out the state machine's instructions, which sends again. None of them holds
the core's lock meanwhile, and a job may hold its own.

A pool may end at any moment between two steps here. Who ends it fails everything that is pending then;
so a sender looks at the phase *after* its task is pending, and takes out again what nobody has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tines._arguments import check_function
from tines.errors import EncodeError, QueueShutDown, TransportError
from tines.pool.worker.functions import SHARED_FROM, encode_unnumbered
from tines.wire import messages
from tines.wire.pickling import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tines.pool.events import Observer
    from tines.pool.jobs.back_pressure import Pressure
    from tines.pool.jobs.chunk import Chunk
    from tines.pool.jobs.result import ApplyResult
    from tines.pool.ports import Registry, Waits
    from tines.pool.runtime.machine import Machine
    from tines.pool.runtime.meter import MemoryMeter
    from tines.pool.runtime.repeated import Repeated
    from tines.pool.scheduler.task import Task
    from tines.pool.worker.functions import Functions
    from tines.transport.contract import Buffer, Channel

__all__ = ["Dispatcher"]

# A channel that was closed in this process raises ValueError.
CHANNEL_ENDED = (QueueShutDown, TransportError, ValueError)

BURST = 32
"""How many chunks of a job are encoded before they are sent; fewer if they are large:"""
BURST_BYTES = 64 * 1024


class Dispatcher:
    """See the module.

    Args:
        machine: Says why nothing is accepted, and is told when the channel fails.
        tasks: The tasks channel.
        functions: The numbers of functions.
        repeated: Knows the large arguments that came before.
        pressure: Counts the bytes that are under way.
        collector: Is told that outcomes are to come.
        meter: Watches over the workers' memory, if that is limited.
        observer: Is told of what is sent.
    """

    def __init__(
        self,
        machine: Machine,
        tasks: Channel,
        functions: Functions,
        repeated: Repeated,
        pressure: Pressure,
        collector: Waits,
        meter: MemoryMeter | None,
        observer: Observer | None,
    ) -> None:
        self._machine = machine
        self._state: Registry = machine.state
        self._tasks = tasks
        self._functions = functions
        self._repeated = repeated
        self._pressure = pressure
        self._collector = collector
        self._meter = meter
        self._observer = observer

    def submit(
        self, task: ApplyResult[Any], func: Callable[..., object], args: object, kwds: object
    ) -> None:
        """Send a call.

        Raises:
            ValueError: the pool does not accept tasks any more.
            EncodeError: the call cannot be pickled.
        """
        if not self._state.is_open:
            self._machine.refuse()
        if self._observer is not None:
            self._observer.submitting()
        body = args if type(args) is tuple else _as_tuple(args)
        if kwds:
            body = body, kwds if type(kwds) is dict else _as_keywords(kwds)
            task.kind = messages.CALL | messages.KEYWORDS
        reference = self._functions.refer(func)
        if reference is None:
            check_function("func", func)
            data, buffers = encode_unnumbered(func, body)
            if buffers or len(data) >= SHARED_FROM:
                constant = self._functions.refer_constant(func)
                if constant is not None:
                    reference, task.constant = constant
                    data, buffers = reference.encode(body)
        else:
            _, data, buffers = encode(body)
            trailer = reference.trailer
            data = data + trailer if type(data) is bytes else b"".join((data, trailer))
        if buffers:
            buffers = self._repeated.replaced(buffers, self._pressure.total)
        if buffers or len(data) > self._pressure.heavy:
            self._pressure.admit(task, data, buffers)
        if task.options.timeout is not None:
            task.kind |= messages.TIMED
        if buffers and task.options.retries:
            # The caller may change its arrays meanwhile; the next attempt must see what this one saw.
            buffers = [_kept(buffer) for buffer in buffers]
        task.data = data
        task.buffers = buffers
        self._send(task, self._state.submit(task), task.kind, data, buffers)

    def send_again(self, task: Task) -> None:
        """Send a task for another attempt, or what a dead worker had not begun."""
        if self._observer is not None:
            self._observer.submitting()
        try:
            kind, data, buffers = task.encoded()
        except EncodeError as error:
            task.settle_error(error)
        else:
            if task.job is not None:
                self._pressure.sent(task, data, buffers)
            tag = self._state.submit(task)
            if task.job is not None:
                self._machine.numbered(task.job, tag, tag)
            self._send(task, tag, kind, data, buffers)
            self._collector.expect(False)

    def _send(
        self, task: Task, tag: int, kind: int, data: Buffer, buffers: Sequence[Buffer]
    ) -> None:
        """Send the message of a dispatch; where the pool has ended, let it fail."""
        state = self._state
        try:
            if state.has_ended:
                raise QueueShutDown
            if self._observer is None:
                task.ticket = self._tasks.send(data, buffers, kind, tag)
            else:
                self._send_observed(self._observer, task, kind, tag, data, buffers)
            if self._meter is not None:
                self._meter.busy()
        except CHANNEL_ENDED as error:
            if state.finished(tag) is not None:
                self._machine.transport_lost(error)
                task.settle_error(self._machine.end_error())
        except BaseException:
            state.finished(tag)
            self._pressure.done(id(task))
            raise

    def _send_observed(
        self,
        observer: Observer,
        task: Task,
        kind: int,
        tag: int,
        data: Buffer,
        buffers: Sequence[Buffer],
    ) -> None:
        observer.sending(task)
        task.ticket = self._tasks.send(data, buffers, kind, tag)
        observer.sent(task, tag, data, buffers)

    def send_chunks(self, chunks: list[Chunk]) -> None:
        """Send chunks of a job, several at once; one that cannot be pickled fails."""
        if self._observer is not None:
            self._observer.submitting()
        position = 0
        try:
            while position < len(chunks):
                position += self._send_burst(chunks, position)
        except CHANNEL_ENDED as error:
            self._machine.transport_lost(error)
        except BaseException as error:  # an interrupt, or no memory: the rest will not be sent
            self._give_up(error, (chunk for chunk in chunks if chunk.ticket < 0))
            raise
        if self._state.has_ended:
            self._give_up(self._machine.end_error(), chunks)
        elif chunks:
            self._collector.expect(chunks[0].express)
            if self._meter is not None:
                self._meter.busy()

    def _send_burst(self, chunks: list[Chunk], position: int) -> int:
        """Send some chunks under one hold of the channel's lock; return how many were dealt with."""
        encode_chunk = chunks[position].job.encode
        heavy = self._pressure.heavy
        submit = self._state.submit
        burst: list[Chunk] = []
        outgoing = []
        dealt_with = size = 0
        for chunk in chunks[position : position + BURST]:
            dealt_with += 1
            try:
                kind, data, buffers = encode_chunk(chunk)
            except EncodeError as error:
                chunk.tag = -1
                chunk.settle_error(error)
                continue
            burst.append(chunk)
            if buffers:
                buffers = self._repeated.replaced(buffers, self._pressure.total)
            outgoing.append((kind, submit(chunk), data, buffers))
            length = len(data)
            size += length
            if buffers or length > heavy:
                self._pressure.sent(chunk, data, buffers)
            if buffers or size > BURST_BYTES:
                break
        if burst:
            self._machine.numbered(burst[0].job, burst[0].tag, burst[-1].tag)
        if self._observer is not None:  # one by one, so that each has its times
            for chunk, (kind, tag, data, buffers) in zip(burst, outgoing):
                self._send_observed(self._observer, chunk, kind, tag, data, buffers)
            return dealt_with
        tickets: list[int] = []
        try:
            self._tasks.send_many(outgoing, None, tickets)
        finally:
            for chunk, ticket in zip(burst, tickets):
                chunk.ticket = ticket
        return dealt_with

    def _give_up(self, error: BaseException, chunks: Iterable[Chunk]) -> None:
        """Fail those of the chunks that nobody else will settle."""
        for chunk in chunks:
            if chunk.tag == 0 or self._state.finished(chunk.tag) is not None:
                chunk.settle_error(error)


def _as_tuple(args: Any) -> tuple[object, ...]:
    try:
        return tuple(args)
    except TypeError:
        if hasattr(type(args), "__iter__"):
            raise
        raise TypeError(
            f"args={args!r} is not a sequence of arguments: for a single one, write args=({args!r},)"
        ) from None


def _as_keywords(kwds: object) -> object:
    # What ``**`` takes. A proxy of a manager is one, and travels as itself.
    if not hasattr(type(kwds), "keys"):
        raise TypeError(
            f"kwds={kwds!r} is not a mapping of names to arguments: write kwds={{'name': value}}"
        )
    return kwds


def _kept(buffer: Any) -> object:
    """A copy for further attempts; what passes on a queue or lock is no data, and holds it."""
    return buffer if hasattr(memoryview(buffer).obj, "travels_beside") else bytearray(buffer)
