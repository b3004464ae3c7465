"""parmap: map and starmap, chunks, progress bars and asynchronous calls."""

from __future__ import annotations

import parmap


def power(base, exponent, offset=0):
    return base**exponent + offset


if __name__ == "__main__":
    print(parmap.map(power, range(10), 2, pm_processes=2))
    print(parmap.starmap(power, [(1, 2), (3, 4)], pm_processes=2, offset=1))
    print(parmap.map(power, range(40), 3, pm_processes=2, pm_pbar=True, pm_chunksize=4)[-1])
    with parmap.map_async(power, range(10), 2, pm_processes=2) as result:
        print(result.get())
    with parmap.starmap_async(power, [(2, 3)], pm_processes=2) as result:
        print(result.get())
