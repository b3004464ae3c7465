"""What being watched costs a program: ``python -m benchmarks.watching [--rounds N] [--interval SECONDS]``.

One process runs empty tasks in a pool, in turns of a second: watched (by a ``tines top`` of its own, at its
default rate) and not, always in pairs, the order changing. Two figures come out:

* ratio: the median, over the pairs, of the processor time that this process takes for a task, watched
  to not watched. (Tasks a second are printed as well; on a busy machine they are mostly noise.)
* answering: processor time that the program's own thread spent on answers, as a share of the time
  watched. It is counted by the kernel, so noise has little part in it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import tines as mp
from tines.insight.reader import Reader


def empty() -> None:
    """Do nothing."""


def work(pool: mp.Pool, seconds: float) -> tuple[float, float]:
    """Have empty calls done, a thousand at a time on their way.

    Returns:
        How many were done in a second, and the processor seconds of this process for each.
    """
    count, started, before = 0, time.perf_counter(), time.process_time()
    while (passed := time.perf_counter() - started) < seconds:
        for result in [pool.apply_async(empty) for _ in range(1000)]:
            result.get()
        count += 1000
    return count / passed, (time.process_time() - before) / count


def spent() -> float:
    """Return the processor seconds of this process's answers so far."""
    with Reader() as reader:
        (this,) = [each for each in reader.sample(5.0).programs if each.pid == os.getpid()]
    return this.spent


def watched(
    measure: Callable[[], tuple[float, float]], interval: float
) -> tuple[tuple[float, float], float]:
    """Return a measurement with a watcher beside it, and the share of time its answers took."""
    watcher = subprocess.Popen(
        [sys.executable, "-m", "tines", "top", "--json", "--interval", str(interval)],
        stdout=subprocess.PIPE,
    )
    assert watcher.stdout is not None
    try:
        watcher.stdout.readline()
        before, started = spent(), time.perf_counter()
        figure = measure()
        passed = time.perf_counter() - started
        # The last asking is this program's own, and about as dear as each of the watcher's.
        return figure, (spent() - before) / passed
    finally:
        watcher.kill()
        watcher.communicate()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement")
    parser.add_argument("--interval", type=float, default=1.0, help="the watcher's")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    ratios, shares = [], []
    with mp.Pool(options.workers) as pool:

        def measure() -> tuple[float, float]:
            return work(pool, options.seconds)

        measure()
        for number in range(options.rounds):
            if number % 2:
                alone = measure()
                seen, share = watched(measure, options.interval)
            else:
                seen, share = watched(measure, options.interval)
                alone = measure()
            ratios.append(seen[1] / alone[1])
            shares.append(share)
            for name, (rate, cpu) in (("watched", seen), ("alone", alone)):
                print(f"{name:8} {rate:9.0f}/s {cpu * 1e6:7.3f} us of processor time a task")
            print(f"answering {share:.4%}", flush=True)
    quarters = statistics.quantiles(ratios, n=4)
    print(
        f"ratio {statistics.median(ratios):.4f} (quartiles {quarters[0]:.4f} to {quarters[2]:.4f}), "
        f"answering {statistics.median(shares):.4%} of the time"
    )


if __name__ == "__main__":
    main()
