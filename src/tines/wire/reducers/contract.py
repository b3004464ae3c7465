"""What the modules of this package give to its registry."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Reducer: TypeAlias = Callable[[Any], Any]

__all__ = ["Reducers"]


class Reducers:
    """What one library is given.

    Attributes:
        added: Reducers of types that have none registered.
        instead: Reducers for those that the library registers, by these.
    """

    __slots__ = ("added", "instead")

    def __init__(
        self,
        added: dict[type, Reducer] | None = None,
        instead: dict[Reducer, Reducer] | None = None,
    ) -> None:
        self.added = added or {}
        self.instead = instead or {}
