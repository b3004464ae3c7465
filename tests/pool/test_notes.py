"""Exceptions say which item they are about; a ``with`` block says what it drops."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import sys
import time
from typing import Any

import pytest

import tines
from failing_tasks import Anything, Pairs
from pool_tasks import nap, pid, square
from pool_tools import MakePool
from support.waiting import PATIENCE, wait_for
from tines.errors import TaskCancelledError, TaskTimeoutError
from tines.pool.worker.functions import name_of
from tines.transport.contract import Transport
from tines.wire.tracebacks import add_note


def fetch(x: int, key: Any = None) -> int:
    if x == 17:
        raise ValueError("no such page")
    return x


def notes(call: Any) -> str:
    with pytest.raises(ValueError, match="no such page") as caught:
        call()
    (note,) = caught.value.__notes__  # type: ignore[attr-defined]
    return str(note)


NAME = f"{__name__}.fetch"


def test_calls_maps_and_iterators_say_which_item_it_was(make: MakePool) -> None:
    pool = make(1)
    worker = pool.apply(pid)
    items = [(x,) for x in range(1, 30)]
    for call in (
        lambda: pool.map(fetch, range(1, 30)),
        lambda: pool.map(fetch, range(1, 30), chunksize=1),
        lambda: pool.map(fetch, range(1, 30), chunksize=10),
        lambda: list(pool.imap(fetch, range(1, 30))),
        lambda: list(pool.imap_unordered(fetch, range(1, 30))),
    ):
        assert notes(call) == f"while running {NAME}(17), item 16, worker {worker}, attempt 1"
    starmap = notes(lambda: pool.starmap(fetch, items, chunksize=5))
    assert starmap == f"while running {NAME}(17), item 16, worker {worker}, attempt 1"
    chunked = notes(lambda: list(pool.imap(fetch, range(1, 30), chunksize=5)))
    assert chunked == f"while running {NAME}(17), item 16, worker {worker}, attempt 1"
    chunked = notes(lambda: list(pool.imap_unordered(fetch, range(1, 30), chunksize=5)))
    assert chunked == f"while running {NAME}(17), item 16, worker {worker}, attempt 1"
    returned = pool.map(fetch, range(1, 30), chunksize=5, return_exceptions=True)[16]
    assert returned.__notes__ == [  # type: ignore[attr-defined]
        f"while running {NAME}(17), item 16, worker {worker}, attempt 1"
    ]
    call = notes(lambda: pool.apply(fetch, (17,), {"key": "k" * 500}))
    assert call.startswith(f"while running {NAME}(17, key='kkk") and len(call) < 200
    again = notes(lambda: pool.apply(fetch, (17,), retries=2, retry_on=ValueError))
    assert again == f"while running {NAME}(17), worker {worker}, attempt 3"


def die(x: int) -> int:
    if x == 17:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def hang(x: int) -> int:
    """Not end by being interrupted."""
    while x == 17:
        with contextlib.suppress(BaseException):
            time.sleep(PATIENCE)
    return x


@pytest.mark.skipif(sys.platform == "win32", reason="kills by SIGKILL")
def test_dead_workers_and_hard_timeouts_say_which_item_it_was(make: MakePool) -> None:
    pool = make(1, grace=0.05)
    for function, name, call in (
        (die, "die", lambda f: pool.map(f, range(1, 30), chunksize=4)),
        (die, "die", lambda f: list(pool.imap(f, range(1, 30), chunksize=4))),
        (hang, "hang", lambda f: pool.map(f, range(1, 30), timeout=0.05)),
    ):
        with pytest.raises((tines.WorkerLostError, TaskTimeoutError)) as caught:
            call(function)
        pid = getattr(caught.value, "pid", None) or r"\d+"
        (note,) = caught.value.__notes__  # type: ignore[attr-defined]
        expected = rf"while running {__name__}\.{name}\(17\), item 16, worker {pid}, attempt 1"
        assert re.fullmatch(expected, note), note


def test_executors_name_the_users_function(transport: Transport) -> None:
    with tines.ProcessPoolExecutor(1, transport=transport) as executor:
        assert f"{NAME}(17), worker" in notes(executor.submit(fetch, 17).result)
        assert f"{NAME}(17), worker" in notes(lambda: list(executor.map(fetch, range(30))))


def test_what_takes_no_note_is_raised_without() -> None:
    class Closed(Exception):
        __notes__ = "not a list"

    error = Closed()
    add_note(error, "note")
    assert error.__notes__ == "not a list"

    class Sealed(Exception):
        def __getattribute__(self, name: str) -> Any:
            raise KeyError(name)

    add_note(Sealed(), "note")


class Annotated(Exception):
    """What an exception may carry under the name of its notes is up to its author."""

    __notes__ = 5


def fail_annotated() -> None:
    raise Annotated("no such page")


def test_what_is_no_list_of_notes_does_not_lose_the_exception(make: MakePool) -> None:
    with pytest.raises(Annotated) as caught:
        make(1).apply(fail_annotated)
    assert str(caught.value) == "no such page"
    assert caught.value.__notes__ == 5


def swallow(seconds: float) -> str:
    try:
        time.sleep(seconds)
    except Exception:
        return "swallowed"
    return "slept"


def test_no_task_swallows_its_deadline_or_that_it_is_cancelled(make: MakePool) -> None:
    pool = make(1, grace=PATIENCE)
    worker = pool.apply(pid)
    with pytest.raises(TaskTimeoutError):
        pool.apply(swallow, (2 * PATIENCE,), timeout=0.2)
    with pytest.raises(TaskTimeoutError):
        list(pool.imap(swallow, [2 * PATIENCE], timeout=0.2))
    running = pool.map_async(swallow, [2 * PATIENCE] * 3, chunksize=3)
    wait_for(lambda: pool.statistics().workers[0].items)
    assert running.cancel()
    with pytest.raises(TaskCancelledError):
        running.get(PATIENCE)
    assert pool.apply(pid) == worker


def test_the_end_of_a_block_says_once_what_it_drops(
    make: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "tines.pool"):
        with make(1) as pool:
            pool.map(square, range(10))
        assert not caplog.records
        with make(1) as pool:
            pool.map_async(nap, [2 * PATIENCE] * 3, chunksize=1)
            pool.apply_async(square, (2,))
        assert [record.getMessage()[:71] for record in caplog.records] == [
            "leaving the `with` block dropped 4 calls that had not finished: ask for"
        ]
        caplog.clear()
        with pytest.raises(ZeroDivisionError), make(1) as pool:
            pool.apply_async(nap, (2 * PATIENCE,))
            raise ZeroDivisionError
        with make(1) as pool:
            pool.apply_async(square, (2,))
            pool.close()
            pool.join()
        assert not [each for each in caplog.records if "dropped" in each.getMessage()]


def test_no_call_is_too_odd_to_be_described(make: MakePool) -> None:
    pool = make(1)
    for call in (pool.apply, lambda f, x: pool.map(f, x), lambda f, x: list(pool.imap(f, x))):
        with pytest.raises(LookupError, match="its own"):
            call(Anything(), (1,))
    assert notes(lambda: pool.apply(fetch, (), Pairs())).startswith(f"while running {NAME}(x=17), ")
    assert pool.apply(square, (3,)) == 9
    assert pool.statistics().restarts == 0


def test_the_main_module_is_called_as_people_call_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "__module__", "__mp_main__")  # as in a spawned worker
    assert name_of(fetch) == "fetch"
