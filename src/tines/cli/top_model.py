"""What ``tines top`` knows after each sample: figures of now, and rates since the sample before.

``Tracker.view`` is given samples and returns plain frozen records; ``--json`` prints them as they are,
and the displays (:mod:`.top_rows`) read nothing else. Every figure that is not known is ``None``:
a rate after the first sample, memory where neither psutil nor the program says it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace

from tines import _clock
from tines.insight.model import Program, Thing
from tines.insight.reader import Sample

__all__ = [
    "SORTS",
    "PoolView",
    "ProgramView",
    "QueueView",
    "Tracker",
    "View",
    "WorkerView",
    "arranged",
    "filtered",
    "number",
]


SAMPLES = 24
"""For how many samples rates are kept."""


@dataclass(frozen=True)
class WorkerView:
    """A worker.

    Attributes:
        pid: Its process id.
        task: What it runs; ``None``: it waits.
        seconds: For how long it has.
        rate: Messages that it finished in a second.
        cpu: Processor time it uses, in percent of one core.
        memory: Resident bytes.
        node: The node it is on; ``None``: it is on this machine.
        statistics: All that the program says of it.
    """

    pid: int | None
    task: str | None
    seconds: float
    rate: float | None
    cpu: float | None
    memory: int | None
    node: str | None
    statistics: Mapping[str, object]

    @property
    def pid_here(self) -> int | None:
        """Its process id, if that means a process of this machine."""
        return self.pid if self.node is None else None


@dataclass(frozen=True)
class PoolView:
    """A pool; ``statistics`` is all that it says of itself.

    Attributes:
        rate: Messages finished in a second.
        rates: That, at the last samples: the latest last.
    """

    number: int
    kind: str
    rate: float | None
    rates: tuple[float, ...]
    workers: tuple[WorkerView, ...]
    statistics: Mapping[str, object]

    @property
    def busy(self) -> int:
        """How many workers run something."""
        return sum(worker.task is not None for worker in self.workers)

    @property
    def nodes(self) -> list[str]:
        """The nodes that its workers are on, besides this machine."""
        return sorted({worker.node for worker in self.workers if worker.node is not None})


@dataclass(frozen=True)
class QueueView:
    """A queue; rates are messages in a second. ``error``: it would not say how it is.

    ``get_rates`` is ``get_rate`` at the last samples: the latest last.
    """

    number: int
    kind: str
    put_rate: float | None
    get_rate: float | None
    get_rates: tuple[float, ...]
    error: str | None
    statistics: Mapping[str, object]


@dataclass(frozen=True)
class ProgramView:
    """A process with pools or queues; ``cpu`` and ``memory`` are its own, without the workers'.

    Attributes:
        answering: Whether the figures are of now.
        watching: Percentage of one core that being watched costs it.
    """

    pid: int
    parent: int
    name: str
    process: str
    since: float
    python: str
    version: str
    answering: bool
    cpu: float | None
    memory: int | None
    watching: float | None
    pools: tuple[PoolView, ...]
    queues: tuple[QueueView, ...]

    @property
    def workers(self) -> list[WorkerView]:
        """The workers of all its pools."""
        return [worker for pool in self.pools for worker in pool.workers]

    @property
    def total_cpu(self) -> float | None:
        """Its own and its workers' processor time."""
        return _sum(self.cpu, *(worker.cpu for worker in self.workers))

    @property
    def total_memory(self) -> float | None:
        """Its own and its workers' memory."""
        return _sum(self.memory, *(worker.memory for worker in self.workers))


@dataclass(frozen=True)
class View:
    """Everything; ``unreadable`` are entries that are not shown, with the reason."""

    programs: tuple[ProgramView, ...] = ()
    unreadable: tuple[str, ...] = ()


