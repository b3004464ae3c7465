"""The composition of a pool: every part, made with the few others that it needs; its start, its end.

A task's way: ``Dispatcher.submit`` (the caller's thread) -> the tasks channel -> a worker -> the results
channel -> ``Collector`` (the caller's thread, or the collector thread) -> ``settle`` of its result.

Nothing is decided here and no part is handed the core: what they ask of each other is in ``ports.py``.
The core keeps no reference to the ``Pool`` that users hold, so that one can be collected.
"""

from __future__ import annotations

import threading
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING

from tines._fork import Rank, at_fork
from tines.pool import events
from tines.pool.jobs.back_pressure import Pressure
from tines.pool.jobs.failures import Unfetched
from tines.pool.ports import Links, View
from tines.pool.runtime.activity import Activity
from tines.pool.runtime.arrivals import Arrivals
from tines.pool.runtime.cancelling import Cancelling
from tines.pool.runtime.collector import Collector
from tines.pool.runtime.dispatcher import Dispatcher
from tines.pool.runtime.effects import Effects
from tines.pool.runtime.machine import Machine
from tines.pool.runtime.meter import MemoryMeter
from tines.pool.runtime.repeated import Repeated
from tines.pool.runtime.statistics import Statistician
from tines.pool.runtime.supervisor import Supervisor
from tines.pool.runtime.tally import Tally
from tines.pool.scheduler.state import PoolState
from tines.pool.worker import environment
from tines.pool.worker.functions import Functions
from tines.pool.worker.main import WorkerSpec

if TYPE_CHECKING:
    from tines.engines.contract import Engine
    from tines.pool.events import Observer
    from tines.pool.options import PoolOptions
    from tines.pool.worker.setup import Setup
    from tines.transport.contract import Transport

__all__ = ["Core"]


