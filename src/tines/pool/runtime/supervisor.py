"""The supervisor: one thread that starts workers, waits for their ends, and keeps the time.

It sleeps until a worker's sentinel is ready, an order arrives (through a pipe), or the next deadline
of the state machine; an idle pool costs nothing. The first workers are started by whoever makes the
pool, before the thread is there: a fork of a process with fewer threads is quicker, and safer. All
others are started by the thread.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import deque
from multiprocessing import connection
from typing import TYPE_CHECKING

from tines import _clock
from tines._ready import ready_among
from tines._threads import PlainThread
from tines.pool.jobs.failures import logger
from tines.pool.scheduler.commands import StartWorker, Step, StopWorker
from tines.pool.scheduler.state import PoolState
from tines.pool.worker.main import main as worker_main
from tines.wire.messages import Order, Verb

if TYPE_CHECKING:
    from collections.abc import Callable

    from tines.engines.contract import Engine, Running
    from tines.pool.events import Observer
    from tines.pool.runtime.arrivals import Arrivals
    from tines.pool.runtime.collector import Collector
    from tines.pool.runtime.machine import Machine
    from tines.pool.runtime.meter import MemoryMeter
    from tines.pool.worker.main import WorkerSpec
    from tines.transport.contract import Channel, Transport

__all__ = ["Supervisor"]

KILL_AFTER = 2.0
"""Seconds that the workers of an ended pool have before they are killed."""


class Supervisor:
    """See the module.

    Args:
        engine: Starts workers.
        machine: Says what is to be done, and is told what happened.
        collector: Deals with what a worker had sent before its end is told.
        arrivals: Are told of its end.
        transport: Is told who is dead.
        tasks: The tasks channel, with the leases.
        prepare: Returns what the worker in a slot is told.
        release: Lets go of the channels, at the very end.
        observer: Is told of workers.

    Attributes:
        workers: The workers, by slot.
        meter: Watches over their memory, if that is limited. Set before the start.
    """

    def __init__(
        self,
        engine: Engine,
        machine: Machine,
        collector: Collector,
        arrivals: Arrivals,
        transport: Transport,
        tasks: Channel,
        prepare: Callable[[int], WorkerSpec],
        release: Callable[[], None],
        observer: Observer | None,
    ) -> None:
        self._engine = engine
        self._machine = machine
        self._collector = collector
        self._arrivals = arrivals
        self._transport = transport
        self._tasks = tasks
        self._prepare = prepare
        self._release = release
        self._observer = observer
        self.meter: MemoryMeter | None = None
        self._orders: deque[StartWorker | StopWorker] = deque()
        self.workers: dict[int, Running] = {}
        self._reader, self._writer = connection.Pipe(duplex=False)
        # Reentrant: a pool may be collected, and so abandoned, at any allocation.
        self._waking = threading.RLock()
        self._ending = False
        self._over = False
        self._awake = False
        self._until: float | None = None
        self._kill_at: float | None = None
        self._starter = PlainThread(self._begin)
        # Only while it may be alive: each fork has something to do for a thread that is referred to.
        self._thread: threading.Thread | None = None
        # Held from the start of the thread to its end. A plain lock, as a ``Thread`` whose ``join`` was
        # interrupted may count as ended from then on.
        self._running = threading.Lock()

    # Whoever makes the pool.

    def start_workers(self) -> BaseException | None:
        """Start the first workers; return what prevented one from it."""
        try:
            return self._carry_out()
        except BaseException as error:  # Ctrl-C
            return error

    def start(self) -> None:
        """Start the thread, and that of the collector.

        Whoever makes the pool does not wait for them: that would be for long, as the first workers
        keep the cores busy.

        Raises:
            RuntimeError: no thread can be started.
        """
        self._starter.start()

    @property
    def has_begun(self) -> bool:
        """Whether threads are there, or about to be."""
        return self._starter.was_started

    @property
    def is_working(self) -> bool:
        """Whether what it is told will be done."""
        return self.has_begun and not self._over

    def give_up(self) -> None:
        """End the workers: there is no thread to do it."""
        self._kill_all()
        for running in self.workers.values():
            running.outcome()
        self.workers.clear()
        self.disown()

    def finish(self) -> None:
        """All workers are gone for good."""
        self._machine.finish()
        self._collector.stop()

    def _begin(self) -> None:
        try:
            self._collector.start()
            thread = threading.Thread(target=self._run, name="tines pool supervisor", daemon=True)
            self._thread = thread
            self._running.acquire()
            try:
                thread.start()
            except RuntimeError:
                self._running.release()
                raise
        except RuntimeError as error:
            self._machine.breaks("one of its threads could not be started", error)
            self._over = True
            self.give_up()
            self.finish()
            self._collector.await_end()
            self._release()

    # Any thread.

    def order(self, instruction: StartWorker | StopWorker) -> None:
        """Have an instruction carried out. Orders are carried out as they come."""
        self._orders.append(instruction)
        self.wake()

    def remind(self, deadline: float | None) -> None:
        """There is a deadline that the thread may not know of.

        It was set under the core's lock, and so is until when the thread will sleep: either the thread
        has seen the deadline there, or this sees for how long it will sleep without.
        """
        until = self._until
        if deadline is not None and (until is None or deadline < until):
            self.wake()

    def wake(self) -> None:
        """Have the thread look at everything.

        It counts as awake once that is written: where the writing fails, or is interrupted, whoever
        comes next writes again.
        """
        with self._waking:
            if not self._awake:
                with contextlib.suppress(OSError, ValueError):
                    self._writer.send_bytes(b"w")
                    self._awake = True

    def terminate(self) -> None:
        """Have the thread terminate the pool: when nobody holds it any more, or a caller says so.

        Safe where no lock may be waited for, and where an exception of a signal handler may come at
        any point: calling it again does what is left to do.
        """
        self._ending = True
        self.wake()

    def join(self) -> None:
        """Wait for the end of the thread, unless this is it."""
        self._starter.join()
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        self.wake()  # in case that has failed before
        with self._running:
            pass
        thread.join()
        self._thread = None

    def disown(self) -> None:
        """In a forked child: the thread is not here; let go of its descriptors, and of its lock."""
        self._waking = threading.RLock()
        self._thread = None
        self._reader.close()
        self._writer.close()

    # The thread.

    def _run(self) -> None:
        machine = self._machine
        try:
            self._engine.watch()
            while True:
                if self._ending:
                    # Once: it gives orders, and this thread does not wait while there are any.
                    self._ending = False
                    machine.terminate()
                self._carry_out()
                if not self.workers and not self._orders and machine.state.is_leaving:
                    break
                self._wait(self._next_deadline())
        except Exception as error:
            logger().exception("the supervisor of a pool failed; the pool ends")
            machine.breaks("its supervisor failed", error)
            self._kill_all()
        finally:
            self.finish()
            self._collector.join()
            self._release()
            self._over = True
            with self._waking:
                self._awake = True
                self._reader.close()
                self._writer.close()
            self._running.release()

    def _next_deadline(self) -> float | None:
        """Do what is due, look at the workers' memory; return when to do so again."""
        self._machine.event(PoolState.tick, _clock.monotonic())
        due = self._machine.next_deadline(self._sleep_until)
        look = None if self.meter is None else self.meter.look()
        return min((when for when in (due, look) if when is not None), default=None)

    def _sleep_until(self, deadline: float | None) -> None:
        self._until = deadline

    def _wait(self, deadline: float | None) -> None:
        if self._machine.state.is_stopped:
            if self._kill_at is None:
                self._terminate_all()
                self._kill_at = _clock.monotonic() + KILL_AFTER
            elif _clock.monotonic() >= self._kill_at:
                self._kill_all()
                self._kill_at = _clock.monotonic() + KILL_AFTER
            deadline = self._kill_at
        by_sentinel = {running.sentinel: slot for slot, running in self.workers.items()}
        with self._waking:
            self._until = deadline
            if self._awake:
                self._fall_asleep()
                return
        for ready in ready_among([self._reader, *by_sentinel], deadline):
            if ready is self._reader:
                with self._waking:
                    self._fall_asleep()
            else:
                self._bury(by_sentinel[ready])

    def _fall_asleep(self) -> None:
        """Take what woke the thread; who wakes it from now on writes. While waking."""
        self._awake = False
        while ready_among([self._reader], 0.0):
            self._reader.recv_bytes()

    def _carry_out(self) -> BaseException | None:
        """Do what was ordered; return the first error of starting a worker."""
        first = None
        while self._orders:
            order = self._orders.popleft()
            if isinstance(order, StartWorker):
                error = self._start(order.slot)
                first = first or error
            else:
                self._stop(order)
        return first

    def _start(self, slot: int) -> Exception | None:
        if self._machine.state.is_stopped:
            return None
        try:
            spec = self._prepare(slot)
            if self._observer is not None:
                self._observer.starting(spec)
            self.workers[slot] = running = self._engine.start(
                "PoolWorker", worker_main, (spec,), spec.environment
            )
            if self._observer is not None:
                self._observer.started(slot, running.pid)
        except Exception as error:
            self._machine.event(PoolState.unstartable, slot, error)
            return error
        return None

    def _stop(self, order: StopWorker) -> None:
        running = self.workers.get(order.slot)
        if running is None:
            return
        if order.step is Step.INTERRUPT:
            verb = Verb.CANCEL if order.timeout is None else Verb.TIMEOUT
            self._tell(running, Step.INTERRUPT, verb is Verb.TIMEOUT)
            if running.interrupt(Order(verb, order.tag, order.timeout or 0.0).encode()):
                return
        if order.tag and not self._holds(order.slot, order.tag):
            return  # it came to its end meanwhile: who is stopped now would be the next task
        if order.step is Step.KILL:
            self._kill(running)
        else:
            self._terminate(running)

    def _holds(self, slot: int, tag: int) -> bool:
        lease = self._tasks.lease(slot)
        return lease is not None and lease.tag == tag

    def _bury(self, slot: int) -> None:
        """Reap a worker and tell the collector, behind the last of the worker's results."""
        exit = self.workers.pop(slot).outcome()
        if exit.pid is not None:
            self._transport.reap(exit.pid)
        self._collector.post(functools.partial(self._arrivals.worker_gone, slot, exit))

    def _terminate_all(self) -> None:
        for running in self.workers.values():
            self._terminate(running)

    def _kill_all(self) -> None:
        for running in self.workers.values():
            self._kill(running)

    def _terminate(self, running: Running) -> None:
        self._tell(running, Step.TERMINATE)
        running.terminate()

    def _kill(self, running: Running) -> None:
        self._tell(running, Step.KILL)
        running.kill()

    def _tell(self, running: Running, step: Step, timed_out: bool = False) -> None:
        if self._observer is not None:
            self._observer.stopping(running.pid, step, timed_out)
