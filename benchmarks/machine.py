"""Where and with what a run was made."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["commit", "describe"]


def _line(path: str, start: str = "") -> str:
    try:
        for line in Path(path).read_text().splitlines():
            if line.startswith(start):
                return line.split(":", 1)[-1].strip() if start else line.strip()
    except OSError:
        pass
    return ""


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _memory_gb() -> float:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return 0.0


def describe() -> dict[str, Any]:
    """Return what a reader needs to judge the figures, as JSON."""
    return {
        "cpu": _line("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": _cores(),
        "virtual": " hypervisor" in _line("/proc/cpuinfo", "flags"),
        "memory_gb": _memory_gb(),
        "system": platform.system(),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "huge_pages": _line("/sys/kernel/mm/transparent_hugepage/enabled"),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "compiler": platform.python_compiler(),
        "machine": platform.machine(),
        "flags": [flag for flag in ("-O",) if sys.flags.optimize],
    }


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def commit(root: Path) -> dict[str, Any]:
    """Return the commit that was measured, and whether there were changes on top of it."""
    parts = ("src", "native", "benchmarks", ":!benchmarks/results")
    changed = _git(root, "status", "--porcelain", "--", *parts)
    return {"commit": _git(root, "rev-parse", "HEAD") or "", "changed": bool(changed)}
