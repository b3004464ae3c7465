"""A child that a thread forks is like any other: what happens at that thread's end is not its business."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

import tines as mp


def use_an_executor_of_its_own():
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(threading.current_thread).result() is not threading.main_thread()


def leave_an_executor_to_the_end():
    ThreadPoolExecutor(1).submit(int)
    return True


def child_of(ctx, target):
    process = ctx.Process(target=target, returns=True)
    process.start()
    value = process.result(60)
    code = process.exitcode
    process.close()
    return value, code


def by_executor(start):
    with ThreadPoolExecutor(2) as executor:
        return executor.submit(start).result()


def by_asyncio(start):
    return asyncio.run(asyncio.to_thread(start))


def by_a_callback(start):
    """In the thread by which an executor of processes waits for its results."""
    results = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        executor.submit(int).add_done_callback(lambda _: results.append(start()))
    return results[0]


@pytest.mark.parametrize("target", [use_an_executor_of_its_own, leave_an_executor_to_the_end])
@pytest.mark.parametrize("starter", [by_executor, by_asyncio, by_a_callback])
def test_a_child_that_a_thread_of_an_executor_starts(ctx, starter, target, captured):
    assert starter(lambda: child_of(ctx, target)) == (True, 0)
    assert captured.readouterr().err == ""


def test_the_threads_of_the_parents_executors_stay_with_it():
    """Its own exit hooks still know them."""
    from concurrent.futures import thread

    with ThreadPoolExecutor(1) as executor:
        executor.submit(int).result()
        known = len(thread._threads_queues)
        assert child_of(mp.get_context("fork"), lambda: len(thread._threads_queues)) == (0, 0)
        assert len(thread._threads_queues) == known > 0
