"""A world without processes, in which the pool's state machine meets events in random order.

The world keeps what the machine must not know: which item runs where, what was delivered. After every
history the world is run to its end, and then every item has exactly one outcome.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tines.engines.contract import Exit
from tines.pool.options import PoolOptions, TaskOptions
from tines.pool.scheduler.commands import (
    Break,
    Broken,
    Cancelled,
    Fail,
    Lost,
    Retire,
    Send,
    Shutdown,
    StartWorker,
    Step,
    StopWorker,
    Terminated,
    TimedOut,
)
from tines.pool.scheduler.deaths import UNBEGUN_LIMIT
from tines.pool.scheduler.phase import Phase
from tines.pool.scheduler.state import PoolState
from tines.pool.scheduler.task import Task

KILLED = Exit(pid=1, exitcode=-9, description="was killed by SIGKILL")


class Range(Task):
    """A task of the world: some items of a job."""

    def __init__(
        self, world: World, first: int, start: int, stop: int, options: TaskOptions
    ) -> None:
        self.world = world
        self.first = first
        self.start = start
        self.stop = stop
        self.options = options

    def split(self, start: int, stop: int) -> Task:
        if (start, stop) == (self.start, self.stop) and not self.reported:
            return self
        return Range(self.world, self.first, start, stop, self.options)

    def items(self) -> range:
        """Numbers, unique in the world, of the items that are still to be reported."""
        return range(self.first + self.start + self.reported, self.first + self.stop)


@dataclass
class Process:
    """A worker of the world."""

    slot: int
    task: Any = None
    tag: int = 0
    progress: int = 0
    interrupted: bool = False
    leaving: bool = False
    excess: bool = False
    doomed: bool = False


def _busy(world: World) -> bool:
    return any(process.task is not None for process in world.processes.values())


def _idle(world: World) -> bool:
    return any(process.task is None for process in world.processes.values())


def is_open(world: World) -> bool:
    return world.state.phase is Phase.OPEN


class World(RuleBasedStateMachine):
    """Events in random order."""

    @initialize(
        processes=st.integers(1, 3),
        max_restarts=st.sampled_from([1000, 3]),
        seed=st.integers(0, 1000),
    )
    def begin(self, processes: int, max_restarts: int, seed: int) -> None:
        options = PoolOptions(processes=processes, max_restarts=max_restarts)
        self.state = PoolState(options, random.Random(seed))
        self.now = 0.0
        self.items = 0
        self.queue: deque[tuple[int, Any]] = deque()
        self.processes: dict[int, Process] = {}
        self.outcomes: dict[int, Any] = {}
        self.deaths_while_running: dict[int, int] = {}
        self.deaths_before: dict[int, int] = {}
        self.retries: dict[int, int] = {}
        self.finished = 0
        self.excesses = 0
        self.retire = 0
        self.shut_down = False
        self.do(self.state.start())

    # What the world does with instructions.

    def do(self, instructions: Any) -> None:
        for instruction in instructions:
            if isinstance(instruction, Send):
                self.send(instruction.task)
                self.do(self.state.put_down())
            elif isinstance(instruction, Fail):
                for item in instruction.task.items():
                    self.settle(item, instruction.failure)
            elif isinstance(instruction, StartWorker):
                assert instruction.slot not in self.processes
                self.processes[instruction.slot] = Process(instruction.slot)
            elif isinstance(instruction, StopWorker):
                self.stop(instruction)
            elif isinstance(instruction, Retire):
                self.retire += instruction.count
            elif isinstance(instruction, Shutdown):
                assert not self.queue
                self.shut_down = True
            else:
                assert isinstance(instruction, Break)

    def send(self, task: Any) -> None:
        assert len(task.items()) > 0
        self.queue.append((self.state.submit(task), task))

    def settle(self, item: int, outcome: Any) -> None:
        assert item not in self.outcomes, "two outcomes for one item"
        self.outcomes[item] = outcome

    def stop(self, order: StopWorker) -> None:
        process = self.processes.get(order.slot)
        if process is None:
            return
        if order.step is Step.INTERRUPT:
            process.interrupted = process.tag == order.tag
        else:
            self.die(process)

    def die(self, process: Process, exit: Exit = KILLED) -> None:
        """A process ends; its lease tells what it held."""
        del self.processes[process.slot]
        self.excesses += process.excess
        taken = (process.tag, process.progress) if process.tag else None
        if process.task is not None:
            running = process.task.first + process.task.start + process.progress - 1
            if process.progress > process.task.reported:
                count = self.deaths_while_running.get(running, 0)
                self.deaths_while_running[running] = count + 1
            else:
                for item in process.task.items():
                    self.deaths_before[item] = self.deaths_before.get(item, 0) + 1
        self.do(self.state.gone(process.slot, exit, taken, self.finished, self.now))

    # Events.

    @precondition(is_open)
    @rule(
        count=st.integers(1, 6),
        retries=st.integers(0, 2),
        backoff=st.sampled_from([0.0, 1.0]),
        timeout=st.sampled_from([None, 2.0]),
    )
    def submit(self, count: int, retries: int, backoff: float, timeout: float | None) -> None:
        count = count if timeout is None else 1
        options = TaskOptions(retries=retries, backoff=backoff, timeout=timeout)
        task = Range(self, self.items, 0, count, options)
        for item in range(self.items, self.items + count):
            self.retries[item] = retries
        self.items += count
        self.send(task)

    def pick(self, number: int, busy: bool) -> Process | None:
        found = [p for _, p in sorted(self.processes.items()) if (p.task is not None) == busy]
        return found[number % len(found)] if found else None

    @precondition(lambda self: _idle(self) and (self.queue or self.retire))
    @rule(number=st.integers(0, 2))
    def take(self, number: int) -> None:
        process = self.pick(number, busy=False)
        if process is None or process.leaving:
            return
        if self.retire and not self.queue:
            self.retire -= 1
            process.leaving = True
            self.do(self.state.retiring(process.slot))
        elif self.queue:
            process.tag, process.task = self.queue.popleft()
            process.progress = 0
            process.interrupted = False
            if process.task.options.timeout is not None:
                self.do(self.state.started(process.tag, process.slot, self.now))

    @precondition(_idle)
    @rule(number=st.integers(0, 2))
    def ready(self, number: int) -> None:
        process = self.pick(number, busy=False)
        if process is not None:
            self.do(self.state.ready(process.slot))

    @precondition(_busy)
    @rule(number=st.integers(0, 2))
    def begin_item(self, number: int) -> None:
        process = self.pick(number, busy=True)
        if process is not None and process.progress < process.task.stop - process.task.start:
            process.progress += 1

    @precondition(_busy)
    @rule(number=st.integers(0, 2))
    def report_part(self, number: int) -> None:
        """All items but the one that runs are reported."""
        process = self.pick(number, busy=True)
        if process is None or process.progress - 1 <= process.task.reported:
            return
        task = process.task
        if self.state.pending.get(process.tag) is task:
            for item in list(task.items())[: process.progress - 1 - task.reported]:
                self.settle(item, "value")
            task.reported = process.progress - 1

    @precondition(_busy)
    @rule(number=st.integers(0, 2), dies=st.booleans())
    def finish(self, number: int, dies: bool) -> None:
        """A worker sends the result of all; it may die before it lets go of the lease."""
        process = self.pick(number, busy=True)
        if process is None:
            return
        task = self.state.finished(process.tag)
        self.state.stopped(process.tag)
        self.finished += 1
        if task is not None:
            assert task is process.task
            for item in task.items():
                self.settle(item, "value")
        process.task = None
        if dies:
            self.die(process)
        else:
            process.tag = process.progress = 0

    @precondition(_busy)
    @rule(number=st.integers(0, 2))
    def raise_retryable(self, number: int) -> None:
        process = self.pick(number, busy=True)
        if process is None or process.task.stop - process.task.start != 1:
            return
        task = self.state.raised(process.tag)
        self.state.stopped(process.tag)
        process.task, process.tag, process.progress = None, 0, 0
        if task is not None:
            answer = self.state.failed(task, "raised", self.now)
            if answer is None:
                self.settle(task.items()[0], "raised")
            else:
                assert task.attempt <= task.options.retries + 1
                self.do(answer)
            self.do(self.state.put_down())

    @precondition(_busy)
    @rule(number=st.integers(0, 2))
    def kill_busy(self, number: int) -> None:
        process = self.pick(number, busy=True)
        if process is not None:
            self.die(process)

    @precondition(_busy)
    @rule(number=st.integers(0, 2), begun=st.integers(1, 6))
    def kill_in_the_middle(self, number: int, begun: int) -> None:
        process = self.pick(number, busy=True)
        if process is not None:
            count = process.task.stop - process.task.start
            process.progress = min(max(process.progress, begun), count)
            self.die(process)

    @precondition(_busy)
    @rule(number=st.integers(0, 2))
    def pass_the_memory_limit(self, number: int) -> None:
        """A busy worker is seen with too much memory; by the time it dies it may hold anything."""
        process = self.pick(number, busy=True)
        if process is None:
            return
        process.excess = True
        answer = self.state.over_memory(process.slot, process.tag, 10**9)
        assert self.state.over_memory(process.slot, process.tag, 10**9) == ()
        for order in answer:
            assert isinstance(order, StopWorker)
            assert order.step is Step.KILL
            process.doomed = True

    @precondition(lambda self: any(p.doomed for p in self.processes.values()))
    @rule(number=st.integers(0, 2))
    def kill_doomed(self, number: int) -> None:
        doomed = [p for _, p in sorted(self.processes.items()) if p.doomed]
        if doomed:
            self.die(doomed[number % len(doomed)])

    @precondition(_idle)
    @rule(number=st.integers(0, 2))
    def kill_idle(self, number: int) -> None:
        process = self.pick(number, busy=False)
        if process is not None:
            self.die(process)

    @precondition(lambda self: self.state.pending or self.state.delayed)
    @rule(number=st.integers(0, 20))
    def cancel(self, number: int) -> None:
        tasks = [*self.state.pending.values(), *self.state.delayed]
        if not tasks:
            return
        task: Any = tasks[number % len(tasks)]
        queued = [entry for entry in self.queue if entry[1] is task and entry[0] == task.tag]
        holder = [p.slot for p in self.processes.values() if p.tag == task.tag and p.task is task]
        revoked = bool(queued) and task not in self.state.delayed
        if revoked:
            self.queue.remove(queued[0])
        slot = holder[0] if holder else None
        answer = self.state.cancel(task, task.tag, revoked, slot, self.now)
        assert answer is not None
        assert any(isinstance(one, Fail) and isinstance(one.failure, Cancelled) for one in answer)
        self.do(answer)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.do(self.state.tick(self.now))
        deadline = self.state.next_deadline()
        assert deadline is None or deadline > self.now

    @precondition(is_open)
    @rule(processes=st.integers(1, 4))
    def resize(self, processes: int) -> None:
        self.do(self.state.resize(processes))

    @precondition(lambda self: self.shut_down or any(p.leaving for p in self.processes.values()))
    @rule(number=st.integers(0, 2))
    def leave(self, number: int) -> None:
        process = self.pick(number, busy=False)
        if process is not None and (process.leaving or self.shut_down):
            self.die(process, Exit(pid=1, exitcode=0))

    @precondition(lambda self: self.items > 30 and is_open(self))
    @rule()
    def close(self) -> None:
        self.do(self.state.close())

    @precondition(
        lambda self: self.items > 40 and self.state.phase not in (Phase.TERMINATED, Phase.BROKEN)
    )
    @rule()
    def terminate(self) -> None:
        self.do(self.state.terminate())

    # What always holds.

    @invariant()
    def workers_are_known(self) -> None:
        if not hasattr(self, "state") or self.state.phase in (Phase.TERMINATED, Phase.BROKEN):
            return
        assert set(self.state.workers) == set(self.processes)
        if self.state.phase is not Phase.DRAINED:
            assert len(self.processes) >= self.state.target

    @invariant()
    def an_ended_pool_has_nothing_open(self) -> None:
        if hasattr(self, "state") and self.state.phase in (Phase.TERMINATED, Phase.BROKEN):
            assert not self.state.pending
            assert not self.state.delayed
            assert len(self.outcomes) == self.items

    @invariant()
    def drained_means_done(self) -> None:
        if hasattr(self, "state") and self.shut_down and self.state.phase is Phase.DRAINED:
            assert len(self.outcomes) == self.items

    def teardown(self) -> None:
        if not hasattr(self, "state"):
            return
        self.do(self.state.close())
        for _ in range(1000):
            if len(self.outcomes) == self.items:
                break
            for number in range(3):
                self.leave(number)
                self.take(number)
                self.finish(number, dies=False)
            self.pass_time(100.0)
        assert len(self.outcomes) == self.items, "an item was lost"
        for item, outcome in self.outcomes.items():
            deaths = self.deaths_while_running.get(item, 0)
            before = self.deaths_before.get(item, 0)
            if isinstance(outcome, Lost):
                assert self.excesses or "max_memory_hard" not in outcome.exit.description
                assert outcome.attempt == self.retries[item] + 1
                assert len(outcome.history) == outcome.attempt
                assert deaths + before // UNBEGUN_LIMIT >= 1
            elif isinstance(outcome, TimedOut):
                assert deaths + before >= 1
            else:
                assert outcome in ("value", "raised") or isinstance(
                    outcome, (Cancelled, Terminated, Broken)
                )
