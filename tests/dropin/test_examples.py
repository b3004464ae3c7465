"""The tutorial programs, written against plain ``multiprocessing``, through the runner."""

from __future__ import annotations

import multiprocessing
import re
from pathlib import Path

import pytest

from both import Both

EXAMPLES = Path(__file__).parents[2] / "examples"
METHODS = multiprocessing.get_all_start_methods()
OURS = "import tines as mp\n"
MAIN = 'if __name__ == "__main__":\n'
EVIDENCE = """    import atexit, sys
    atexit.register(lambda: print(mp.Queue.__module__, file=sys.stderr))
"""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "program", ["process_isolation.py", "process_results.py", "pool_of_three.py"]
)
def test_tutorial(both: Both, program: str, method: str) -> None:
    source = (EXAMPLES / program).read_text()
    assert source.count(OURS) == source.count(MAIN) == 1
    source = source.replace(OURS, "import multiprocessing as mp\n")
    source = source.replace(MAIN, f"{MAIN}{EVIDENCE}    mp.set_start_method({method!r})\n")
    both.write(program, source)
    plain, ours = both.plain(program), both.run(program)
    assert (plain.code, ours.code) == (0, 0), plain.err + ours.err
    assert ours.err == "tines.queues\n"
    assert plain.err.splitlines()[-1:] == ["multiprocessing.context"]
    assert without_processes(ours.out) == without_processes(plain.out)


def without_processes(text: str) -> list[str]:
    """Return the lines without the process ids that they name, in order of their contents."""
    return sorted(re.sub(r"(pid|worker) +\d+", r"\1", line) for line in text.splitlines())
