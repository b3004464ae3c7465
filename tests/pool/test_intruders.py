"""Code of the user's that runs in the pool's own threads may raise anything: it costs its own call."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from pool_tasks import (
    Mute,
    leaver,
    leaver_at,
    nap,
    raise_mute,
    square,
    unloadable_slowly,
)
from pool_tools import MakePool
from support.waiting import PATIENCE
from tines.errors import DecodeError
from tines.pool.jobs.failures import Unfetched
from tines.pool.progress import Displays


def test_a_result_of_a_map_that_exits_where_it_is_unpickled(make: MakePool) -> None:
    pool = make(1)
    for chunksize in (1, 4):
        with pytest.raises(SystemExit):
            pool.map_async(leaver, range(4), chunksize).get(PATIENCE)
    assert pool.map_async(square, range(4)).get(PATIENCE) == [0, 1, 4, 9]


@pytest.mark.parametrize("chunksize", [1, 2])
@pytest.mark.parametrize("ordered", [True, False])
def test_a_result_of_an_iterator_that_exits_where_it_is_unpickled(
    make: MakePool, ordered: bool, chunksize: int
) -> None:
    pool = make(1)
    imap = pool.imap if ordered else pool.imap_unordered
    iterator = imap(partial(leaver_at, 5), range(10), chunksize)
    found: list[Any] = []
    for _ in range(10):
        try:
            found.append(iterator.next(PATIENCE))
        except SystemExit:
            found.append(None)
    with pytest.raises(StopIteration):
        iterator.next(PATIENCE)
    # Of a chunk, nothing is to be had.
    assert found == [0, 1, 2, 3, *([4, None] if chunksize == 1 else [None, None]), 6, 7, 8, 9]


def test_a_part_of_a_chunk_that_does_not_unpickle(make: MakePool) -> None:
    pool = make(1)
    iterator = pool.imap(unloadable_slowly, range(8), chunksize=4)
    found = [outcome(iterator) for _ in range(8)]
    with pytest.raises(StopIteration):
        iterator.next(PATIENCE)
    assert [type(each) for each in found[:4]] == [DecodeError] * 4
    assert found[4:] == [4, 5, 6, 7]
    assert pool.apply(square, (3,)) == 9


def test_a_map_of_which_a_part_does_not_unpickle_fails_once(make: MakePool) -> None:
    pool = make(1)
    result = pool.map_async(unloadable_slowly, range(8), 4)
    with pytest.raises(DecodeError):
        result.get(PATIENCE)
    counts = result.counts()
    assert (counts.done, counts.failed) == (8, 4)


def outcome(iterator: Any) -> Any:
    try:
        return iterator.next(PATIENCE)
    except Exception as error:
        return error


def test_an_exception_without_a_text_is_tried_again_like_others(make: MakePool) -> None:
    pool = make(1)
    result = pool.apply_async(raise_mute, retries=1, retry_on=Mute)
    with pytest.raises(Mute):
        result.get(PATIENCE)
    assert pool.statistics().retried == 1


def test_a_callback_that_exits_leaves_nobody_waiting(make: MakePool) -> None:
    pool = make(1)

    def leave(_: Any) -> None:
        raise SystemExit

    result = pool.apply_async(square, (3,), callback=leave)
    assert result.get(PATIENCE) == 9
    with pytest.raises(SystemExit):
        pool.apply_async(leaver, callback=print).get(PATIENCE)
    assert pool.map_async(square, [2], callback=leave).get(PATIENCE) == [4]


def test_an_input_that_exits(make: MakePool) -> None:
    pool = make(1)

    def numbers() -> Iterator[int]:
        yield 1
        raise SystemExit("enough")

    iterator = pool.imap(square, numbers())
    assert iterator.next(PATIENCE) == 1
    with pytest.raises(SystemExit, match="enough"):
        iterator.next(PATIENCE)
    with pytest.raises(StopIteration):
        iterator.next(PATIENCE)


def test_an_item_from_a_generator_that_exits_where_it_is_pickled(make: MakePool) -> None:
    pool = make(1)
    iterator = pool.imap(square, (Leaving() for _ in range(3)))
    with pytest.raises(SystemExit):
        iterator.next(PATIENCE)
    with pytest.raises(SystemExit):
        iterator.next(PATIENCE)
    with pytest.raises(StopIteration):
        iterator.next(PATIENCE)
    pool.close()
    pool.join()


class Leaving:
    def __reduce__(self) -> Any:
        raise SystemExit("not to be pickled")


def test_errors_come_while_others_are_logged() -> None:
    """Pools in several threads: one fails tasks while another ends."""
    stop = threading.Event()

    def fail_and_fail() -> None:
        core = object()
        kept: list[Unfetched] = []
        while not stop.is_set():
            kept.append(Unfetched(core, ValueError()))
            kept[-1].seen()
            del kept[:-500]

    threads = [threading.Thread(target=fail_and_fail) for _ in range(2)]
    for thread in threads:
        thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(3000):
            Unfetched.log_all(None)
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        for thread in threads:
            thread.join()


def test_bars_are_added_while_others_are_closed() -> None:
    """A pool ends in one thread as another begins a call that is shown."""

    class NoBar:
        def close(self) -> None:
            pass

    displays: Any = Displays(None)
    stop = threading.Event()

    def show_and_show() -> None:
        kept = []
        while not stop.is_set():
            kept.append(NoBar())
            displays.add(kept[-1])
            del kept[:-500]

    thread = threading.Thread(target=show_and_show)
    thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(1000):
            displays.close()
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        thread.join()
    gc.collect()
    assert not displays._bars


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_needs_no_lock_that_a_thread_held(make: MakePool) -> None:
    """The copy of a pool is closed, or collected, in a child that was forked at a bad moment."""
    pool = make(1)
    held, forked = threading.Event(), threading.Event()

    def hold() -> None:
        with pool._core.supervisor._waking, pool._core.machine.lock:
            held.set()
            forked.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:

        def let_go() -> None:
            pool.close()
            pool._abandon()

        done = threading.Thread(target=let_go, daemon=True)
        done.start()
        done.join(PATIENCE)
        os._exit(int(done.is_alive()))
    forked.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.apply(nap, (0,)) == 0
