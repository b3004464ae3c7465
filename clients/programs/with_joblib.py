"""joblib: results in order, memory-mapped arguments, errors, generators, nested calls."""

from __future__ import annotations

import sys

import numpy as np
from joblib import Parallel, delayed, parallel_config


def norm(array, power):
    return float((array**power).sum())


def fail(n):
    if n == 5:
        raise ValueError(f"no {n}")
    return n


def nested(n):
    return sum(Parallel(n_jobs=2)(delayed(abs)(-i) for i in range(n)))


if __name__ == "__main__":
    backend = sys.argv[1]
    big = np.arange(400_000, dtype=float)
    with parallel_config(backend, n_jobs=2):
        print(Parallel()(delayed(norm)(big, power) for power in (1, 2, 3)))
        print(Parallel()(delayed(pow)(n, 2) for n in range(300))[-3:])
        print(
            Parallel(batch_size=7)(delayed(lambda n: n + 1)(n) for n in range(20))
            if backend == "loky"
            else "-"
        )
        try:
            Parallel()(delayed(fail)(n) for n in range(20))
        except ValueError as error:
            print("error:", error)
        print(Parallel()(delayed(nested)(n) for n in range(5)))
        if backend == "loky":
            print(list(Parallel(return_as="generator")(delayed(abs)(-n) for n in range(9))))
