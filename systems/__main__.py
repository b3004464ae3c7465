"""``python -m systems windows|pythons [ARGUMENTS OF PYTEST]``; exit code 3 where it cannot be done."""

from __future__ import annotations

import sys

from systems import pythons, windows
from systems.debian import NotHere

RIGS = {"windows": windows.run, "pythons": pythons.run}
NOT_HERE = 3


def main() -> int:
    """Run a rig; return its exit code."""
    name, *arguments = sys.argv[1:] or [""]
    if name not in RIGS:
        print(f"python -m systems: say which of {', '.join(RIGS)}, not {name!r}", file=sys.stderr)
        return 2
    try:
        return RIGS[name](arguments)
    except NotHere as reason:
        print(f"systems: {name} cannot be run here: {reason}", file=sys.stderr)
        return NOT_HERE


if __name__ == "__main__":
    sys.exit(main())
