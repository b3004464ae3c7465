"""``ProcessPoolExecutor``: the standard interface, and what happens when workers die."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import psutil
import pytest

import tines
from tines.errors import DecodeError, EncodeError, WorkerLostError
from tines.executor import ProcessPoolExecutor

PATIENCE = 30.0


def square(x: int) -> int:
    return x * x


def current_process_class() -> str:
    return type(tines.current_process()).__name__


def fail(x: object) -> None:
    raise KeyError(x)


def exit_at_once() -> None:
    os._exit(3)


def wait_for(path: str) -> str:
    while not os.path.exists(path):
        time.sleep(0.002)
    return "ended"


@pytest.fixture
def executor() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2) as executor:
        yield executor


@pytest.fixture
def gate(tmp_path: Any) -> Iterator[str]:
    """The name of a file; workers wait until it is there."""
    path = str(tmp_path / "gate")
    yield path
    Path(path).touch()  # also where the test has failed, so that the executor can end


def test_submit_and_result(executor: ProcessPoolExecutor) -> None:
    assert executor.submit(square, 5).result(PATIENCE) == 25
    assert executor.submit(int, "ff", base=16).result(PATIENCE) == 255


def test_exceptions_arrive_with_their_traceback(executor: ProcessPoolExecutor) -> None:
    error = executor.submit(fail, "key").exception(PATIENCE)
    assert isinstance(error, KeyError)
    assert "in fail" in str(error.__cause__)


@pytest.mark.parametrize("chunksize", [1, 3, 100])
@pytest.mark.parametrize("buffersize", [None, 1, 4])
def test_map_keeps_order(
    executor: ProcessPoolExecutor, chunksize: int, buffersize: int | None
) -> None:
    results = executor.map(square, range(20), chunksize=chunksize, buffersize=buffersize)
    assert list(results) == [x * x for x in range(20)]
    assert list(executor.map(pow, [2, 3, 4], [3, 2])) == [8, 9]


def test_map_with_a_buffer_reads_no_further_than_it(executor: ProcessPoolExecutor) -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for i in range(1000):
            read.append(i)
            yield i

    results = executor.map(square, items(), buffersize=3)
    assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
    assert len(read) <= 10
    results.close()  # type: ignore[attr-defined]


def test_map_timeout(executor: ProcessPoolExecutor, gate: str) -> None:
    results = executor.map(wait_for, [gate], timeout=0.05)
    with pytest.raises(concurrent.futures.TimeoutError):
        next(results)
    Path(gate).touch()


def test_a_dead_worker_costs_its_own_future_only(executor: ProcessPoolExecutor) -> None:
    before, dead, after = (
        executor.submit(square, 2),
        executor.submit(exit_at_once),
        executor.submit(square, 3),
    )
    error = dead.exception(PATIENCE)
    assert isinstance(error, BrokenProcessPool)
    assert isinstance(error, WorkerLostError)
    assert error.exitcode == 3
    assert (before.result(PATIENCE), after.result(PATIENCE)) == (4, 9)
    assert executor.submit(square, 4).result(PATIENCE) == 16


def test_a_queued_future_can_be_cancelled_a_done_one_not(
    executor: ProcessPoolExecutor, gate: str
) -> None:
    busy = [executor.submit(wait_for, gate) for _ in range(2)]
    queued = executor.submit(square, 1)
    assert queued.cancel()
    assert queued.cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        queued.result(PATIENCE)
    Path(gate).touch()
    concurrent.futures.wait(busy, PATIENCE)
    for future in busy:
        assert future.result(0) == "ended"
        assert not future.cancel()


def test_wait_and_as_completed(executor: ProcessPoolExecutor) -> None:
    futures = [executor.submit(square, i) for i in range(10)]
    done, pending = concurrent.futures.wait(futures, PATIENCE)
    assert len(done) == 10
    assert not pending
    results = {f.result() for f in concurrent.futures.as_completed(futures, PATIENCE)}
    assert results == {i * i for i in range(10)}


def test_done_callbacks(executor: ProcessPoolExecutor) -> None:
    called = threading.Event()
    future = executor.submit(square, 1)
    future.add_done_callback(lambda done: called.set())
    assert called.wait(PATIENCE)


def test_no_calls_after_shutdown() -> None:
    executor = ProcessPoolExecutor(1)
    future = executor.submit(square, 3)
    executor.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(square, 1)
    assert future.result(PATIENCE) == 9
    executor.shutdown()


def test_shutdown_can_cancel_what_has_not_started(gate: str) -> None:
    executor = ProcessPoolExecutor(1)
    running = executor.submit(wait_for, gate)
    queued = [executor.submit(square, i) for i in range(5)]
    while not running.running():
        concurrent.futures.wait([running], 0.01)
    stopper = threading.Thread(target=lambda: executor.shutdown(cancel_futures=True))
    for future in queued:
        future.cancel()
    stopper.start()
    Path(gate).touch()
    stopper.join(PATIENCE)
    assert all(future.cancelled() for future in queued)


@pytest.mark.parametrize("stop", ["terminate_workers", "kill_workers"])
def test_stopping_the_workers(stop: str, gate: str) -> None:
    executor = ProcessPoolExecutor(1)
    pending = executor.submit(wait_for, gate)
    getattr(executor, stop)()
    with pytest.raises((concurrent.futures.CancelledError, WorkerLostError)):
        pending.result(PATIENCE)
    with pytest.raises(RuntimeError):
        executor.submit(square, 1)


def test_an_initializer_that_fails_breaks_the_executor() -> None:
    with ProcessPoolExecutor(1, initializer=fail, initargs=("no",)) as executor:
        error = executor.submit(square, 1).exception(PATIENCE)
    assert isinstance(error, BrokenProcessPool)


def test_asyncio_uses_it(executor: ProcessPoolExecutor) -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(executor, square, i) for i in range(5)))

    assert asyncio.run(main()) == [0, 1, 4, 9, 16]


def test_the_interpreter_waits_for_open_calls_at_exit(tmp_path: Any) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from tines.executor import ProcessPoolExecutor\n"
        "def work():\n    print('worked', flush=True)\n"
        "if __name__ == '__main__':\n    ProcessPoolExecutor(1).submit(work)\n"
    )
    ended = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (ended.stdout, ended.returncode) == ("worked\n", 0), ended.stderr


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"max_workers": 0}, ValueError, "max_workers"),
        ({"initializer": 5}, TypeError, "initializer"),
        ({"max_tasks_per_child": 0}, ValueError, "max_tasks_per_child"),
        ({"max_tasks_per_child": "1"}, TypeError, "max_tasks_per_child"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ProcessPoolExecutor(**arguments)


def test_its_context_is_the_one_that_the_standard_library_takes() -> None:
    """Programs read ``_mp_context``; and workers that replace others are not forked by default."""
    fork = tines.get_context("fork")
    assert ProcessPoolExecutor(1, fork)._mp_context is fork
    assert ProcessPoolExecutor(1)._mp_context is tines.get_context()
    assert ProcessPoolExecutor(1, fork, max_tasks_per_child=3)._mp_context is fork
    with ProcessPoolExecutor(1, max_tasks_per_child=1) as executor:
        assert executor._mp_context is tines.get_context("spawn")
        pids = [executor.submit(os.getpid).result(60) for _ in range(2)]
        assert len(set(pids)) == 2
        name = executor.submit(current_process_class).result(60)
    assert name == "SpawnProcess"


def test_how_it_was_made_can_be_read() -> None:
    executor = ProcessPoolExecutor(2, None, print, ("a",), max_tasks_per_child=3)
    assert (executor._initializer, executor._initargs) == (print, ("a",))
    assert (executor._max_workers, executor._max_tasks_per_child) == (2, 3)
    executor.shutdown()


def test_what_cannot_be_sent_is_its_futures_error(executor: ProcessPoolExecutor) -> None:
    future = executor.submit(square, (i for i in range(3)))  # type: ignore[arg-type]
    assert isinstance(future.exception(0), EncodeError)
    with pytest.raises(ValueError, match="chunksize"):
        executor.map(square, [1], chunksize=0)


def exit_with(code: object) -> None:
    sys.exit(code)  # type: ignore[arg-type]


def test_exit_in_a_call_is_what_the_call_raised(executor: ProcessPoolExecutor) -> None:
    """As in the standard library: a ``main()`` that was written for the command line can be a call."""
    workers = {executor.submit(os.getpid).result(PATIENCE)}
    for code in (0, 3, None, "a reason"):
        error = executor.submit(exit_with, code).exception(PATIENCE)
        assert type(error) is SystemExit and error.code == code
    with pytest.raises(SystemExit, match="7"):
        list(executor.map(exit_with, [7]))
    workers |= {executor.submit(os.getpid).result(PATIENCE) for _ in range(10)}
    assert len(workers) <= 2, "no worker has ended"


class Thing:
    def __init__(self, number: int) -> None:
        self.number = number


def end_interpreter() -> None:
    sys.exit(1)


class ExitsWhenUnpickled:
    def __reduce__(self) -> Any:
        return end_interpreter, ()


def test_arguments_that_end_the_worker_do_not_end_the_parent(
    executor: ProcessPoolExecutor,
) -> None:
    """The parent says which call was lost without unpickling what killed the worker."""
    with pytest.raises(WorkerLostError):
        executor.submit(id, ExitsWhenUnpickled()).result(30)
    assert executor.submit(square, 3).result(30) == 9


def test_a_result_that_ends_the_interpreter_fails_alone(executor: ProcessPoolExecutor) -> None:
    with pytest.raises(DecodeError):
        executor.submit(ExitsWhenUnpickled).result(30)
    assert executor.submit(square, 3).result(30) == 9


def test_a_result_that_cannot_be_sent_is_a_pickling_error(executor: ProcessPoolExecutor) -> None:
    with pytest.raises(pickle.PicklingError):
        executor.submit(threading.Lock).result(30)


def test_map_lets_go_of_what_it_handed_out(executor: ProcessPoolExecutor) -> None:
    for result in executor.map(Thing, range(6), chunksize=2):
        gone = weakref.ref(result)
        del result
        assert gone() is None


def test_an_executor_that_nobody_holds_ends_its_workers() -> None:
    executor = ProcessPoolExecutor(1)
    pid = executor.submit(os.getpid).result(30)
    gc.disable()
    try:
        del executor
        assert psutil.wait_procs([psutil.Process(pid)], timeout=PATIENCE)[1] == []
    except psutil.NoSuchProcess:
        pass
    finally:
        gc.enable()


def test_exceptions_that_are_returned_say_which_call_raised_them(
    executor: ProcessPoolExecutor,
) -> None:
    # In a chunk, so that they do not travel as the outcome of a call of their own.
    for chunksize in (1, 3):
        found = executor.map(fail, [7, 8, 9], chunksize=chunksize, return_exceptions=True)
        notes = [error.__notes__ for error in found]  # type: ignore[attr-defined]
        assert [note[0].partition(", worker ")[0] for note in notes] == [
            f"while running {__name__}.fail({x})" for x in (7, 8, 9)
        ]


def test_what_a_notebook_shows(executor: ProcessPoolExecutor) -> None:
    assert executor._repr_html_() is None, "there is no pool before the first call"
    assert executor.submit(square, 3).result() == 9
    shown = executor._repr_html_()
    assert shown is not None and shown.startswith("<div><b>ProcessPoolExecutor, ")
    executor.shutdown()
    assert executor._repr_html_() is not None
