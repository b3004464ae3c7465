"""Print the names of the core's steps."""

from __future__ import annotations

from tines import _native

if __name__ == "__main__":
    print(*_native.steps)
