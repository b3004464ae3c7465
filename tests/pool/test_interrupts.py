"""Who waits is interrupted, by Ctrl-C or what a signal handler raises: what the call had is cancelled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tines
from pool_tasks import nap, square
from pool_tools import MakePool
from support.waiting import PATIENCE, wait_for
from tines.errors import TaskCancelledError
from tines.pool import Pool
from tines.transport.contract import Transport

LONG = 3 * PATIENCE


class Interrupted(Exception):
    """What the signal handler raises."""


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    def interrupt(*_: Any) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, before)


def interrupted(call: Callable[[], object]) -> None:
    """Call something that waits, and interrupt it."""
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    with pytest.raises(Interrupted):
        call()
    timer.join()


CALLS: dict[str, Callable[[Pool], object]] = {
    "apply": lambda pool: pool.apply(nap, (LONG,)),
    "map": lambda pool: pool.map(nap, [LONG] * 400, chunksize=1),
    "map of chunks": lambda pool: pool.map(nap, [LONG] * 400),
    "starmap": lambda pool: pool.starmap(nap, [(LONG,)] * 400),
    "imap": lambda pool: next(pool.imap(nap, [LONG] * 400)),
    "imap of a generator": lambda pool: list(pool.imap(nap, (LONG for _ in range(400)))),
    "imap_unordered": lambda pool: list(pool.imap_unordered(nap, [LONG] * 400)),
}


@pytest.mark.parametrize("which", CALLS)
def test_close_and_join_end_soon_after_it(make: MakePool, which: str, method: str) -> None:
    pool = make(2, method=method)
    assert pool.apply(square, (2,)) == 4
    interrupted(lambda: CALLS[which](pool))
    pool.close()
    pool.join()


def test_the_pool_goes_on_and_other_calls_too(make: MakePool) -> None:
    pool = make(2)
    other = pool.map_async(nap, [0.1] * 8, chunksize=1)
    interrupted(lambda: pool.map(nap, [LONG] * 10, chunksize=1))
    assert other.get(PATIENCE) == [0.1] * 8
    assert pool.map(square, range(4)) == [0, 1, 4, 9]


def test_a_result_that_somebody_holds_can_be_waited_for_again(make: MakePool) -> None:
    pool = make(1)
    result = pool.apply_async(nap, (1.0,))
    interrupted(result.get)
    assert result.get(PATIENCE) == 1.0


def test_an_iterator_is_over_after_it(make: MakePool) -> None:
    iterator = make(1).imap(nap, (LONG for _ in range(10)))
    interrupted(iterator.next)
    with pytest.raises(TaskCancelledError):
        for _ in range(11):
            iterator.next(PATIENCE)


@pytest.mark.parametrize("how", ["map", "submit", "exception"])
def test_leaving_an_executor_does_not_wait_for_the_tasks(transport: Transport, how: str) -> None:
    with tines.ProcessPoolExecutor(2, transport=transport) as executor:
        assert executor.submit(square, 2).result() == 4

    def use() -> None:
        with tines.ProcessPoolExecutor(2, transport=transport) as executor:
            if how == "map":
                list(executor.map(nap, [LONG] * 400))
            futures = [executor.submit(nap, LONG) for _ in range(400)]
            if how == "submit":
                futures[0].result()
            futures[1].exception()

    interrupted(use)


def test_an_executor_still_waits_where_only_an_error_leaves_it(transport: Transport) -> None:
    with pytest.raises(ZeroDivisionError), tines.ProcessPoolExecutor(1, transport=transport) as it:
        future = it.submit(nap, 0.3)
        raise ZeroDivisionError
    assert future.result(0) == 0.3


@pytest.mark.parametrize("native", ["off", "auto"])
def test_ctrl_c_ends_a_program_that_has_left_calls_in_an_executor(
    tmp_path: Path, native: str, method: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            f"""
            import time, tines
            if __name__ == "__main__":
                executor = tines.ProcessPoolExecutor(2, tines.get_context({method!r}))
                futures = [executor.submit(time.sleep, {LONG}) for _ in range(40)]
                executor.submit(time.sleep, 0)
                print("ready", flush=True)
                futures[0].result()
            """
        )
    )
    environment = {**os.environ, "TINES_NATIVE": native}
    with subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=PATIENCE)
    assert child.returncode == -signal.SIGINT and errors.count(b"Traceback") == 1, errors


def test_what_is_sent_just_after_the_rest_was_cancelled_is_cancelled_as_well(
    make: MakePool,
) -> None:
    """The reading thread has read an item, and sends it when all that was sent has been cancelled."""
    reading, about_to_send, go, sent = (threading.Event() for _ in range(4))

    def items() -> Iterator[float]:
        assert reading.wait(PATIENCE)
        yield LONG

    class Slow:
        def send_chunks(self, chunks: Any) -> None:
            about_to_send.set()
            assert go.wait(PATIENCE)
            sender.send_chunks(chunks)
            sent.set()

    pool = make(1)
    iterator = pool.imap(nap, items())
    sender, iterator._dispatcher = iterator._dispatcher, Slow()
    reading.set()
    assert about_to_send.wait(PATIENCE)
    iterator.withdraw()
    wait_for(lambda: iterator._abandoned is not None)
    go.set()
    assert sent.wait(PATIENCE)
    pool.close()
    began = time.monotonic()
    pool.join()
    assert time.monotonic() - began < LONG / 2
