"""What is said about a run: figures of its workers, pools, functions and tasks, and what to change.

Frozen, and nothing in it but numbers and texts: ``analysis.py`` fills it in, ``advice.py`` adds what to
change, and ``tines report`` prints it or writes it as JSON, whose names are the ones here.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "Advice",
    "Failure",
    "FunctionShare",
    "PoolShare",
    "ProcessEnd",
    "Report",
    "SlowTask",
    "WorkerShare",
]


@dataclass(frozen=True)
class WorkerShare:
    """One worker. Times are seconds.

    Attributes:
        pid: Its process id.
        name: What it is called.
        pool: Its pool's number in the trace.
        slot: Its place in the pool.
        ready: From the end of its start-up to its end.
        startup: How long it took to become ready.
        tasks: Messages (calls or chunks) that it finished.
        items: Items in them.
        busy: Running tasks.
        cpu: Of that, what was spent on a processor; the rest was waiting for something else.
        core_wait: For how long it could have run and had no core, all in all.
        pickling: Unpickling tasks, pickling and sending results.
        waiting: Waiting for tasks.
        end: How it ended.
    """

    pid: int
    name: str
    pool: int | None
    slot: int | None
    ready: float
    startup: float
    tasks: int
    items: int
    busy: float
    pickling: float
    waiting: float
    end: str
    cpu: float
    core_wait: float = 0.0


@dataclass(frozen=True)
class PoolShare:
    """One pool. Times are seconds.

    Attributes:
        pool: Its number in the trace.
        pid: Whose it is.
        transport: What carried its messages.
        processes: How many workers it was made with.
        workers: How many were started in all.
        tasks: Messages that its workers finished.
        items: Items in them.
        elapsed: For how long tasks were pending: sent, and their outcomes not yet there.
        active: For how long at least one task was running.
        ideal: The same if all workers had been running tasks all the time.
        tail: From when the first worker had no more to do until the last was done.
        pickling: What pickling its tasks took in the process that sent them, shared by its pools.
        sending: Sending them.
        sent_bytes: What was sent to workers, in bytes.
        received_bytes: What came back.
        queued: How long a task waited for a worker, on average.
        uses: What its user does already: ``retries``, ``max_memory``, and ``measured`` where maps
            size their chunks themselves.
    """

    pool: int
    pid: int
    transport: str
    processes: int
    workers: int
    tasks: int
    items: int
    active: float
    ideal: float
    tail: float
    pickling: float
    sending: float
    sent_bytes: int
    received_bytes: int
    queued: float
    elapsed: float
    uses: tuple[str, ...] = ()

    @property
    def imbalance(self) -> float:
        """How much longer it took than if the work had been shared out evenly; 1 is even."""
        return self.active / self.ideal if self.ideal else 1.0

    @property
    def throughput(self) -> float:
        """Items a second, by the clock on the wall, while something was to be done."""
        return self.items / self.elapsed if self.elapsed else 0.0


@dataclass(frozen=True)
class FunctionShare:
    """What one function cost, of the tasks that were kept. Times are seconds."""

    name: str
    tasks: int
    items: int
    seconds: float
    longest: float


@dataclass(frozen=True)
class SlowTask:
    """One of the longest tasks. Times are seconds.

    Its call, with the arguments of its first item, is known of a worker's slowest, if they took long.
    """

    function: str
    seconds: float
    items: int
    pid: int
    at: float
    attempt: int
    outcome: str
    call: str = ""


@dataclass(frozen=True)
class Failure:
    """A call that raised; the first of each worker are known."""

    call: str
    error: str
    traceback: str
    pid: int


@dataclass(frozen=True)
class ProcessEnd:
    """A process that ended otherwise than it should."""

    pid: int
    name: str
    how: str
    at: float


@dataclass(frozen=True)
class Advice:
    """One thing to change.

    Attributes:
        code: The rule, for scripts.
        text: What was found, and what to do.
    """

    code: str
    text: str


@dataclass(frozen=True)
class Report:
    """Everything there is to say. Times are seconds.

    Attributes:
        seconds: How long the trace is.
        processes: How many processes are in it.
        workers: Those that are workers of pools.
        pools: The pools.
        functions: By what they cost, the costliest first.
        slowest: The longest tasks, the longest first.
        deaths: Processes that were killed or failed.
        retries: How many tasks were sent once more.
        timeouts: How many were stopped for their timeout.
        cancelled: How many were stopped as they were cancelled.
        raised: How many ended with an exception.
        dropped: Records that did not fit; the oldest ones.
        cores: How many the program could use.
        failures: Calls that raised, with their tracebacks.
        notes: What is missing in the trace.
        advice: What to change.
    """

    seconds: float
    processes: int
    workers: tuple[WorkerShare, ...]
    pools: tuple[PoolShare, ...]
    functions: tuple[FunctionShare, ...]
    slowest: tuple[SlowTask, ...]
    deaths: tuple[ProcessEnd, ...]
    retries: int
    timeouts: int
    cancelled: int
    raised: int
    dropped: int
    cores: int = 1
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    advice: tuple[Advice, ...] = ()
