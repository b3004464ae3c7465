"""mpire: a pool with worker state, shared objects, progress, insights, a time limit, an error."""

from __future__ import annotations

import os
import time

from mpire import WorkerPool


def square(n):
    return n * n


def with_state(worker, shared, state, n):
    state["seen"] = state.get("seen", 0) + 1
    return worker < 2 and shared["factor"] * n


def fail(n):
    if n == 5:
        raise ValueError("no five")
    return n


if __name__ == "__main__":
    method = os.environ["CLIENT_METHOD"]
    with WorkerPool(2, start_method=method) as pool:
        print(pool.map(square, range(100), progress_bar=True)[-1])
        print(list(pool.imap(square, range(5))), sorted(pool.imap_unordered(square, range(5))))
        print(pool.apply_async(square, args=(7,)).get())
    with WorkerPool(
        2,
        pass_worker_id=True,
        shared_objects={"factor": 3},
        use_worker_state=True,
        start_method=method,
        keep_alive=True,
    ) as pool:
        print(pool.map(with_state, range(5)), pool.map(with_state, range(3)))
    with WorkerPool(2, start_method=method) as pool:
        try:
            pool.map(fail, range(10), chunk_size=1)
        except ValueError as error:
            print("error:", str(error).strip().splitlines()[-1].strip())
    with WorkerPool(2, start_method=method) as pool:
        try:
            pool.map(time.sleep, [60], task_timeout=0.5)
        except TimeoutError:
            print("timed out")
