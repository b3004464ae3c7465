"""pebble: a pool whose tasks are timed out and cancelled, a worker that dies, decorators."""

from __future__ import annotations

import os
import time
from concurrent.futures import TimeoutError as FutureTimeout

from pebble import ProcessExpired, ProcessPool
from pebble.concurrent import process


@process(timeout=0.5)
def slow():
    time.sleep(60)


@process
def quick(n):
    return n + 1


def square(n):
    return n * n


def die(code):
    os._exit(code)


if __name__ == "__main__":
    with ProcessPool(max_workers=2) as pool:
        print(list(pool.map(square, range(20), timeout=30).result())[-1])
        try:
            pool.schedule(time.sleep, args=[60], timeout=0.5).result()
        except FutureTimeout:
            print("timed out")
        try:
            pool.schedule(die, args=[3]).result()
        except ProcessExpired as error:
            print("expired:", error.exitcode)
        future = pool.schedule(time.sleep, args=[60])
        future.cancel()
        print("cancelled:", future.cancelled())
    print(quick(1).result())
    try:
        slow().result()
    except FutureTimeout:
        print("timed out")
