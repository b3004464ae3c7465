"""A family of processes that a test starts, and who of it is alive.

Every process of a family carries a mark in its environment, however deep it is and whoever became
its parent, helpers included (fork server, resource tracker).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import MappingProxyType

__all__ = ["HEIRS", "Family"]

PROGRAM = Path(__file__).parent / "programs" / "family.py"
HEIRS = PROGRAM.with_name("heirs.py")
MARK = "TINES_TEST_FAMILY"


class Family:
    """A running family, and who of it is alive.

    Args:
        method: Start method.
        shape: Who there is; see the program.
        arguments: More, for another program.
        bound: Whether children that are not daemonic end with their parents; ``None`` for the default.
        program: What is run.
        environment: More variables.
    """

    def __init__(
        self,
        method,
        shape,
        *arguments,
        bound=True,
        program=PROGRAM,
        environment=MappingProxyType({}),
    ):
        self.mark = f"{MARK}={uuid.uuid4()}".encode()
        environment = {**os.environ, **environment, **dict([self.mark.decode().split("=")])}
        if bound is not None:
            environment["TINES_DIES_WITH_PARENT"] = str(int(bound))
        self.process = subprocess.Popen(
            [sys.executable, str(program), method, shape, *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self):
        line = self.process.stdout.readline().split()
        assert line[:1] == ["ready"], self.process.stderr.read()
        self.children = [int(pid) for pid in line[1:]]

    def alive(self):
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self.has(pid)]

    def has(self, pid):
        try:
            if self.mark not in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                return False
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False

    def survivors(self, after, expected=()):
        """Who is alive ``after`` seconds from now, or as soon as only the expected ones are."""
        deadline = time.monotonic() + after
        while set(alive := self.alive()) != set(expected) and time.monotonic() < deadline:
            time.sleep(0.01)
        return alive

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.stderr.close()
