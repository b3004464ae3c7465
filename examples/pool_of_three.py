"""Three workers share ten tasks.

    python examples/pool_of_three.py

``apply_async`` hands a task to the pool and returns at once; whichever worker is idle takes it.
``close`` says that no more will come, ``join`` waits until all are done.
"""

from __future__ import annotations

import math
import os
import time

import tines as mp

TASKS = 10
WORKERS = 3


def factorial(number: int) -> tuple[int, int]:
    """Return the factorial, and who worked it out; a pause makes it feel like work."""
    time.sleep(0.05)
    return math.factorial(number), os.getpid()


def main() -> None:
    pool = mp.Pool(WORKERS)
    pending = {number: pool.apply_async(factorial, (number,)) for number in range(1, TASKS + 1)}
    pool.close()
    pool.join()

    for number, result in pending.items():
        value, worker = result.get()
        print(f"  worker {worker}: {number:2}! = {value:,}")


if __name__ == "__main__":
    print(f"A pool of {WORKERS} works through {TASKS} tasks")
    main()
