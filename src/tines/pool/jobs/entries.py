"""Results that wait for their consumer, as they came: *entries*.

Jobs that hand out their results one by one keep them undecoded until they are asked for. A message
may be about several items, and a part of a chunk says only inside how many they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tines.pool.jobs.back_pressure import weight
from tines.pool.jobs.result import decoded, may_be_returned
from tines.wire import messages, pickling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tines.pool.jobs.chunk import Chunk
    from tines.transport.contract import Buffer

__all__ = [
    "ENDED",
    "LOCAL",
    "Entry",
    "Outcome",
    "entry_of",
    "note",
    "outcome_of",
    "outcomes_of",
    "size_of",
    "tally",
]

LOCAL = -1
"""In place of a kind: the data is an exception that was made here, for the items of a task."""

ENDED = -2
"""In place of a kind: the data is the exception with which the input came to its end."""

Entry = tuple[int, int, Any, Any]
"""How many items it is about, then kind, data and buffers of the message."""

Outcome = tuple[bool | None, Any]
"""Whether it is good, and the value or exception; ``None``: it is no task's exception."""


class Located(tuple[int, int, object, object]):
    """The entry of a message with several items, any of which may be an exception.

    Attributes:
        origin: Which item of the input is its first, and which attempt of the chunk it was.
    """

    origin: tuple[int, int]


def entry_of(chunk: Chunk, kind: int, data: Buffer, buffers: Sequence[Buffer]) -> Entry:
    """Return the entry for a message about a chunk, from its first unreported item on.

    A part that does not unpickle does not say how many items it is about: its entry is the error, and
    stands for all that are left.
    """
    left = chunk.stop - chunk.start - chunk.reported
    if (
        kind == messages.ERROR
    ):  # decoded now, as it is the chunk that knows which item and attempt it was
        return left, LOCAL, outcome_of(kind, data, buffers, chunk)[1], ()
    if kind <= messages.LAST_PLAIN:
        return left, kind, data, buffers
    if kind == messages.PART:
        try:
            left = len(pickling.decode(pickling.PICKLED, data, buffers)[1])
        except BaseException as error:
            return left, LOCAL, error, ()
    entry = Located((left, kind, data, buffers))
    entry.origin = chunk.start + chunk.reported, chunk.attempt
    return entry


def note(chunk: Chunk, entry: Entry) -> None:
    """Its job has an entry: what the chunk still waits for is what comes after that."""
    if entry[1] == messages.PART:
        chunk.reported += entry[0]
    else:
        chunk.settled = True


def size_of(entry: Entry, heavy: int) -> int:
    """Return the bytes of each result of an entry; 0 if the entry has less than ``heavy``."""
    count, kind, data, buffers = entry
    if kind >= 0 and (buffers or len(data) > heavy):
        return weight(data, buffers) // count
    return 0


def outcome_of(
    kind: int, data: Buffer, buffers: Sequence[Buffer], chunk: Chunk | None = None
) -> Outcome:
    """Decode the outcome of a single item. One that exits as it is unpickled is for who takes it."""
    try:
        return decoded(kind, data, buffers, chunk)
    except SystemExit as error:
        return False, error


def outcomes_of(entry: Entry, *, returned: bool = False) -> list[Outcome]:
    """Decode an entry; with ``returned`` the exceptions of tasks are values like any other."""
    outcomes = _outcomes(entry)
    if not returned:
        return outcomes
    return [((good is not None and may_be_returned(each)) or good, each) for good, each in outcomes]


def _outcomes(entry: Entry) -> list[Outcome]:
    count, kind, data, buffers = entry
    if kind == ENDED:
        return [(None, data)] * count
    if kind == LOCAL:
        return [(False, data)] * count
    if kind <= messages.LAST_PLAIN:
        return [outcome_of(kind, data, buffers)] * count
    try:
        _, values, errors = pickling.decode(pickling.PICKLED, data, buffers)
    except (Exception, SystemExit) as error:
        return [(False, error)] * count
    outcomes: list[Outcome] = [(True, value) for value in values]
    for index, remote in (errors or {}).items():
        origin = entry.origin if isinstance(entry, Located) else ()
        outcomes[index] = (False, remote.revive(*origin))
    return outcomes


def tally(outcomes: Iterable[Outcome], entries: Iterable[Entry]) -> tuple[int, int]:
    """Return how many items these are, and how many of them are known to have failed."""
    done = failed = 0
    for good, _ in outcomes:
        done += 1
        failed += not good
    for count, kind, _, _ in entries:
        done += count
        failed += count * (kind in (LOCAL, ENDED, messages.ERROR))
    return done, failed
