"""How pools end: in order, at once, forgotten, in forks, and when their start is interrupted."""

from __future__ import annotations

import gc
import itertools
import linecache
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from typing import Any

import psutil
import pytest

from pool_tasks import nap, pid, square, stubborn
from pool_tools import MakePool, lives
from support.waiting import PATIENCE, wait_for
from tines.engines.local import LocalEngine
from tines.errors import TaskCancelledError
from tines.pool import Pool
from tines.transport.contract import Transport


def test_terminate_resolves_everything(make: MakePool) -> None:
    pool = make()
    results = [pool.apply_async(nap, (50,)) for _ in range(6)]
    mapped = pool.map_async(nap, [50] * 100)
    iterator = pool.imap(nap, (50 for _ in range(100)))
    unordered = pool.imap_unordered(nap, [50] * 100)
    waiting: list[Any] = []

    def wait_for_one(get: Any) -> None:
        try:
            get()
        except BaseException as error:
            waiting.append(error)

    gets = [results[0].get, results[5].get, mapped.get, iterator.next, unordered.next]
    threads = [threading.Thread(target=wait_for_one, args=(get,)) for get in gets]
    for thread in threads:
        thread.start()
    time.sleep(0.05)  # most likely they wait by now; those that do not must not do so any more
    began = time.monotonic()
    pool.terminate()
    assert time.monotonic() - began < 45, "it has waited for a task"
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert [type(error) for error in waiting] == [TaskCancelledError] * 5
    for get in gets:
        with pytest.raises(TaskCancelledError):
            get()
    pool.join()
    pool.terminate()


def test_terminate_does_not_wait_for_workers_that_do_not_listen(make: MakePool) -> None:
    pool = make(2)
    result = pool.apply_async(stubborn, (60,))
    wait_for(result.running)
    time.sleep(0.1)  # it is deaf a moment after it has begun
    began = time.monotonic()
    pool.terminate()
    assert time.monotonic() - began < 45


def _count_sigterm(writer: Any) -> None:
    """Initialize a worker that reports each SIGTERM, and only ends when it is killed."""
    signal.signal(signal.SIGTERM, lambda signum, frame: writer.send("SIGTERM"))
    writer.send("ready")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_a_worker_is_asked_to_end_only_once(make: MakePool, method: str) -> None:
    ctx = multiprocessing.get_context(method)
    reader, writer = ctx.Pipe(duplex=False)
    with reader, writer:
        pool = make(1, _count_sigterm, (writer,), method=method)
        assert reader.recv() == "ready"
        (worker,) = pool._core.supervisor.workers.values()
        worker.terminate()
        assert reader.recv() == "SIGTERM"
        pool.terminate()  # which asks all workers
        pool.join()
        assert not reader.poll()


def test_a_pool_that_is_forgotten_warns_and_ends(transport: Transport) -> None:
    pool: Any = Pool(2, transport=transport)
    workers = pool.map(pid, range(20), chunksize=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del pool
        gc.collect()
    assert [warning.category for warning in caught] == [ResourceWarning]
    assert "unclosed running multiprocessing pool" in str(caught[0].message)
    caught.clear()  # a warning holds what it is about
    wait_for(lambda: not any(lives(worker) for worker in set(workers)))


def test_a_pool_that_is_forgotten_when_it_breaks_ends(make: MakePool) -> None:
    pool = make()
    core = pool._core
    supervisor = core.supervisor
    supervisor._ending = True  # it will know of both at once
    core.machine.breaks("it is to", OSError("on purpose"))
    supervisor.join()
    assert not supervisor.workers


def test_an_idle_pool_uses_no_processor(make: MakePool, method: str) -> None:
    """Also one whose workers' memory is watched: nothing is looked at while nothing runs."""
    pool = make(2, method=method, max_memory_hard=10**12)
    workers = [psutil.Process(worker) for worker in set(pool.map(pid, range(20), chunksize=1))]
    pool.apply_async(square, (1,)).get()
    processes = [psutil.Process(), *workers]

    def is_quiet() -> bool:
        before = [sum(process.cpu_times()[:2]) for process in processes]
        switches = [process.num_ctx_switches().voluntary for process in processes]
        time.sleep(1.0)
        after = [sum(process.cpu_times()[:2]) for process in processes]
        woken = [process.num_ctx_switches().voluntary for process in processes]
        return (
            max(b - a for a, b in zip(before, after)) <= 0.02
            and max(b - a for a, b in zip(switches, woken)) <= 40
        )

    # On a busy machine what the calls have left to do may take a while. Then there is nothing.
    assert any(is_quiet() for _ in range(5))


def test_the_copy_of_a_pool_in_a_fork_says_that_it_is_one(make: MakePool) -> None:
    pool = make()
    assert pool.apply(square, (2,)) == 4
    reader, writer = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_use, args=(pool, writer))
    child.start()
    found = reader.recv()
    child.join(20)
    assert child.exitcode == 0
    assert all("forked child" in text and str(os.getpid()) in text for text in found), found
    assert pool.apply(square, (3,)) == 9