class Core:
    """See the module.

    Attributes:
        slots: How many workers there may be at most.
        machine: The state machine under its lock.
        state: The state machine.
        tasks: The tasks channel.
        results: The results channel.
        functions: The numbers of functions.
        activity: When workers were started and ready.
        tally: How many messages were finished, and how.
        arrivals: What is done with results.
        collector: Takes them.
        supervisor: Watches over workers.
        meter: Watches over their memory, if that is limited.
        pressure: How many bytes are under way.
        dispatcher: Sends tasks.
        cancelling: Takes them back, or stops them.
        statistics: Says what goes on.
        links: The ways of jobs to all of that.
        view: What can be seen of it from outside.
    """

    def __init__(
        self, options: PoolOptions, setup: Setup, transport: Transport, engine: Engine
    ) -> None:
        self.transport = transport
        self._options = options
        self._setup = setup
        # Room for ``resize``; a slot costs a lease, which is some bytes of shared memory.
        self.slots = max(64, 4 * options.processes)
        observer = events.observer_of(transport.name, options.processes)
        self.state = PoolState(options)
        self.machine = Machine(self.state)
        self._make_ground()
        self._make_receiving(observer)
        self._make_watching(engine, observer)
        self._make_sending(observer)
        self._make_looks()
        self.machine.effects = Effects(
            self.machine,
            self.tasks,
            self.functions,
            self.dispatcher,
            self.cancelling,
            self.collector,
            self.supervisor,
            self.tally,
        )

    def _make_ground(self) -> None:
        """Make what knows no other part: the channels, and what is counted."""
        self.tasks = self.transport.channel(leases=self.slots)
        self.results = self.transport.channel()
        self.functions = Functions(self.transport)
        self.repeated = Repeated(self.transport)
        self.activity = Activity(self.tasks, self.slots)
        self.tally = Tally(self.slots)

    def _make_receiving(self, observer: Observer | None) -> None:
        self.arrivals = Arrivals(self.machine, self.tasks, self.activity, self.tally, observer)
        self.collector = Collector(
            self.results,
            self.machine,
            self.arrivals,
            self.tally,
            observer,
            atomic=self.transport.receives_at_once,
        )

    def _make_watching(self, engine: Engine, observer: Observer | None) -> None:
        self.supervisor = supervisor = Supervisor(
            engine,
            self.machine,
            self.collector,
            self.arrivals,
            self.transport,
            self.tasks,
            self._prepare,
            self.release,
            observer,
        )
        self.meter = None
        limit = self._options.max_memory_hard
        if limit is not None:
            self.meter = MemoryMeter(
                limit, self.machine, self.tasks, supervisor.workers, supervisor.wake
            )
        supervisor.meter = self.meter

    def _make_sending(self, observer: Observer | None) -> None:
        self.pressure = Pressure(
            self._options.buffer_bytes, self.state, self.collector, self.machine.refuse
        )
        self.dispatcher = Dispatcher(
            self.machine,
            self.tasks,
            self.functions,
            self.repeated,
            self.pressure,
            self.collector,
            self.meter,
            observer,
        )
        self.cancelling = Cancelling(self.machine, self.tasks)
        self.links = Links(
            self.collector,
            self.dispatcher,
            self.machine,
            self.cancelling,
            self.pressure,
            self.functions,
            self.state,
        )

    def _make_looks(self) -> None:
        workers = self.supervisor.workers
        self.statistics = Statistician(
            self.state, self.tasks, workers, self.activity, self.tally, self.functions
        )
        self.view = View(self.state, workers, self.tasks)

    def start(self) -> None:
        """Start workers and threads.

        Raises:
            Exception: a worker or thread cannot be started.
        """
        self._exit = Finalize(None, _end, (self,), exitpriority=15)
        _cores.add(self)
        try:
            self.machine.event(PoolState.start)
            error = self.supervisor.start_workers()
            if error is not None:
                self.supervisor.terminate()  # now, so that its thread starts none either
            self.supervisor.start()
        except BaseException:
            if self.supervisor.has_begun:  # Ctrl-C
                self.terminate()
                self.join()
            else:
                self.supervisor.give_up()
                self.supervisor.finish()
                self.release()
            raise
        if error is not None:
            self.terminate()
            self.join()
            raise error

    def _prepare(self, slot: int) -> WorkerSpec:
        """Return what the worker in a slot is told. It is started next."""
        variables = environment.for_slot(self._options, slot)
        self.activity.starting(slot)
        return WorkerSpec(slot, self.tasks, self.results, self._setup, variables)

    # The end: any thread.

    def terminate(self) -> None:
        """Stop everything now. Legal anywhere, also in callbacks, and again after it was interrupted.

        In the main thread a signal handler may raise between any two steps, and a step that is half
        done cannot be done again. So there it is left to the supervisor.
        """
        in_main = threading.get_ident() == threading.main_thread().ident
        if in_main and self.supervisor.is_working:
            self.supervisor.terminate()
        else:
            self.machine.terminate()

    def join(self) -> None:
        """Wait until the workers and threads have ended; not from one of those threads."""
        if self.collector.is_current:
            return
        if self.state.is_closed:
            for job in self.state.open_jobs():
                job.feed_all()
            self.machine.check_drained()
        self.supervisor.join()
        self.collector.join()

    def release(self) -> None:
        """Let go of the channels, once nobody uses them."""
        self._exit.cancel()
        _cores.discard(self)
        self.functions.constants.clear()
        self.repeated.clear()
        self.tasks.end()
        self.results.end()
        if self._setup.shared is not None:
            self._setup.shared.close()

    def log_unfetched(self) -> None:
        """Log the errors that nobody has looked at."""
        Unfetched.log_all(self.links)


def _end(core: Core) -> None:
    """The interpreter ends and the pool is still there."""
    core.terminate()
    core.join()
    core.log_unfetched()


# Those that were started and have not ended.
_cores: set[Core] = set()


def _disown() -> None:
    """In a forked child: the pools of the parent have no workers here.

    Nor have they threads, one of which may have held a lock: the copy can be closed and collected.
    """
    for core in _cores:
        core.machine.disown()
        core.supervisor.disown()
    _cores.clear()


at_fork(Rank.POOLS, child=_disown)
