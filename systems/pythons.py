"""The Pythons of tomorrow: a part of the suite on the interpreters of Debian's newest suite.

For each version an environment is made, tines is built in it from a copy of the checkout, and the tests
run there.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from systems.debian import CERTIFICATES, CHECKOUT, Root, copy_sources

__all__ = ["VERSIONS", "run"]

VERSIONS = ("3.14", "3.15")

QUICK = (
    "tests/test_namespace.py",
    "tests/test_threads.py",
    "tests/dropin/test_runner.py",
    "tests/dropin/test_alias.py",
    "tests/dropin/test_recipes.py",
    "tests/executor",
    "tests/pool/test_standard.py",
    "tests/process/test_process.py",
    "tests/process/test_waiting_for_children.py",
    "tests/process/test_leftovers.py",
    "tests/process/test_executables.py",
    "tests/queues/test_queue.py",
)
"""What runs unless the command line says otherwise: what changes between versions of Python."""

NEEDED = ("setuptools", "wheel", "pytest", "pytest-rerunfailures", "cloudpickle", "rich", "tqdm")
WELCOME = ("numpy", "joblib", "psutil", "hypothesis")
"""Of these only what is built for the interpreter; tests that need the others are skipped."""


def run(arguments: Sequence[str]) -> int:
    """Run ``[--version 3.15] [ARGUMENTS OF PYTEST]``, and print a line for each interpreter."""
    parser = argparse.ArgumentParser(prog="python -m systems pythons", description=__doc__)
    parser.add_argument(
        "--version", action="append", choices=VERSIONS, help="only this; may be repeated"
    )
    options, rest = parser.parse_known_args(arguments)
    packages = ["ca-certificates", "gcc", "libc6-dev"]
    for version in VERSIONS:
        packages += [f"python{version}-venv", f"python{version}-dev"]
    root = Root.made("pythons", packages)
    copy_sources(root.path / "src")
    failed = 0
    for version in options.version or VERSIONS:
        code = _test(root, version, rest or ["-m", "not slow", *QUICK])
        print(f"Python {version}: {'passed' if code == 0 else f'FAILED: exit code {code}'}")
        failed |= code != 0
    return failed


def _test(root: Root, version: str, arguments: Sequence[str]) -> int:
    """Build and test on one interpreter; return the exit code of pytest."""
    python = f"/venv-{version}/bin/python"
    tree = root.path / "src"

    def inside(*command: str, may_fail: bool = False) -> int:
        return root.run(
            command, environment=_environment(), tree=tree, check=not may_fail, quiet=may_fail
        )

    if not (root.path / python.lstrip("/")).is_symlink():
        inside(f"python{version}", "-m", "venv", f"/venv-{version}")
    install = (python, "-m", "pip", "install", "--quiet")
    inside(*install, *NEEDED)
    for name in WELCOME:
        inside(*install, "--only-binary=:all:", name, may_fail=True)
    inside(*install, "--no-build-isolation", "--no-deps", "--editable", CHECKOUT)
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return root.run(command, environment=_environment(), tree=tree, check=False)


def _environment() -> dict[str, str]:
    kept = ("PIP_INDEX", "PIP_EXTRA", "PIP_DEFAULT", "TINES_", "http")
    return {
        **{name: text for name, text in os.environ.items() if name.startswith(kept)},
        "PIP_CERT": str(CERTIFICATES),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
