"""trio-parallel: calls in a cache of processes, one of which dies, one of which is cancelled."""

from __future__ import annotations

import os
import time

import trio
import trio_parallel


def square(n):
    return n * n


def die():
    os._exit(7)


async def main():
    print([await trio_parallel.run_sync(square, n) for n in range(5)])
    try:
        await trio_parallel.run_sync(die)
    except trio_parallel.BrokenWorkerError:
        print("a worker broke")
    with trio.move_on_after(1) as scope:
        await trio_parallel.run_sync(time.sleep, 60, kill_on_cancel=True)
    print("cancelled:", scope.cancelled_caught)


if __name__ == "__main__":
    trio.run(main)
