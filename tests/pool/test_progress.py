"""``progress=`` on the pool's methods: what is counted, and that the display always ends."""

from __future__ import annotations

import io
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import tines
from pool_tasks import add, end_until, fail_at, hold, nap, square
from pool_tools import MakePool, outcomes
from progress_tools import Recorder, figures, no_thread
from support.waiting import wait_for
from tines.errors import WaitTimeout, WorkerLostError
from tines.pool import IMapIterator, IMapUnorderedIterator, MapResult
from tines.progress import Line, ProgressOptions

pytestmark = pytest.mark.usefixtures("no_display_stays")


@pytest.mark.parametrize("name", ["map", "starmap", "map_async", "starmap_async"])
def test_a_map_is_counted_to_the_end(make: MakePool, shown: Recorder, name: str) -> None:
    star = name.startswith("star")
    options = ProgressOptions(display=shown, refresh=0.001)
    call = getattr(make(2), name)
    items: Any = [(x, 1) for x in range(3000)] if star else range(3000)
    result = call(add, items, progress=options)
    values = result.get() if name.endswith("async") else result
    assert len(values) == 3000
    assert shown.closed.is_set()
    assert figures(shown.last) == (3000, 0, 0, 3000, True)
    assert shown.last.description == "add"
    counted = [frame[0].done for frame in shown.frames]
    assert counted == sorted(counted)
    assert len(shown.threads) == 1


@pytest.mark.parametrize("name", ["imap", "imap_unordered"])
def test_an_iterator_is_counted_to_the_end(make: MakePool, shown: Recorder, name: str) -> None:
    def numbers() -> Iterator[int]:
        yield from range(499)
        wait_for(lambda: shown.frames)  # one is drawn before anybody knows how many they are
        yield 499

    options = ProgressOptions(display=shown, refresh=0.001)
    iterator = getattr(make(2), name)(square, numbers(), progress=options)
    assert sum(iterator) == sum(x * x for x in range(500))
    assert shown.closed.is_set()
    assert shown.frames[0][0].total is None
    assert figures(shown.last) == (500, 0, 0, 500, True)


def test_a_total_that_only_the_caller_knows(make: MakePool, shown: Recorder) -> None:
    options = ProgressOptions(display=shown, total=40, description="squares")
    go_on = threading.Event()

    def slowly() -> Any:
        yield from range(20)
        go_on.wait()
        yield from range(20)

    iterator = make(2).imap(square, slowly(), buffersize=30, progress=options)
    next(iterator)
    wait_for(lambda: shown.frames and shown.last.done == 20)
    assert (shown.last.total, shown.last.description) == (40, "squares")
    go_on.set()
    assert len(list(iterator)) == 39
    assert figures(shown.last) == (40, 0, 0, 40, True)


def test_a_sized_input_gives_the_total(make: MakePool, shown: Recorder) -> None:
    iterator = make(2).imap(square, range(5000), progress=shown)
    next(iterator)
    wait_for(lambda: shown.frames)
    assert shown.frames[0][0].total == 5000
    for _ in iterator:
        pass


def test_failures_and_retries_of_a_map(make: MakePool, shown: Recorder, tmp_path: Path) -> None:
    pool = make(2)
    tasks: list[Any] = [(str(tmp_path / str(number)), 2) for number in range(4)]
    for directory, _ in tasks:
        os.mkdir(directory)
    pool.starmap(end_until, tasks, chunksize=1, retries=1, progress=shown)
    assert figures(shown.last) == (4, 0, 4, 4, True)
    with pytest.raises(ValueError, match="no 3"):
        pool.starmap(fail_at, [(3, x) for x in range(8)], chunksize=1, progress=shown)
    assert figures(shown.last) == (8, 1, 0, 8, True)
    assert shown.closed.is_set()


@pytest.mark.parametrize("name", ["imap", "imap_unordered"])
def test_failures_of_an_iterator(make: MakePool, shown: Recorder, name: str) -> None:
    for chunksize in (1, 5):
        iterator = getattr(make(2), name)(_fail_at_three, range(20), chunksize, progress=shown)
        found = outcomes(iterator)
        failures = sum(isinstance(each, ValueError) for each in found)
        assert failures == 1
        assert shown.closed.is_set()
        assert shown.last.failed == failures
        assert shown.last.done == 20


