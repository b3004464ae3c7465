"""Steps of a pool's threads in an order that is rare: each test holds one thread up between two of them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from pool_tasks import end_until, fail_until
from pool_tools import MakePool
from support.waiting import PATIENCE


class Stop:
    """A place where a thread waits, once, until the test has done something."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._go_on = threading.Event()

    def here(self) -> None:
        """Wait. For the thread that is held up."""
        if not self.reached.is_set():
            self.reached.set()
            self._go_on.wait(PATIENCE)

    def __enter__(self) -> None:
        assert self.reached.wait(PATIENCE)

    def __exit__(self, *_: object) -> None:
        self._go_on.set()


def test_a_deadline_set_while_the_supervisor_goes_to_sleep_is_kept(
    make: MakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has looked when it must wake up, and does not sleep yet."""
    pool = make(1, retries=1, retry_on=ConnectionError, backoff=0.05)
    supervisor = pool._core.supervisor
    next_deadline, remind = supervisor._next_deadline, supervisor.remind
    stop, reminded = Stop(), threading.Event()
    deadlines: list[Any] = []

    def look_and_stop() -> float | None:
        deadlines.append(next_deadline())
        if deadlines[-1] is None and any(deadlines):  # the first retry was sent
            stop.here()
        return deadlines[-1]

    def remind_and_tell(deadline: float | None) -> None:
        remind(deadline)
        if deadline is not None and stop.reached.is_set():
            reminded.set()

    monkeypatch.setattr(supervisor, "_next_deadline", look_and_stop)
    monkeypatch.setattr(supervisor, "remind", remind_and_tell)
    directories = [tmp_path / name for name in "ab"]
    for directory in directories:
        directory.mkdir()
    first = pool.apply_async(fail_until, (str(directories[0]), 2))
    with stop:
        second = pool.apply_async(fail_until, (str(directories[1]), 2))
        assert reminded.wait(PATIENCE)
    assert first.get(PATIENCE) == second.get(PATIENCE) == 2


@pytest.mark.parametrize("backoff", [0.0, 0.05])
def test_a_pool_that_is_closed_while_a_lost_task_is_sent_again_waits_for_it(
    make: MakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backoff: float
) -> None:
    """It is neither pending nor delayed then."""
    pool = make(1, retries=1, backoff=backoff)
    dispatcher = pool._core.dispatcher
    send_again = dispatcher.send_again
    stop = Stop()

    def stop_and_send(task: Any) -> None:
        stop.here()
        send_again(task)

    monkeypatch.setattr(dispatcher, "send_again", stop_and_send)
    result = pool.apply_async(end_until, (str(tmp_path), 2))
    with stop:
        pool.close()
    assert result.get(PATIENCE) == 2
    pool.join()


def test_a_pool_that_is_closed_while_an_exception_is_unpickled_tries_again(
    make: MakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make(1, retries=1, retry_on=ConnectionError)
    arrivals = pool._core.arrivals
    tried_again = arrivals._tried_again
    stop = Stop()

    def stop_and_try(*arguments: Any) -> bool:
        stop.here()
        return tried_again(*arguments)

    monkeypatch.setattr(arrivals, "_tried_again", stop_and_try)
    result = pool.apply_async(fail_until, (str(tmp_path), 2))
    with stop:
        pool.close()
    assert result.get(PATIENCE) == 2
    pool.join()
