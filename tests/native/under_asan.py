"""The Python tests of the ring with the core under ASan and UBSan: ``python tests/native/under_asan.py``.

Builds the core with the sanitizers and runs pytest with their runtime loaded before the interpreter;
arguments go to pytest. Whatever a sanitizer says in any process, of however short a life, is a failure.

Leaks are not looked for: the interpreter keeps what it has allocated until it exits. Those of the core
are counted by its own census, in the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from native_tools import ROOT, build_overlay

QUICK = ["tests/conformance", "tests/native/test_limits.py", "tests/queues", "-k", "not pipe"]
QUICK += ["-m", "not slow", "-q", "-p", "no:cacheprovider"]


def runtime() -> str:
    """The path of the compiler's ASan runtime; empty if it has none."""
    command = [os.environ.get("CC", "cc"), "-print-file-name=libasan.so"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return found if os.path.isabs(found) else ""


def main() -> None:
    library = runtime()
    if not library:
        sys.exit("the C compiler has no libasan.so: install it, or use gcc (CC=gcc)")
    with tempfile.TemporaryDirectory(prefix="tines-asan-") as directory:
        reports = Path(directory, "reports")
        reports.mkdir()
        log = f"log_path={reports}/report"
        environment = {
            **os.environ,
            "PYTHONPATH": str(build_overlay(Path(directory), "asan")),
            "TINES_NATIVE": "require",
            "TINES_TESTS_LAST_RESORT": "off",
            "LD_PRELOAD": library,
            "ASAN_OPTIONS": f"detect_leaks=0:allocator_may_return_null=1:{log}",
            "UBSAN_OPTIONS": f"print_stacktrace=1:{log}",
        }
        arguments = sys.argv[1:] or QUICK
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env=environment
        )
        found = sorted(reports.iterdir())
        for report in found:
            print(report.read_text(errors="replace"))
    print(f"under ASan and UBSan: {len(found)} reports")
    sys.exit(done.returncode or bool(found))


if __name__ == "__main__":
    main()