def _fail_at_three(x: int) -> int:
    return fail_at(3, x)


def test_a_killed_worker_is_one_failure(make: MakePool, shown: Recorder) -> None:
    with pytest.raises(WorkerLostError):
        make(2).map(_end_at_three, range(10), chunksize=1, progress=shown)
    assert figures(shown.last) == (10, 1, 0, 10, True)


def _end_at_three(x: int) -> int:
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def test_two_maps_share_one_display_and_one_thread(
    make: MakePool, shown: Recorder, tmp_path: Path
) -> None:
    pool = make(2)
    gate = tmp_path / "gate"
    options = ProgressOptions(display=shown, refresh=0.001)
    one = pool.map_async(hold, [str(gate)] * 40, progress=options)
    two = pool.map_async(hold, [str(gate)] * 40, progress=options)
    wait_for(lambda: any(len(frame) == 2 for frame in shown.frames))
    assert sum(thread.name == "tines progress" for thread in threading.enumerate()) == 1
    gate.touch()
    one.get()
    two.get()
    assert shown.closed.is_set()
    assert {line.key for frame in shown.frames for line in frame if line.over} == {
        line.key for frame in shown.frames for line in frame
    }


def test_maps_from_several_threads(make: MakePool, shown: Recorder) -> None:
    pool = make(2, progress=ProgressOptions(display=shown, refresh=0.001))
    totals = []
    threads = [
        threading.Thread(target=lambda: totals.append(sum(pool.map(square, range(100)))))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert totals == [sum(x * x for x in range(100))] * 6
    ends = [line.key for frame in shown.frames for line in frame if line.over]
    assert len(ends) == len(set(ends)) == 6
    assert len(shown.threads) >= 1


def test_an_empty_map(make: MakePool, shown: Recorder) -> None:
    assert make(1).map(square, [], progress=shown) == []
    assert figures(shown.last) == (0, 0, 0, 0, True)


def test_a_consumer_that_leaves_closes_the_display(make: MakePool, shown: Recorder) -> None:
    def endless() -> Any:
        number = 0
        while True:
            yield number
            number += 1

    for number in make(2).imap_unordered(square, endless(), progress=shown):
        if number > 100:
            break
    wait_for(shown.closed.is_set)
    assert shown.last.over


def test_an_item_that_raises_ends_the_loop_and_the_display(make: MakePool, shown: Recorder) -> None:
    pool = make(2)
    with pytest.raises(ValueError, match="no 3"):
        for _ in pool.imap(_fail_at_three, iter(range(1000)), progress=shown):
            pass
    wait_for(shown.closed.is_set)


def test_an_input_that_raises_closes_the_display(make: MakePool, shown: Recorder) -> None:
    def broken() -> Any:
        yield 1
        raise OSError("no more")

    found = outcomes(make(1).imap(square, broken(), progress=shown))
    assert found[0] == 1
    assert isinstance(found[1], OSError)
    assert figures(shown.last) == (2, 1, 0, 2, True)


def test_terminate_closes_displays(make: MakePool, shown: Recorder) -> None:
    pool = make(2)
    iterator = pool.imap(nap, iter([30.0] * 50), progress=shown)
    result = pool.map_async(nap, [30.0] * 10, progress=shown)
    wait_for(lambda: shown.frames)
    pool.terminate()
    assert shown.closed.is_set()
    assert shown.last.over
    del iterator, result


def test_cancel_closes_the_display(make: MakePool, shown: Recorder) -> None:
    result = make(2).map_async(nap, [30.0] * 10, progress=shown)
    wait_for(lambda: shown.frames)
    assert result.cancel()
    with pytest.raises(tines.TaskCancelledError):
        result.get()
    assert shown.closed.is_set()


def test_a_wait_that_runs_out_does_not_close_it(make: MakePool, shown: Recorder) -> None:
    pool = make(1)
    result = pool.map_async(nap, [30.0], progress=shown)
    wait_for(lambda: shown.frames)
    with pytest.raises(WaitTimeout):
        result.get(timeout=0.01)
    result.wait(0.01)
    assert not shown.closed.is_set()
    pool.terminate()
    assert shown.closed.is_set()


def test_join_closes_displays(make: MakePool, shown: Recorder) -> None:
    pool = make(2)
    result = pool.map_async(nap, [0.01] * 10, progress=shown)
    pool.close()
    pool.join()
    assert shown.closed.is_set()
    assert result.get() == [0.01] * 10


@pytest.mark.parametrize("where", ["draw", "close"])
def test_a_display_that_raises_breaks_nothing(
    make: MakePool, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    class Broken(Recorder):
        def draw(self, lines: Sequence[Line]) -> None:
            super().draw(lines)
            if where == "draw":
                raise RuntimeError("no ink")

        def close(self) -> None:
            super().close()
            raise SystemExit("really not")

    display = Broken()
    options = ProgressOptions(display=display, refresh=0.001)
    with caplog.at_level(logging.ERROR, "tines.progress"):
        assert make(2).map(nap, [0.01] * 20, progress=options) == [0.01] * 20
    assert len(caplog.records) == 1
    assert len(display.frames) == 1 or where == "close"
    assert display.closed.is_set()


def test_the_default_of_a_pool_and_how_calls_override_it(make: MakePool, shown: Recorder) -> None:
    pool = make(2, progress=shown)
    pool.map(square, range(10))
    assert figures(shown.last) == (10, 0, 0, 10, True)
    before = len(shown.frames)
    pool.map(square, range(10), progress=False)
    list(pool.imap(square, range(10), progress=False))
    assert len(shown.frames) == before
    other = Recorder()
    list(pool.imap(square, range(10), progress=other))
    assert len(shown.frames) == before
    assert other.last.over


def test_bad_values_are_refused_before_anything_happens(make: MakePool) -> None:
    pool = make(1)
    for call in (pool.map, pool.imap, pool.imap_unordered, pool.map_async, pool.starmap):
        with pytest.raises(TypeError, match="progress='bar' is not understood: give True, False"):
            call(square, [1], progress="bar")  # type: ignore[operator]
    with pytest.raises(TypeError, match="progress=3 is not understood"):
        make(1, progress=3)
    with pytest.raises(TypeError, match="no task option 'progress'"):
        pool.apply_async(square, (1,), progress=True)  # type: ignore[call-arg]


def test_a_closed_pool_shows_nothing(make: MakePool, shown: Recorder) -> None:
    pool = make(1)
    pool.close()
    for call in (pool.map, pool.imap):
        with pytest.raises(ValueError, match="not running"):
            call(square, [1], progress=shown)  # type: ignore[operator]
    assert not shown.frames


def test_off_makes_what_there_was_before(make: MakePool) -> None:
    pool = make(1)
    assert type(pool.map_async(square, [1])) is MapResult
    assert type(pool.imap(square, [1])) is IMapIterator
    assert type(pool.imap_unordered(square, [1])) is IMapUnorderedIterator
    assert no_thread()


def test_lines_go_where_they_are_told(make: MakePool) -> None:
    file = io.StringIO()
    make(1).map(square, range(10), progress=ProgressOptions(file=file, description="ten"))
    assert file.getvalue().startswith("ten: 10/10, ")


def test_a_display_takes_at_most_its_share(make: MakePool) -> None:
    """A display that is slow is called more seldom, and holds up nobody."""

    class Slow(Recorder):
        def draw(self, lines: Sequence[Line]) -> None:
            super().draw(lines)
            time.sleep(0.05)

    display = Slow()
    began = time.monotonic()
    make(2).map(nap, [0.005] * 100, progress=ProgressOptions(display=display, refresh=0.0001))
    # Each drawing is followed by a second's pause, as it is to take a twentieth of the time.
    assert len(display.frames) < 10 + (time.monotonic() - began)
