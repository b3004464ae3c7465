"""What a channel says of itself. Imported by those who ask: workers start without it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ChannelStatistics"]


@dataclass(frozen=True)
class ChannelStatistics:
    """A moment's picture of one channel; totals count from its creation.

    Attributes:
        depth: Messages sent and not yet received.
        bytes: Payload bytes of those messages.
        sent: Messages sent in all.
        received: Messages received in all.
        waiting_receivers: Processes or threads blocked in ``recv`` (a hint: may be stale).
        waiting_senders: The same for ``send``.
    """

    depth: int
    bytes: int
    sent: int
    received: int
    waiting_receivers: int
    waiting_senders: int
