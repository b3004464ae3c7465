"""One allocation fails, whichever it is: no message is lost or sent twice, and the next call works.

``programs/no_memory.py`` goes through the allocations of one call, in a process of its own. By default
through the first ones; TINES_TESTS_ALLOCATIONS says how many.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs" / "no_memory.py"
MOST = int(os.environ.get("TINES_TESTS_ALLOCATIONS") or 60)

pytest.importorskip("_testcapi", reason="this Python cannot fail its allocations")
pytest.importorskip("tines.transport.ring", reason="the ring cannot be used here")

# There a function that cannot be made for want of memory gives back its code once too often.
pytestmark = pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 14), reason="this Python does not survive it by itself"
)


@pytest.mark.parametrize("name", ["small", "objects", "raw", "buffer", "packed", "grown"])
@pytest.mark.parametrize("kind", ["put", "put_many", "get", "get_many"])
def test_no_failed_allocation_loses_a_message(kind: str, name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "ring", kind, name, str(MOST)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=50,
    )
    said = [line for line in done.stdout.splitlines() if not line.startswith("begins")]
    last = done.stdout.splitlines()[-1:]
    assert done.returncode == 0, f"it ended with {done.returncode} at {last}: {done.stderr[-2000:]}"
    assert said[-1].endswith(" wrong 0"), said
    # From Python 3.14 on there is none in a put of bytes alone.
    none = (kind, name) == ("put", "raw")
    assert none or int(said[-1].split()[1]) > 0, "no allocation of the call has failed"
