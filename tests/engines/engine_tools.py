"""What tests of nodes look at."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psutil

from support.waiting import wait_for

__all__ = ["guard", "kill_a_program_with_nodes", "lives"]


def lives(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def guard(agent: int) -> int:
    """The process that watches over an agent: the child that leads a session of its own."""

    def found() -> list[int]:
        children = psutil.Process(agent).children()
        return [each.pid for each in children if os.getsid(each.pid) == each.pid]

    wait_for(found)  # it makes its session itself
    return found()[0]


def kill_a_program_with_nodes(program: str, folder: Path, *arguments: str) -> None:
    """Run a program that prints the four pids of its agents and workers, and kill it: they all end.

    Args:
        program: Its text.
        folder: Where it is written to.
        arguments: What it is called with.
    """
    script = folder / "program.py"
    script.write_text(program)
    command = [sys.executable, str(script), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout is not None
            there = [int(pid) for pid in running.stdout.readline().split()]
            assert len(there) == 4
            assert all(map(lives, there))
        finally:
            running.kill()
    wait_for(lambda: not [pid for pid in there if lives(pid)])
