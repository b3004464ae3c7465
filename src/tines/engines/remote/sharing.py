"""Payloads for many readers, such as the large constants of functions: sent once to each node.

In the program such a payload is known by an identity, and that is all that its pickle says. A node keeps
what it was sent in its own shared memory; where the pickle is read there, it becomes the node's payload.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from tines.transport.contract import Buffer, Shared

__all__ = ["MARK", "RelayShared", "here"]

MARK = b"tines-shared-"
"""What each identity begins with, so that one is found without unpickling."""

here: dict[bytes, Shared] = {}
"""In a node: its payloads."""


class RelayShared:
    """A payload, in the program; see :class:`tines.transport.contract.Shared`.

    Args:
        data: Its pickle.
        buffers: What belongs to that.
        tell: Is called with the identity when the payload is not needed any more.
    """

    def __init__(
        self, data: Buffer, buffers: Sequence[Buffer], tell: Callable[[bytes], object]
    ) -> None:
        self.identity = MARK + os.urandom(16)
        self.data = bytes(data)
        self.buffers = [bytearray(buffer) for buffer in buffers]
        self._tell: Callable[[bytes], object] | None = tell

    def open(self) -> tuple[Buffer, Sequence[Buffer]]:
        """See the contract. In the program only what is compared is opened."""
        return self.data, self.buffers

    def close(self) -> None:
        """See the contract."""
        tell, self._tell = self._tell, None
        if tell is not None:
            tell(self.identity)

    def __reduce__(self) -> tuple[object, ...]:
        return _find, (self.identity,)


def _find(identity: bytes) -> Shared:
    return here[identity]
