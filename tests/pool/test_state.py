"""The pool's state machine under random orders of events, in a world without processes.

The world keeps what the machine must not know: which item runs where, what was delivered. After every
history the world is run to its end, and then every item has exactly one outcome.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tines.engines.contract import Exit
from tines.pool.instructions import (
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
from tines.pool.options import PoolOptions, TaskOptions
from tines.pool.state import UNBEGUN_LIMIT, Phase, PoolState
from tines.pool.task import Task

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


def _busy(world: World) -> bool:
    return any(process.task is not None for process in world.processes.values())


def _idle(world: World) -> bool:
    return any(process.task is None for process in world.processes.values())


def _running(world: World) -> bool:
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
        self.retire = 0
        self.shut_down = False
        self.do(self.state.start())

    # What the world does with instructions.

    def do(self, instructions: Any) -> None:
        for instruction in instructions:
            if isinstance(instruction, Send):
                self.send(instruction.task)
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

    @precondition(_running)
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
        task = self.state.finished(process.tag)
        self.state.stopped(process.tag)
        process.task, process.tag, process.progress = None, 0, 0
        if task is not None:
            answer = self.state.failed(task, "raised", self.now)
            if answer is None:
                self.settle(task.items()[0], "raised")
            else:
                assert task.attempt <= task.options.retries + 1
                self.do(answer)

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
        answer = self.state.cancel(task, revoked, slot, self.now)
        assert any(isinstance(one, Fail) and isinstance(one.failure, Cancelled) for one in answer)
        self.do(answer)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.do(self.state.tick(self.now))
        deadline = self.state.next_deadline()
        assert deadline is None or deadline > self.now

    @precondition(_running)
    @rule(processes=st.integers(1, 4))
    def resize(self, processes: int) -> None:
        self.do(self.state.resize(processes))

    @precondition(lambda self: self.shut_down or any(p.leaving for p in self.processes.values()))
    @rule(number=st.integers(0, 2))
    def leave(self, number: int) -> None:
        process = self.pick(number, busy=False)
        if process is not None and (process.leaving or self.shut_down):
            self.die(process, Exit(pid=1, exitcode=0))

    @precondition(lambda self: self.items > 30 and _running(self))
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
                assert outcome.attempt == self.retries[item] + 1
                assert len(outcome.history) == outcome.attempt
                assert deaths + before // UNBEGUN_LIMIT >= 1
            elif isinstance(outcome, TimedOut):
                assert deaths + before >= 1
            else:
                assert outcome in ("value", "raised") or isinstance(
                    outcome, (Cancelled, Terminated, Broken)
                )


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=300, stateful_step_count=80, deadline=None)


@pytest.mark.parametrize("part", range(4))
def test_long_random_walks(part: int) -> None:
    """Hypothesis prefers short histories, which it can explain; these are long and full of deaths."""
    for seed in range(part * 250, part * 250 + 250):
        _walk(random.Random(seed))


def _walk(rng: random.Random) -> None:
    world = World()
    world.begin(rng.randint(1, 3), rng.choice([2, 1000, 1000]), rng.randint(0, 1000))

    def number() -> int:
        return rng.randrange(21)

    steps = [
        (4, lambda: world.submit(*_random_task(rng)) if _running(world) else None),
        (12, lambda: world.take(number())),
        (12, lambda: world.begin_item(number())),
        (2, lambda: world.report_part(number())),
        (3, lambda: world.finish(number(), rng.random() < 0.2)),
        (1, lambda: world.raise_retryable(number())),
        (2, lambda: world.kill_busy(number())),
        (2, lambda: world.kill_in_the_middle(number(), rng.randint(1, 6))),
        (1, lambda: world.kill_idle(number())),
        (1, lambda: world.ready(number())),
        (1, lambda: world.cancel(number())),
        (2, lambda: world.pass_time(rng.choice([0.1, 1.0, 5.0]))),
        (0.3, lambda: world.resize(rng.randint(1, 4)) if _running(world) else None),
        (1, lambda: world.leave(number())),
        (0.1, lambda: world.close()),
        (0.02, lambda: world.terminate()),
    ]
    weights = [weight for weight, _ in steps]
    for _, step in rng.choices(steps, weights, k=200):
        step()
        world.workers_are_known()
        world.an_ended_pool_has_nothing_open()
        world.drained_means_done()
    world.teardown()


def _random_task(rng: random.Random) -> tuple[int, int, float, float | None]:
    timeout = rng.choice([None, None, 2.0])
    return rng.randint(1, 6), rng.randint(0, 2), rng.choice([0.0, 1.0]), timeout


class One(Task):
    """A call."""

    def __init__(self, **options: Any) -> None:
        self.options = TaskOptions(**options)

    def split(self, start: int, stop: int) -> Task:
        return self


def machine(**options: Any) -> PoolState:
    state = PoolState(PoolOptions(**{"processes": 1, **options}), random.Random(1))
    state.start()
    state.ready(0)
    return state


def test_backoff_doubles_with_jitter() -> None:
    state = machine()
    task = One(retries=4, backoff=1.0)
    now = 0.0
    delays = []
    for _ in range(4):
        state.submit(task)
        state.gone(0, KILLED, (task.tag, 1), 0, now)
        deadline = state.next_deadline()
        assert deadline is not None
        delays.append(deadline - now)
        now = deadline
        assert state.tick(now) == [Send(task)]
    for exponent, delay in enumerate(delays):
        assert 0.5 * 2**exponent <= delay <= 1.5 * 2**exponent
    assert len({round(delay / 2**exponent, 6) for exponent, delay in enumerate(delays)}) > 1


def test_timeout_takes_its_steps_in_order() -> None:
    state = machine()
    task = One(timeout=2.0, grace=0.5)
    tag = state.submit(task)
    state.started(tag, 0, 10.0)
    seen = []
    for expected in (12.0, 12.5, 13.0):
        assert state.next_deadline() == expected
        assert state.tick(expected - 0.01) == []
        seen += state.tick(expected)
    assert [stop.step for stop in seen] == list(Step)
    assert {stop.tag for stop in seen} == {tag}
    answer = state.gone(0, KILLED, (tag, 1), 0, 14.0)
    assert answer[0] == Fail(task, TimedOut(2.0, 1))
    assert isinstance(answer[1], StartWorker)


def test_a_death_before_the_limit_is_no_timeout() -> None:
    state = machine()
    task = One(timeout=2.0)
    tag = state.submit(task)
    state.started(tag, 0, 10.0)
    answer = state.gone(0, KILLED, (tag, 1), 0, 11.0)
    assert isinstance(answer[0], Fail)
    assert isinstance(answer[0].failure, Lost)


def test_a_task_that_obeys_the_interrupt_stops_nothing_more() -> None:
    state = machine()
    tag = state.submit(One(timeout=2.0))
    state.started(tag, 0, 0.0)
    state.tick(2.0)
    assert state.finished(tag) is not None
    state.stopped(tag)
    assert state.next_deadline() is None
    assert state.tick(100.0) == []


def test_only_the_running_item_of_a_chunk_is_charged() -> None:
    state = machine()
    task = Range(None, 0, 0, 10, TaskOptions())  # type: ignore[arg-type]
    task.reported = 2
    tag = state.submit(task)
    answer = state.gone(0, KILLED, (tag, 6), 0, 0.0)
    sent = [(one.task.start, one.task.stop) for one in answer if isinstance(one, Send)]
    failed = [one.task for one in answer if isinstance(one, Fail)]
    assert sent == [(2, 5), (6, 10)]
    assert [(one.start, one.stop) for one in failed] == [(5, 6)]


def test_a_task_that_kills_before_it_begins_is_charged_in_the_end() -> None:
    state = machine()
    task = One()
    for _ in range(UNBEGUN_LIMIT - 1):
        state.submit(task)
        assert state.gone(0, KILLED, (task.tag, 0), 0, 0.0)[0] == Send(task)
    state.submit(task)
    (failure, _) = state.gone(0, KILLED, (task.tag, 0), 0, 0.0)
    assert isinstance(failure, Fail)
    assert isinstance(failure.failure, Lost)


def test_idle_deaths_break_the_pool_only_in_quick_succession() -> None:
    state = machine(max_restarts=3)
    for number in range(20):  # one a minute
        state.ready(0)
        answer = state.gone(0, KILLED, None, 0, number * 60.0)
        assert not any(isinstance(one, Break) for one in answer)
    now = 2000.0
    for _ in range(3):
        state.ready(0)
        assert not any(isinstance(one, Break) for one in state.gone(0, KILLED, None, 0, now))
    task = One()
    state.submit(task)
    state.ready(0)
    answer = state.gone(0, KILLED, None, 0, now)
    assert any(isinstance(one, Break) for one in answer)
    assert any(isinstance(one, Fail) and isinstance(one.failure, Broken) for one in answer)


def test_deaths_with_something_finished_in_between_never_break_the_pool() -> None:
    state = machine(max_restarts=1)
    for number in range(50):
        state.ready(0)
        answer = state.gone(0, KILLED, None, number, 0.0)
        assert state.phase is Phase.OPEN, answer


def test_a_failing_initializer_breaks_the_pool_with_its_exception() -> None:
    state = PoolState(PoolOptions(processes=1, max_restarts=2))
    state.start()
    cause = RuntimeError("no licence")
    for _ in range(2):
        answer = state.gone(0, Exit(pid=1, exitcode=0), None, 0, 0.0, cause)
        assert answer == [StartWorker(0)]
    answer = state.gone(0, Exit(pid=1, exitcode=0), None, 0, 0.0, cause)
    assert isinstance(answer[0], Break)
    assert answer[0].failure.cause is cause


@pytest.mark.parametrize("processes", [1, 4])
def test_start_uses_the_lowest_free_slots(processes: int) -> None:
    state = PoolState(PoolOptions(processes=processes))
    assert state.start() == [StartWorker(slot) for slot in range(processes)]
    state.gone(0, Exit(pid=1, exitcode=0), None, 0, 0.0)
    assert set(state.workers) == set(range(processes))
