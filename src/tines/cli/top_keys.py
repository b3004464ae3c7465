"""The keys of ``tines top``: from a terminal on standard input, without waiting for Enter.

The terminal is as it was when the ``with`` block ends, whatever ends it. Where standard input is no
terminal there are no keys, and waiting is only waiting.
"""

from __future__ import annotations

import os
import sys
import threading
from types import TracebackType
from typing import Any

try:
    import select
    import termios
    import tty
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

__all__ = ["Keys"]

_NAMES = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"k": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"j": "down",
    b"\r": "enter",
    b"\n": "enter",
    b"\x1b[C": "enter",
    b"\x1b": "back",
    b"\x7f": "back",
    b"\x1b[D": "back",
    b"s": "sort",
    b"q": "quit",
    b"\x04": "quit",
}


class Keys:
    """See the module."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._before: Any = None
        self._pressed = b""

    def __enter__(self) -> Keys:
        if termios is not None and sys.stdin is not None and sys.stdin.isatty():
            self._descriptor = sys.stdin.fileno()
            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._before is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    @property
    def present(self) -> bool:
        """Whether there is a keyboard."""
        return self._before is not None

    def wait(self, timeout: float) -> str | None:
        """Return the name of the next key; ``None`` if none came in time, ``""`` if it has no meaning."""
        if not self.present:
            threading.Event().wait(timeout)
            return None
        if not self._pressed:
            if not select.select([self._descriptor], [], [], max(0.0, timeout))[0]:
                return None
            self._pressed = os.read(self._descriptor, 1024)
        if not self._pressed:
            return "quit"  # the terminal has gone
        # The keys that send three bytes send them at once; Esc alone is one.
        size = 3 if self._pressed[:2] in (b"\x1b[", b"\x1bO") else 1
        key, self._pressed = self._pressed[:size], self._pressed[size:]
        return _NAMES.get(key, "")
