"""A Process of your own: what it changes stays with it.

    python examples/process_isolation.py

A process works on a copy of what it was given. It may change the copy as it likes; the program that
started it sees nothing of that. (``process_results.py`` shows how to get results back.)
"""

from __future__ import annotations

import os

import tines as mp


class Doubler(mp.Process):
    def __init__(self, numbers: list[int]) -> None:
        super().__init__()
        self.numbers = numbers

    def run(self) -> None:
        self.numbers = [2 * number for number in self.numbers]
        print(f"  child  (pid {os.getpid()}) doubled them: {self.numbers}")


def main() -> None:
    doubler = Doubler([1, 2, 3])
    print(f"  parent (pid {os.getpid()}) hands over:   {doubler.numbers}")

    doubler.start()
    doubler.join()

    print(f"  parent, afterwards, still has:  {doubler.numbers}")


if __name__ == "__main__":
    print("A process of its own has a memory of its own")
    main()
