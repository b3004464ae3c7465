"""What this process holds open, where the system tells."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["KNOWN", "descriptors"]

_DIRECTORY = Path("/proc/self/fd")

KNOWN = _DIRECTORY.exists()
"""Whether the system tells."""


def descriptors() -> dict[str, str]:
    """Return the open descriptors and what they are; empty where the system does not tell."""
    found = {}
    if KNOWN:
        for entry in os.listdir(_DIRECTORY):
            with contextlib.suppress(OSError):  # the one of this very look
                found[entry] = os.readlink(_DIRECTORY / entry)
    return found
