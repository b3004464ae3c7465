"""On the pipe transport: what the standard library's primitives do not say by themselves."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a semaphore is no file")
def said_without_native(program: str) -> str:
    """Run a program on the pipe transport; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TINES_NATIVE": "off", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "made", ["Lock()", "RLock()", "Semaphore(2)", "BoundedSemaphore(2)", "Condition()", "Event()"]
)
def test_a_limit_that_forbids_a_lock_is_named(made: str) -> None:
    program = f"""
import resource, tines
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    tines.{made}
except OSError as error:
    print(error.errno, error)
"""
    said = said_without_native(program)
    assert said.startswith("27 ") and "RLIMIT_FSIZE" in said
    assert "0 bytes" in said and "ulimit -f unlimited" in said


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.ENOSYS])
@pytest.mark.parametrize("made", ["Lock()", "Semaphore(2)", "Event()", "Value('i')"])
def test_a_system_without_semaphores_is_explained(made: str, number: int) -> None:
    program = f"""
import _multiprocessing

class Refused(_multiprocessing.SemLock):
    def __new__(cls, *arguments):
        raise OSError({number}, "no more than that")

_multiprocessing.SemLock = Refused
import tines
try:
    tines.{made}
except OSError as error:
    print(error.errno, error)
"""
    said = said_without_native(program)
    assert said.startswith(f"{number} ") and "/dev/shm" in said
