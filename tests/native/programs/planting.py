"""Faults that the programs have to find."""

from __future__ import annotations

from typing import Any

from programs.journal import SENT, Journal, buffers_of, data_of

__all__ = ["plant"]


def plant(segment: Any, ring: Any, journal: Journal, fault: str) -> object:
    """Do what a broken core would do, behind the journal's back; keep what this returns."""
    tag = journal.tag(1, journal.length - 1)
    if fault == "lost":
        journal.note(tag, SENT)
    elif fault == "twice":
        journal.note(tag, SENT)
        for _ in range(2):
            ring.send(data_of(tag), buffers_of(tag), 0, tag)
    elif fault == "torn":
        journal.note(tag, SENT)
        ring.send(data_of(tag) + b"torn", tag=tag)
    elif fault == "leak":
        return segment.block(b"x" * 5000)
    return None
