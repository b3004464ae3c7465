"""dask: the scheduler of processes, with a bag, delayed calls and an error."""

from __future__ import annotations

import dask
import dask.bag
from dask import delayed


def inc(n):
    return n + 1


def bad(n):
    raise ValueError(f"not {n}")


if __name__ == "__main__":
    dask.config.set(scheduler="processes", num_workers=2)
    bag = dask.bag.from_sequence(range(200), npartitions=6)
    print(bag.map(inc).filter(lambda n: n % 3 == 0).sum().compute())
    print(sorted(bag.map(lambda n: n % 5).frequencies().compute()))
    print(delayed(sum)([delayed(inc)(n) for n in range(10)]).compute())
    try:
        delayed(bad)(3).compute()
    except ValueError as error:
        print("error:", error)
