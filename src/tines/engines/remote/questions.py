"""What is asked of the hub, or of a node by way of it."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["PATIENCE", "Question"]

PATIENCE = 10.0
"""Seconds that a question is waited for."""


class Question:
    """Something that the hub, or a node, will answer; ``None`` if it cannot."""

    def __init__(self) -> None:
        self._there = threading.Lock()
        self._there.acquire()
        self._answer: object = None
        self.then: Callable[[object], object] | None = None

    def answer(self, answer: object) -> None:
        """Answer it, once. The hub's thread."""
        if self.then is not None:
            self.then(answer)
        self._answer = answer
        self._there.release()

    def wait(self, timeout: float = PATIENCE) -> object:
        """Wait for the answer. Any thread but the hub's."""
        if not self._there.acquire(timeout=timeout):
            return None
        return self._answer
