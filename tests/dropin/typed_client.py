"""A program that uses the public namespace, with types: it passes ``mypy --strict``, and it runs.

``test_typed.py`` does both. What is annotated here is what a user may rely on.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
from concurrent.futures import Future
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import tines as mp
from tines import aio, connection, errors, managers, pool, queues, shared_memory, sharedctypes
from tines.context import BaseContext
from tines.pool import AsyncResult, IMapIterator, MapResult
from tines.synchronize import Barrier, Condition, Event, Lock, RLock, Semaphore

NUMBERS = [1, 2, 3]


def double(number: int) -> int:
    return 2 * number


def add(one: int, other: int) -> int:
    return one + other


def prepare(text: str) -> None:
    assert text == "ready"


def greet(answers: mp.Queue[str], lock: Lock) -> str:
    with lock:
        answers.put("hello")
    return "done"


class Greeter(mp.Process):
    """A subclass, as programs have them."""

    def __init__(self, answers: mp.SimpleQueue[str]) -> None:
        super().__init__(name="greeter", daemon=True)
        self.answers = answers

    def run(self) -> None:
        self.answers.put(self.name)


class Doubler(mp.Process):
    """A subclass that hands back what its ``run()`` returns."""

    def __init__(self, number: int) -> None:
        super().__init__(returns=True)
        self.number = number

    def run(self) -> int:
        return double(self.number)


def outcome_of(process: mp.Process) -> Any:
    process.start()
    return process.result(60)


def processes() -> None:
    assert outcome_of(Doubler(2)) == 4
    answers: mp.Queue[str] = mp.Queue(10, max_bytes=1000)
    process = mp.Process(target=greet, args=(answers, mp.Lock()), returns=True)
    process.start()
    outcome: Any = process.result(60)
    process.join()
    code: int | None = process.exitcode
    pid: int | None = process.pid
    text: str = answers.get(timeout=60)
    assert (outcome, code, text) == ("done", 0, "hello") and pid
    process.close()
    names: mp.SimpleQueue[str] = mp.SimpleQueue()
    greeter = Greeter(names)
    greeter.start()
    assert names.get() == "greeter" and not mp.active_children()[1:]
    greeter.join(60)
    assert not greeter.is_alive() and mp.parent_process() is None
    assert mp.current_process().name == "MainProcess"
    alive: list[Any] = mp.active_children()
    assert alive == []


def all_queues() -> None:
    joinable: mp.JoinableQueue[int] = mp.JoinableQueue()
    joinable.put_many(NUMBERS)
    got: list[int] = joinable.get_many(3)
    for _ in got:
        joinable.task_done()
    joinable.join()
    size: int = joinable.qsize()
    assert got == NUMBERS and size == 0 and joinable.empty() and not joinable.full()
    try:
        joinable.get_nowait()
    except queues.Empty:
        joinable.put_nowait(1)
    joinable.close()
    joinable.join_thread()


def pools() -> None:
    with mp.Pool(2, initializer=prepare, initargs=("ready",)) as workers:
        one: int = workers.apply(double, (4,))
        later: AsyncResult[int] = workers.apply_async(double, (4,), callback=print)
        all_of_them: list[int] = workers.map(double, NUMBERS, chunksize=2)
        mapped: MapResult[int] = workers.map_async(double, NUMBERS)
        starred: list[int] = workers.starmap(add, [(1, 2), (3, 4)])
        starring: AsyncResult[list[int]] = workers.starmap_async(add, [(1, 2)])
        lazy: IMapIterator[int] = workers.imap(double, NUMBERS)
        lazily = list(lazy)
        anyhow: list[int] = sorted(workers.imap_unordered(double, NUMBERS, 2))
        assert one == later.get(60) == 8 and later.ready() and later.successful()
        assert all_of_them == mapped.get() == lazily == anyhow == [2, 4, 6]
        assert starred == [3, 7] and starring.get(60) == [3]
        done: int = workers.statistics().done
        assert done > 0
        workers.close()
        workers.join()
    with pool.ThreadPool(2) as threads:
        assert threads.map(double, NUMBERS) == [2, 4, 6]


def executors() -> None:
    with mp.ProcessPoolExecutor(max_workers=1, mp_context=mp.get_context()) as executor:
        future: Future[int] = executor.submit(double, 2)
        result: int = future.result(60)
        numbers: list[int] = list(executor.map(double, NUMBERS, timeout=60))
    assert (result, numbers) == (4, [2, 4, 6])


async def awaited() -> None:
    async with aio.Pool(1) as workers:
        one: int = await workers.apply(double, (4,))
        several: list[int] = await workers.map(double, NUMBERS)
        values: list[int] = [value async for value in workers.imap(double, NUMBERS)]
        sums: list[int] = [value async for value in workers.istarmap(add, [(1, 2)])]
    assert (one, several, values, sums) == (8, [2, 4, 6], [2, 4, 6], [3])


def locks(context: BaseContext) -> None:
    lock: Lock = context.Lock()
    recursive: RLock = context.RLock()
    semaphore: Semaphore = context.Semaphore(2, owned=sys.platform == "linux" and is_ring())
    bounded: Semaphore = context.BoundedSemaphore(2)
    condition: Condition = context.Condition(recursive)
    event: Event = context.Event()
    barrier: Barrier = context.Barrier(1, timeout=60)
    taken: bool = lock.acquire(timeout=1)
    recovered: bool = lock.recovered
    deaths: int = lock.deaths
    assert taken and not recovered and deaths == 0
    lock.release()
    with lock, semaphore, bounded, condition:
        condition.notify_all()
        event.set()
        assert not condition.wait(0.01)
    seen: bool = event.wait(1)
    index: int = barrier.wait()
    left: int = bounded.get_value()
    assert seen and index == 0 and left == 2


def is_ring() -> bool:
    from tines.transport import choice

    return choice().name == "ring"


def memory() -> None:
    number = mp.Value("i", 1)
    floats = mp.Array("d", 3, lock=mp.Lock())
    raw = mp.RawArray(ctypes.c_int, 3)
    with number.get_lock():
        number.value += 1
    floats[0] = 1.5
    raw[0] = 1
    assert number.value == 2 and floats[:] == [1.5, 0.0, 0.0]
    assert sharedctypes.copy(raw)[0] == 1
    block: SharedMemory = shared_memory.SharedMemory(create=True, size=10)
    assert block.buf is not None
    block.buf[0] = 1
    block.close()
    block.unlink()
    with managers.SharedMemoryManager() as owner:
        shared = owner.ShareableList([1, 2])
        assert shared[0] == 1


def pipes_and_managers() -> None:
    reader, writer = mp.Pipe(duplex=False)
    writer.send({"number": 1})
    ready = connection.wait([reader], timeout=60)
    received: Any = reader.recv()
    assert received == {"number": 1} and ready
    two_ways: tuple[Connection[Any, Any], Connection[Any, Any]] = mp.Pipe()
    for end in (reader, writer, *two_ways):
        end.close()
    with mp.Manager() as manager:
        names = manager.list(["a"])
        table = manager.dict(a=1)
        names.append("b")
        with manager.Lock():
            table["b"] = 2
        assert list(names) == ["a", "b"] and dict(table) == {"a": 1, "b": 2}


def contexts() -> None:
    methods: list[str] = mp.get_all_start_methods()
    method: str = mp.get_start_method()
    context: BaseContext = mp.get_context(method)
    assert method in methods and context.cpu_count() == mp.cpu_count() > 0
    items: queues.Queue[int] = context.Queue()
    items.put(1)
    assert items.get() == 1
    with context.Pool(1) as workers:
        assert workers.apply(double, (2,)) == 4
    locks(context)
    logger = mp.get_logger()
    assert logger.name == "multiprocessing"


def what_fails() -> None:
    try:
        mp.Queue(-1)
    except ValueError:
        pass
    lost = errors.WorkerLostError("gone", pid=1, exitcode=-9, task="double")
    signal: str | None = lost.signal
    assert signal == "SIGKILL" and isinstance(lost, (mp.TinesError, mp.ProcessLostError))
    assert issubclass(mp.WaitTimeout, mp.TimeoutError)


def main() -> None:
    processes()
    all_queues()
    pools()
    executors()
    asyncio.run(awaited())
    memory()
    pipes_and_managers()
    contexts()
    what_fails()
    print("all of it")


if __name__ == "__main__":
    mp.freeze_support()
    main()
