"""Tests that use processes themselves, in the processes of pytest-xdist."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import pytest


def square(n):
    return n * n


@pytest.mark.parametrize("n", range(12))
def test_pool(n):
    with multiprocessing.Pool(2) as pool:
        assert pool.map(square, range(n)) == [i * i for i in range(n)]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_executor(method):
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        assert list(executor.map(square, range(5))) == [0, 1, 4, 9, 16]


def test_process():
    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=queue.put, args=(os.getpid(),))
    process.start()
    assert queue.get(timeout=20) == os.getpid()
    process.join(20)
    assert process.exitcode == 0


def test_fails():
    assert square(2) == 5


@pytest.mark.skip(reason="as an example")
def test_skipped():
    raise AssertionError
