"""pathos: pools of dill's own copy of multiprocessing, beside the standard one."""

from __future__ import annotations

import multiprocessing

from pathos.multiprocessing import ProcessingPool


def square(n):
    return n * n


if __name__ == "__main__":
    pool = ProcessingPool(2)
    print(pool.map(lambda n: n + 1, range(10)), list(pool.imap(square, range(10))))
    pool.close()
    pool.join()
    with multiprocessing.Pool(2) as own:
        print(own.map(square, range(10)))
