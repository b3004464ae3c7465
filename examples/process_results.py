"""A Process of your own that brings results back, through a Queue.

    python examples/process_results.py

A queue is the one thing that both sides share: what the child puts in, the parent gets out, in the
same order.
"""

from __future__ import annotations

import os

import tines as mp


class Doubler(mp.Process):
    def __init__(self, numbers: list[int], results: mp.Queue) -> None:
        super().__init__()
        self.numbers = numbers
        self.results = results

    def run(self) -> None:
        doubled = [2 * number for number in self.numbers]
        self.results.put(doubled)
        self.results.put(sum(doubled))


def main() -> None:
    results = mp.Queue()
    doubler = Doubler([1, 2, 3], results)
    doubler.start()

    print(f"  parent (pid {os.getpid()}) handed over:      {doubler.numbers}")
    print(f"  child  (pid {doubler.pid}) sent, doubled:    {results.get()}")
    print(f"  child  (pid {doubler.pid}) sent, their sum:  {results.get()}")

    doubler.join()


if __name__ == "__main__":
    print("A queue brings results back")
    main()
