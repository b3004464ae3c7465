"""Which file is mapped at an address: shows that an array was not copied on its way."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

__all__ = ["KNOWN", "file_of"]

_MAPS = Path("/proc/self/maps")

KNOWN = os.path.exists(_MAPS)
"""Whether the system tells."""


def file_of(array: Any) -> str:
    """Return the name of the file that all of an array lies in; empty: it is ordinary memory."""
    first = array.__array_interface__["data"][0]
    for line in _MAPS.read_text(encoding="utf-8").splitlines():
        place, _, _, _, _, *name = line.split(maxsplit=5)
        begin, end = (int(edge, 16) for edge in place.split("-"))
        if begin <= first < end:
            assert first + array.nbytes <= end, "it lies across two mappings"
            return "".join(name)
    raise AssertionError("there is nothing at its address")
