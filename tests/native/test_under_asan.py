"""``under_asan.py`` runs the sanitized core, and does not miss a report."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from native_tools import HERE

pytestmark = [pytest.mark.slow, pytest.mark.watchdog(120)]

OVERRUN = """
import ctypes
import os

from tines import _native


def test_overrun():
    assert "tines-asan-" in _native.__file__
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        libc.memset(ctypes.c_void_p(libc.malloc(8)), 1, {length})
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.parametrize(("length", "reports"), [(8, 0), (16, 1)])
def test_an_overrun_in_a_child_that_nobody_checks_is_reported(
    tmp_path: Path, length: int, reports: int
) -> None:
    planted = tmp_path / "test_planted.py"
    planted.write_text(OVERRUN.replace("{length}", str(length)))
    command = [sys.executable, str(HERE / "under_asan.py"), "-q", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, str(planted)], capture_output=True, text=True, timeout=110)
    assert f"{reports} reports" in done.stdout, done.stdout + done.stderr
    assert done.returncode == reports, done.stdout + done.stderr
    assert ("heap-buffer-overflow" in done.stdout) == bool(reports)
