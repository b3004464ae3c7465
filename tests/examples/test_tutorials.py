"""The tutorial programs do what they say, under each start method."""

from __future__ import annotations

import multiprocessing
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
METHODS = multiprocessing.get_all_start_methods()

MAIN = 'if __name__ == "__main__":\n'


def run(program: str, method: str, directory: Path) -> list[str]:
    """Run an example with a start method; return what it printed. It must end well, and quietly."""
    source = (EXAMPLES / program).read_text()
    assert source.count(MAIN) == 1
    script = directory / program
    script.write_text(source.replace(MAIN, f"{MAIN}    mp.set_start_method({method!r})\n"))
    finished = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=40,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stderr == ""
    return finished.stdout.splitlines()


@pytest.mark.parametrize("method", METHODS)
def test_what_a_process_changes_stays_in_it(method: str, tmp_path: Path) -> None:
    _, before, child, after = run("process_isolation.py", method, tmp_path)
    assert before.endswith("[1, 2, 3]")
    assert child.endswith("[2, 4, 6]")
    assert after.endswith("[1, 2, 3]")
    assert pids([before]) != pids([child])


@pytest.mark.parametrize("method", METHODS)
def test_a_queue_brings_two_results_back(method: str, tmp_path: Path) -> None:
    _, given, doubled, total = run("process_results.py", method, tmp_path)
    assert given.endswith("[1, 2, 3]")
    assert doubled.endswith("[2, 4, 6]")
    assert total.endswith(" 12")


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_of_three_does_ten_tasks(method: str, tmp_path: Path) -> None:
    _, *tasks = run("pool_of_three.py", method, tmp_path)
    assert [line.partition(": ")[2].split("!")[0].strip() for line in tasks] == [
        str(number) for number in range(1, 11)
    ]
    assert tasks[-1].endswith("3,628,800")
    # Under a busy system one worker may take another's share, but not everything.
    assert 2 <= len(pids(tasks)) <= 3


def pids(lines: list[str]) -> set[str]:
    """Return the process ids that lines name."""
    return set(re.findall(r"(?:pid|worker) (\d+)", "\n".join(lines)))