def _use(pool: Pool, writer: Any) -> None:
    found = []
    for use in (
        lambda: pool.apply(square, (2,)),
        lambda: pool.apply_async(square, (2,)),
        lambda: pool.map(square, [2]),
        lambda: pool.imap(square, [2]),
        pool.join,
    ):
        try:
            use()
        except ValueError as error:
            found.append(str(error))
        else:
            found.append("no error")
    pool.terminate()
    writer.send(found)


@pytest.mark.parametrize("end", [KeyboardInterrupt, RuntimeError])
def test_whatever_interrupts_the_start_of_a_pool_leaves_nothing(
    make: MakePool, monkeypatch: pytest.MonkeyPatch, method: str, end: type[BaseException]
) -> None:
    start = LocalEngine.start
    begun: list[Any] = []

    def interrupted(*arguments: Any) -> Any:
        if begun:
            raise end("planted")
        begun.append(start(*arguments))
        return begun[0]

    monkeypatch.setattr(LocalEngine, "start", interrupted)
    with pytest.raises(end, match="planted"):
        make(3, method=method)
    assert not psutil.pid_exists(begun[0].pid)
    assert not [each for each in threading.enumerate() if "pool" in each.name]


def test_an_interrupted_terminate_can_be_repeated(make: MakePool) -> None:
    """Interrupted before each of its lines in turn, and again in the second try."""
    for stop in itertools.count():
        pool = make(1)
        running = pool.apply_async(nap, (PATIENCE * 2,))
        queued = pool.apply_async(square, (3,))
        interrupted = _interrupted_at(stop, pool.terminate)
        if interrupted:
            _interrupted_at(stop // 2, pool.terminate)
        pool.terminate()
        pool.join()
        for result in (running, queued):
            with pytest.raises(TaskCancelledError):
                result.get(PATIENCE)
        assert not pool._core.supervisor.workers
        if not interrupted:
            break
    assert stop > 20


def _interrupted_at(stop: int, function: Any) -> bool:
    """Call a function and raise before the line of the pool that is number ``stop``; whether it was."""
    lines = itertools.count()

    def trace(frame: Any, event: str, argument: object) -> Any:
        if os.sep.join(("tines", "pool", "")) not in frame.f_code.co_filename:
            return None if "_threads" not in frame.f_code.co_filename else trace
        if event == "line":
            line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()
            # Leaving a ``with``, and its empty body, are traced as well, but no signal handler runs there.
            if not line.startswith(("with ", "pass")) and next(lines) == stop:
                raise KeyboardInterrupt(line)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_a_wake_up_that_could_not_be_written_holds_up_nobody(make: MakePool) -> None:
    pool = make(1)
    assert pool.apply(square, (2,)) == 4
    supervisor = pool._core.supervisor
    writer, failures = supervisor._writer, []

    class Failing:
        def send_bytes(self, data: bytes) -> None:
            if not failures:
                failures.append(data)
                raise OSError("on purpose")
            writer.send_bytes(data)

        def close(self) -> None:
            writer.close()

    supervisor._writer = Failing()

    def failed() -> bool:
        supervisor.wake()  # writes nothing while the thread is awake anyway
        return bool(failures)

    wait_for(failed)
    pool.close()
    pool.join()
