"""schwimmbad: its MultiPool derives from the pool, and hands results to a callback."""

from __future__ import annotations

from schwimmbad import JoblibPool, MultiPool


def square(n):
    return n * n


if __name__ == "__main__":
    seen = []
    with MultiPool(processes=2) as pool:
        print(list(pool.map(square, range(20), callback=seen.append))[-1], len(seen) > 0)
    with JoblibPool(2) as pool:
        print(list(pool.map(square, range(20)))[-1])
