"""The private clock, and waits of any length."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import freezegun
import pytest
import time_machine

import tines
from support.pools import ending
from support.waiting import PATIENCE
from tines import _clock
from tines._ready import ready_among
from tines.errors import TaskTimeoutError, WaitTimeout
from tines.pool import Pool
from tines.transport.contract import Transport


def _frozen() -> AbstractContextManager[Any]:
    return freezegun.freeze_time("2020-02-02")


def _travelled() -> AbstractContextManager[Any]:
    return time_machine.travel(1.0, tick=False)


def _patched() -> AbstractContextManager[Any]:
    return mock.patch("time.monotonic", lambda: 5.0)


@pytest.fixture(params=[_frozen, _travelled, _patched], ids=["freezegun", "time-machine", "mock"])
def stopped(request: pytest.FixtureRequest) -> Iterator[None]:
    """The program's clock stands still."""
    with request.param():
        yield


@pytest.fixture
def pool(transport: Transport) -> Iterator[Pool]:
    with ending() as made:
        made.append(Pool(1, transport=transport))
        yield made[0]


Start = Callable[..., tines.Process]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start ``target(*args)`` in a process."""
    made = []

    def begin(target: Any, *args: Any) -> tines.Process:
        made.append(tines.Process(target=target, args=args))
        made[-1].start()
        return made[-1]

    yield begin
    for process in made:
        process.kill()
        process.join()


def test_the_clock_goes_on_where_the_programs_is_stopped(stopped: None) -> None:
    began, before = _clock.monotonic(), _clock.monotonic_ns()
    _clock.sleep(0.01)
    assert _clock.monotonic() - began >= 0.01 and _clock.monotonic_ns() - before >= 10_000_000


def test_it_is_the_real_one_where_tines_is_imported_with_a_stopped_clock() -> None:
    program = (
        "import time, freezegun\n"
        "real = [time.monotonic]\n"
        "with freezegun.freeze_time('2020-02-02'):\n"
        "    from tines import _clock\n"
        "    assert abs(_clock.monotonic() - real[0]()) < 5\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_waits_and_limits_go_by_it(stopped: None, pool: Pool) -> None:
    slow = pool.apply_async(time.sleep, (2 * PATIENCE,))
    with pytest.raises(WaitTimeout):
        slow.get(timeout=0.1)
    assert slow.cancel()
    with pytest.raises(TaskTimeoutError):
        pool.apply(time.sleep, (2 * PATIENCE,), timeout=0.2)
    iterator = pool.imap(time.sleep, [2 * PATIENCE])
    with pytest.raises(WaitTimeout):
        iterator.next(timeout=0.1)


def test_processes_and_futures_go_by_it(stopped: None, start: Start) -> None:
    process = start(time.sleep, 2 * PATIENCE)
    process.join(0.1)
    assert process.is_alive()
    assert tines.wait([process], 0.1).not_done == {process}
    process.kill()
    process.join(PATIENCE)
    assert not process.is_alive()
    assert ready_among([process.sentinel], _clock.deadline_after(0)) == [process.sentinel]


@pytest.mark.parametrize("seconds", [30 * 86400, 1e9, threading.TIMEOUT_MAX, 1e300, math.inf])
def test_any_length_of_time_can_be_waited_for(
    seconds: float, transport: Transport, start: Start
) -> None:
    with ending() as made:
        made.append(pool := Pool(1, transport=transport))
        assert pool.apply(abs, (-1,), timeout=seconds) == 1
        assert pool.apply(abs, (-1,), grace=seconds) == 1
        assert pool.apply_async(abs, (-1,)).get(seconds) == 1
        assert pool.imap(abs, [-1]).next(seconds) == 1
        assert [each.get() for each in tines.as_completed([pool.apply_async(abs, (-1,))], seconds)]
        with tines.ProcessPoolExecutor(1, transport=transport) as executor:
            assert executor.submit(abs, -1).result(seconds) == 1
            assert executor.submit(abs, -1).exception(seconds) is None
            assert list(executor.map(abs, [-1], timeout=seconds)) == [1]
    channel = transport.channel()
    threading.Timer(0.1, channel.send, (b"x",)).start()
    assert channel.recv(seconds) is not None
    channel.close()
    process = start(time.sleep, 0.01)
    assert tines.wait([process], seconds).done == {process}
    process = start(time.sleep, 0.01)
    process.join(seconds)
    assert process.exitcode == 0


@pytest.mark.parametrize("seconds", [30 * 86400, 1e300, math.inf])
def test_any_length_of_time_can_be_waited_for_in_locks(seconds: float) -> None:
    from tines.synchronize import standard

    contexts = tines.get_context()
    for lock in (tines.Lock(), tines.Semaphore(), standard.Lock(ctx=contexts)):
        assert lock.acquire(True, seconds)
        assert lock.acquire(True, -1) is False
        threading.Timer(0.1, lock.release).start()
        assert lock.acquire(True, seconds)
        lock.release()
    event = tines.Event()
    threading.Timer(0.1, event.set).start()
    assert event.wait(seconds)
    condition = tines.Condition()
    with condition:
        threading.Timer(0.1, _notify, (condition,)).start()
        assert condition.wait(seconds)


def _notify(condition: Any) -> None:
    with condition:
        condition.notify()


def test_who_waits_goes_on_where_the_longest_wait_is_over(
    monkeypatch: pytest.MonkeyPatch, transport: Transport, start: Start
) -> None:
    monkeypatch.setattr(_clock, "LONGEST", 0.05)
    with ending() as made:
        made.append(pool := Pool(1, transport=transport))
        assert pool.apply(time.sleep, (0.4,), timeout=PATIENCE) is None
        pool.apply_async(time.sleep, (0.4,)).get(PATIENCE)
        first = pool.apply_async(time.sleep, (0.4,))
        second = pool.apply_async(abs, (-1,), callback=str)
        assert list(tines.as_completed([first, second], PATIENCE)) == [first, second]
        assert pool.imap(time.sleep, [0.4]).next(PATIENCE) is None
        with tines.ProcessPoolExecutor(1, transport=transport) as executor:
            assert executor.submit(time.sleep, 0.4).result(PATIENCE) is None
            assert executor.submit(time.sleep, 0.4).exception(PATIENCE) is None
            assert list(executor.map(time.sleep, [0.4], timeout=PATIENCE)) == [None]
            with pytest.raises(TimeoutError):
                executor.submit(_time_out).result(PATIENCE)
    channel = transport.channel()
    threading.Timer(0.4, channel.send, (b"x",)).start()
    assert channel.recv(PATIENCE) is not None
    assert channel.recv(0.2) is None
    channel.close()
    process = start(time.sleep, 0.4)
    process.join(PATIENCE)
    assert process.exitcode == 0


def _time_out() -> None:
    raise TimeoutError


@pytest.mark.parametrize("timeout", [math.nan, "soon", [1]])
def test_what_is_no_length_of_time_is_refused_by_all(
    timeout: Any, transport: Transport, start: Start
) -> None:
    wrong = ValueError if timeout != timeout else TypeError
    process = start(time.sleep, 0.01)
    for wait in (lambda: tines.wait([process], timeout), lambda: process.join(timeout)):
        with pytest.raises(wrong):
            wait()
    process.join()
    channel = transport.channel()
    with ending() as made:
        made.append(pool := Pool(1, transport=transport))
        executor = tines.ProcessPoolExecutor(1, transport=transport)
        waits = (
            lambda: pool.apply_async(abs, (-1,)).get(timeout),
            lambda: pool.apply_async(time.sleep, (0.01,)).wait(timeout),
            lambda: pool.imap(abs, [1]).next(timeout),
            lambda: executor.map(abs, [1], timeout=timeout),
            lambda: pool.apply(abs, (-1,), timeout=timeout),
            lambda: tines.as_completed([pool.apply_async(abs, (-1,))], timeout),
            lambda: channel.recv(timeout),
        )
        for wait in waits:
            with pytest.raises(wrong):
                wait()
        executor.shutdown()
    channel.close()


def test_negative_timeouts_do_not_wait(transport: Transport, start: Start) -> None:
    process = start(time.sleep, 2 * PATIENCE)
    process.join(-1)
    assert process.is_alive() and not tines.wait([process], -math.inf).done
    process.kill()
    process.join()
    with ending() as made:
        made.append(pool := Pool(1, transport=transport))
        with pytest.raises(WaitTimeout):
            pool.apply_async(time.sleep, (2 * PATIENCE,)).get(-1)
        with pytest.raises(ValueError, match="above zero"):
            pool.apply(abs, (1,), timeout=-1)


def test_futures_stay_those_of_the_standard_library() -> None:
    with tines.ProcessPoolExecutor(1) as executor:
        future = executor.submit(time.sleep, 0.01)
        assert isinstance(future, Future)
        with pytest.raises(FutureTimeout):
            executor.submit(time.sleep, 1.0).result(0)
