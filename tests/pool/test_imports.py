"""What a worker imports before its first task: nothing that only the pool's own process needs."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tines import transport

PROGRAM = """
    import sys
    import tines

    def modules():
        return sorted(sys.modules)

    if __name__ == "__main__":
        with tines.get_context("spawn").Pool(1) as pool:
            print(*pool.apply(modules))
"""

UNWANTED = {
    *("dataclasses", "inspect", "logging", "multiprocessing.connection", "tempfile"),
    *(
        "tines.engines.local",
        "tines.pool.worker.constants",
        "tines.pool.runtime.core",
        "tines.transport.contract",
    ),
}


def test_spawned_workers_start_light(tmp_path: Path) -> None:
    if transport.choice().name != "ring":
        pytest.skip("the pipe transport is no lightweight")
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    command = [sys.executable, "-c", "import sys; print(*sys.modules)"]
    bare = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split()) - set(bare.stdout.split())
    assert "tines.pool.worker.main" in imported
    assert imported & UNWANTED == set()
