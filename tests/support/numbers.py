"""Numbers that are no ``int``, as NumPy's are."""

from __future__ import annotations

__all__ = ["Whole"]


class Whole:
    """A whole number that is no ``int``."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value
