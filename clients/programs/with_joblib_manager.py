"""joblib with a manager's list, counter and lock as arguments of its tasks."""

from __future__ import annotations

import multiprocessing
import sys

from joblib import Parallel, delayed


def note(found, counts, lock, n):
    found.append(n * n)
    with lock:
        counts["done"] = counts.get("done", 0) + 1


if __name__ == "__main__":
    with multiprocessing.Manager() as manager:
        found, counts, lock = manager.list(), manager.dict(), manager.Lock()
        Parallel(n_jobs=2, backend=sys.argv[1])(
            delayed(note)(found, counts, lock, n) for n in range(20)
        )
        print(sorted(found), dict(counts))
