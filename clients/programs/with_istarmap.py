"""The istarmap recipe that goes round: a method for Pool, made of the private parts of its module."""

from __future__ import annotations

import multiprocessing.pool as mpp
from multiprocessing import Pool


def istarmap(self, func, iterable, chunksize=1):
    self._check_running()
    if chunksize < 1:
        raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
    task_batches = mpp.Pool._get_tasks(func, iterable, chunksize)
    result = mpp.IMapIterator(self)
    self._taskqueue.put(
        (
            self._guarded_task_generation(result._job, mpp.starmapstar, task_batches),
            result._set_length,
        )
    )
    return (item for chunk in result for item in chunk)


mpp.Pool.istarmap = istarmap


def add(a, b):
    return a + b


if __name__ == "__main__":
    with Pool(2) as pool:
        print(list(pool.istarmap(add, [(n, n) for n in range(50)])))
        print(list(pool.istarmap(add, [(n, 1) for n in range(50)], chunksize=7)))
