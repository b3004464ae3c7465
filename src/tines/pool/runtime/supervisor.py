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
import time
from collections import deque
from multiprocessing import connection
from typing import TYPE_CHECKING

from tines._threads import PlainThread
from tines.pool.jobs.failures import logger
from tines.pool.scheduler.commands import StartWorker, Step, StopWorker
from tines.pool.scheduler.phase import Phase
from tines.pool.worker.main import main as worker_main
from tines.wire.messages import Order, Verb

if TYPE_CHECKING:
    from tines.engines.contract import Engine, Running
    from tines.pool.runtime.core import Core

__all__ = ["Supervisor"]

KILL_AFTER = 2.0
"""Seconds that the workers of an ended pool have before they are killed."""

_LEAVING = (Phase.DRAINED, Phase.TERMINATED, Phase.BROKEN)
_STOPPED = (Phase.TERMINATED, Phase.BROKEN)


class Supervisor:
    """See the module."""

    def __init__(self, core: Core, engine: Engine) -> None:
        self._core = core
        self._engine = engine
        self._orders: deque[StartWorker | StopWorker] = deque()
        self.workers: dict[int, Running] = {}
        self._reader, self._writer = connection.Pipe(duplex=False)
        # Reentrant: a pool may be collected, and so abandoned, at any allocation.
        self._waking = threading.RLock()
        self._abandoned = False
        self._awake = False
        self._until: float | None = None
        self._kill_at: float | None = None
        self._starter = PlainThread(self._begin)
        # Only while it may be alive: each fork has something to do for a thread that is referred to.
        self._thread: threading.Thread | None = None

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

    def give_up(self) -> None:
        """End the workers: there is no thread to do it."""
        self._kill_all()
        for running in self.workers.values():
            running.outcome()
        self.workers.clear()
        self.disown()

    def _begin(self) -> None:
        core = self._core
        try:
            core.collector.start()
            thread = threading.Thread(target=self._run, name="tines pool supervisor", daemon=True)
            self._thread = thread
            thread.start()
        except RuntimeError as error:
            core.breaks("one of its threads could not be started", error)
            self.give_up()
            core.finish()
            core.collector.await_end()
            core.release()

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
        """Have the thread look at everything."""
        with self._waking:
            if not self._awake:
                self._awake = True
                with contextlib.suppress(OSError, ValueError):
                    self._writer.send_bytes(b"w")

    def abandon(self) -> None:
        """Nobody holds the pool any more: terminate it. Safe where no lock may be waited for."""
        self._abandoned = True
        self.wake()

    def join(self) -> None:
        """Wait for the end of the thread, unless this is it."""
        self._starter.join()
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        if thread.is_alive():
            thread.join()
        self._thread = None

    def disown(self) -> None:
        """In a forked child: the thread is not here; let go of its descriptors, and of its lock."""
        self._waking = threading.RLock()
        self._reader.close()
        self._writer.close()

    # The thread.

    def _run(self) -> None:
        core = self._core
        try:
            self._engine.watch()
            while True:
                self._carry_out()
                if self._abandoned:
                    # Once: it gives orders, and this thread does not wait while there are any.
                    self._abandoned = False
                    core.terminate()
                if not self.workers and not self._orders and core.state.phase in _LEAVING:
                    break
                self._wait(self._next_deadline())
        except Exception as error:
            logger().exception("the supervisor of a pool failed; the pool ends")
            core.breaks("its supervisor failed", error)
            self._kill_all()
        finally:
            core.finish()
            core.collector.join()
            core.release()
            with self._waking:
                self._awake = True
                self._reader.close()
                self._writer.close()

    def _next_deadline(self) -> float | None:
        """Do what is due, look at the workers' memory; return when to do so again."""
        self._core.event(self._core.state.tick, time.monotonic())
        with self._core.lock:
            due = self._until = self._core.state.next_deadline()
        meter = self._core.meter
        look = None if meter is None else meter.look()
        return min((when for when in (due, look) if when is not None), default=None)

    def _wait(self, deadline: float | None) -> None:
        if self._core.state.phase in _STOPPED:
            if self._kill_at is None:
                self._terminate_all()
                self._kill_at = time.monotonic() + KILL_AFTER
            elif time.monotonic() >= self._kill_at:
                self._kill_all()
                self._kill_at = time.monotonic() + KILL_AFTER
            deadline = self._kill_at
        by_sentinel = {running.sentinel: slot for slot, running in self.workers.items()}
        with self._waking:
            self._until = deadline
            if self._awake:
                self._awake = False
                self._reader.recv_bytes()
                return
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        for ready in connection.wait([self._reader, *by_sentinel], timeout):
            if ready is not self._reader:
                self._bury(by_sentinel[ready])

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
        if self._core.state.phase in _STOPPED:
            return None
        try:
            spec = self._core.spec(slot)
            self._core.activity.starting(slot)
            self.workers[slot] = self._engine.start(
                "PoolWorker", worker_main, (spec,), spec.environment
            )
        except Exception as error:
            self._core.unstartable(slot, error)
            return error
        return None

    def _stop(self, order: StopWorker) -> None:
        running = self.workers.get(order.slot)
        if running is None:
            return
        if order.step is Step.INTERRUPT:
            verb = Verb.CANCEL if order.timeout is None else Verb.TIMEOUT
            if running.interrupt(Order(verb, order.tag, order.timeout or 0.0).encode()):
                return
        if order.tag and not self._holds(order.slot, order.tag):
            return  # it came to its end meanwhile: who is stopped now would be the next task
        if order.step is Step.KILL:
            running.kill()
        else:
            running.terminate()

    def _holds(self, slot: int, tag: int) -> bool:
        lease = self._core.tasks.lease(slot)
        return lease is not None and lease.tag == tag

    def _bury(self, slot: int) -> None:
        """Reap a worker and tell the collector, behind the last of the worker's results."""
        exit = self.workers.pop(slot).outcome()
        if exit.pid is not None:
            self._core.transport.reap(exit.pid)
        self._core.collector.post(functools.partial(self._core.arrivals.worker_gone, slot, exit))

    def _terminate_all(self) -> None:
        for running in self.workers.values():
            running.terminate()

    def _kill_all(self) -> None:
        for running in self.workers.values():
            running.kill()
