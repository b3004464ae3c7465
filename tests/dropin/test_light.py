"""What the runner, managers and their servers import: nothing that only other programs need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MANAGER = """
import multiprocessing
import sys
from multiprocessing.managers import SyncManager

def name_modules():
    return list(sys.modules)

class Manager(SyncManager):
    pass

Manager.register("name_modules", name_modules)

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    with Manager() as manager:
        print(*name_modules())
        print(*manager.name_modules()._getvalue())
        with manager.Pool(1) as pool:
            print(pool.apply(abs, (-3,)))
"""

HEAVY = {
    *("argparse", "ast", "dataclasses", "inspect", "logging", "multiprocessing.pool"),
    *("tines.pool", "tines.pool.facade", "tines.pool.jobs.result", "tines.transport"),
}


def run(*command: str) -> str:
    command = (sys.executable, *command)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_runner_brings_nothing_but_modules_of_tines() -> None:
    said = "import sys; print(*sys.modules)"
    bare = run("-c", f"import __future__, contextlib, multiprocessing, runpy; {said}").split()
    brought = set(run("-m", "tines", "-c", said).split()) - set(bare)
    assert {name for name in brought if name.partition(".")[0] != "tines"} == set()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_manager_and_its_server_do_without_pools(tmp_path: Path, method: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(MANAGER)
    mine, servers, answer = run("-m", "tines", str(program), method).splitlines()
    assert "tines.managers.server" in set(mine.split()) & set(servers.split())
    assert HEAVY & set(mine.split()) == set()
    assert HEAVY & set(servers.split()) == set()
    assert answer == "3"