def _sum(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _longest(program: ProgramView) -> float:
    return max((worker.seconds for worker in program.workers), default=0.0)


_BY: dict[str, tuple[Callable[[ProgramView], float], Callable[[WorkerView], float]]] = {
    "time": (lambda p: -_longest(p), lambda w: -w.seconds),
    "cpu": (lambda p: -(p.total_cpu or 0.0), lambda w: -(w.cpu or 0.0)),
    "memory": (lambda p: -(p.total_memory or 0.0), lambda w: -(w.memory or 0)),
    "rate": (lambda p: -sum(pool.rate or 0.0 for pool in p.pools), lambda w: -(w.rate or 0.0)),
    "pid": (lambda p: p.pid, lambda w: w.pid or 0),
}

SORTS = tuple(_BY)
"""What programs and workers may be sorted by: how long the longest task has been running, ..."""


def arranged(view: View, sort: str) -> View:
    """Return a view with its programs, and the workers of each pool, sorted by one of :data:`SORTS`."""
    of_program, of_worker = _BY[sort]

    def sorted_pool(pool: PoolView) -> PoolView:
        workers = sorted(pool.workers, key=lambda each: (of_worker(each), each.pid or 0))
        return replace(pool, workers=tuple(workers))

    programs = sorted(view.programs, key=lambda each: (of_program(each), each.pid))
    return replace(
        view,
        programs=tuple(
            replace(program, pools=tuple(map(sorted_pool, program.pools))) for program in programs
        ),
    )


def filtered(view: View, words: str) -> View:
    """Return what of a view is about some words, whatever their case.

    A program is whose command or name has them, with all it has; else those of its pools that are, or
    run a task, of that name.
    """
    wanted = words.casefold()

    def has(*texts: str | None) -> bool:
        return any(text is not None and wanted in text.casefold() for text in texts)

    programs = []
    for program in view.programs:
        if not has(program.name, program.process):
            pools = [
                pool
                for pool in program.pools
                if has(f"{pool.kind} {pool.number}", *(worker.task for worker in pool.workers))
            ]
            queues = [each for each in program.queues if has(f"{each.kind} {each.number}")]
            if not pools and not queues:
                continue
            program = replace(program, pools=tuple(pools), queues=tuple(queues))
        programs.append(program)
    return replace(view, programs=tuple(programs))


@dataclass
class Tracker:
    """Turns samples into views.

    Attributes:
        look: What is known of a process: its processor seconds and resident bytes.
    """

    look: Callable[[int], tuple[float, int] | None] = lambda pid: None
    _before: dict[Hashable, tuple[float, float, float | None]] = field(default_factory=dict)
    _seen: dict[Hashable, tuple[float, float, float | None]] = field(default_factory=dict)
    _rates_before: dict[Hashable, tuple[float, ...]] = field(default_factory=dict)
    _rates: dict[Hashable, tuple[float, ...]] = field(default_factory=dict)

    def view(self, sample: Sample, pid: int | None = None) -> View:
        """Return what is to be shown of a sample.

        Args:
            sample: The latest.
            pid: Only this program.
        """
        self._seen = {}
        self._rates = {}
        programs = [
            self._program(program)
            for program in sample.programs
            if pid is None or program.pid == pid
        ]
        self._before, self._rates_before = self._seen, self._rates
        unreadable = tuple(f"{each.entry}: {each.why}" for each in sample.refused)
        return View(tuple(programs), unreadable)

    def _program(self, program: Program) -> ProgramView:
        cpu, memory = self._resources(program.pid, None)
        pools = []
        queues = []
        for thing in program.things:
            if thing.workers is not None:
                pools.append(self._pool(program, thing))
            else:
                queues.append(self._queue(program, thing))
        watching = self._rate((program.pid, program.started), program.taken, program.spent)
        return ProgramView(
            pid=program.pid,
            parent=program.parent,
            name=program.name,
            process=program.process,
            since=program.since,
            python=program.python,
            version=program.version,
            answering=program.answering,
            cpu=cpu,
            memory=memory,
            watching=None if watching is None else 100 * watching,
            pools=tuple(pools),
            queues=tuple(queues),
        )

    def _pool(self, program: Program, thing: Thing) -> PoolView:
        key = (program.pid, program.started, thing.number)
        workers = [self._worker(program, key, data) for data in thing.workers or ()]
        rate = self._rate((*key, "done"), program.taken, number(thing.statistics, "done"))
        return PoolView(
            number=thing.number,
            kind=thing.kind,
            rate=rate,
            rates=self._kept(key, rate),
            workers=tuple(workers),
            statistics={
                name: value for name, value in thing.statistics.items() if name != "workers"
            },
        )

    def _worker(
        self, program: Program, key: tuple[Hashable, ...], data: Mapping[str, object]
    ) -> WorkerView:
        slot, pid, task = data.get("slot"), number(data, "pid"), data.get("task")
        node = data.get("node")
        if not isinstance(node, str):
            node = None
        # On another machine: here a process of that number is another one.
        cpu, memory = self._resources(int(pid) if pid else 0, data, node)
        return WorkerView(
            pid=int(pid) if pid else None,
            task=task if isinstance(task, str) else None,
            seconds=number(data, "seconds") or 0.0,
            rate=self._rate((*key, "slot", repr(slot)), program.taken, number(data, "done")),
            cpu=cpu,
            memory=memory,
            node=node,
            statistics=data,
        )

    def _queue(self, program: Program, thing: Thing) -> QueueView:
        key = (program.pid, program.started, thing.number)
        said = thing.statistics
        get_rate = self._rate((*key, "received"), program.taken, number(said, "received"))
        return QueueView(
            number=thing.number,
            kind=thing.kind,
            put_rate=self._rate((*key, "sent"), program.taken, number(said, "sent")),
            get_rate=get_rate,
            get_rates=self._kept(key, get_rate),
            error=thing.error,
            statistics=said,
        )

    def _resources(
        self, pid: int, said: Mapping[str, object] | None, node: str | None = None
    ) -> tuple[float | None, int | None]:
        """Return percent of a core and bytes: what the system says, else what the program says."""
        seen = self.look(pid) if 0 < pid < 2**31 and node is None else None
        if seen is not None:
            seconds, memory = seen
        elif said is not None and number(said, "memory"):
            seconds = number(said, "cpu_seconds") or 0.0
            memory = int(number(said, "memory") or 0)
        else:
            return None, None
        rate = self._rate(("cpu", node, pid), _clock.monotonic(), seconds)
        return None if rate is None else 100 * rate, memory

    def _kept(self, key: Hashable, rate: float | None) -> tuple[float, ...]:
        """Return a rate behind those of the samples before."""
        kept = self._rates_before.get(key, ())
        if rate is not None:
            kept = (*kept[1 - SAMPLES :], rate)
        self._rates[key] = kept
        return kept

    def _rate(self, key: Hashable, when: float, value: float | None) -> float | None:
        """Return by how much a figure grew in a second since the sample before."""
        if value is None:
            return None
        rate = None
        before = self._before.get(key)
        if before is not None:
            passed, grown = when - before[0], value - before[1]
            # The same page again (nobody answered), or another worker in that slot.
            rate = before[2] if passed <= 0 else grown / passed if grown >= 0 else None
        self._seen[key] = (when, value, rate)
        return rate


def number(data: Mapping[str, object], name: str) -> float | None:
    """Return a figure of statistics; ``None``: it is not said."""
    value = data.get(name)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
