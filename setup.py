"""The native core as an optional extension; everything else is in ``pyproject.toml``.

Two environment variables are read at build time:

``TINES_NATIVE``
    ``off`` builds none, ``require`` makes a failed build an error. Otherwise the extension is built
    on Linux, and where that fails (no compiler) the package installs without it: tines then runs
    on its pipe transport.
``TINES_BUILD``
    ``release`` (the default), ``debug``, ``asan`` (address and undefined-behaviour sanitizers) or
    ``tsan`` (thread sanitizer).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

# What a system's headers show is chosen here, as it has to be said before the first of them.
SYSTEM = ["-D_GNU_SOURCE", "-pthread"]
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-fvisibility=hidden"]

# The folders of the C sources: the floor for the one system that the extension is built on, what is
# the same on all, and what knows Python.
SOURCES = ["native/platform/linux", "native/core", "native/binding"]

# Appended after the interpreter's own flags, so the last of two -O wins. CPython builds with
# -DNDEBUG, which would switch assert() off; -U brings it back.
DEBUG = ["-O0", "-g", "-UNDEBUG", "-DTINES_DEBUG"]
SANITIZE = ["-O1", "-g", "-UNDEBUG", "-fno-omit-frame-pointer"]

# CPython is often built with -g; what it adds is four fifths of the extension. The names of
# functions stay, for crash dumps and profilers.
COMPILE_FLAGS = {
    "release": ["-O2", "-g0"],
    "debug": DEBUG,
    "asan": [*SANITIZE, "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
    "tsan": [*SANITIZE, "-fsanitize=thread"],
}
LINK_FLAGS = {
    "asan": ["-fsanitize=address,undefined"],
    "tsan": ["-fsanitize=thread"],
}


def switch(name: str, default: str, *allowed: str) -> str:
    """Read an environment variable that must have one of a few values."""
    value = os.environ.get(name, "") or default
    if value not in allowed:
        sys.exit(f"{name}={value!r} is not known: use one of {', '.join(allowed)}")
    return value


def native_core() -> list[Extension]:
    """Return the extension to build: one, or none."""
    native = switch("TINES_NATIVE", "auto", "auto", "require", "off")
    build = switch("TINES_BUILD", "release", *COMPILE_FLAGS)
    if native == "off" or (native == "auto" and not sys.platform.startswith("linux")):
        return []
    sources = [source for folder in SOURCES for source in Path(folder).glob("*.c")]
    headers = Path("native").rglob("*.h")
    return [
        Extension(
            "tines._native",
            sources=sorted(map(str, sources)),
            depends=sorted(map(str, headers)),
            extra_compile_args=[*WARNINGS, *SYSTEM, *COMPILE_FLAGS[build]],
            extra_link_args=["-pthread", *LINK_FLAGS.get(build, [])],
            optional=native != "require",
        )
    ]


setup(ext_modules=native_core())
