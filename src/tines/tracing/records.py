"""What a spool holds: records of eight 64-bit words, one for each thing that happened.

A task in a worker is one record, filled in as the task goes on, so whatever the worker is killed in
shows. All other records are written at once. In both cases the last word is the time at which it
was over, and is stored last: a record without it was never finished.

====  ==========================  =====================================  ==========================
word  ``TASK``                    ``SUBMIT`` and ``RESULT``              all others
====  ==========================  =====================================  ==========================
0     dispatch number             pool, dispatch number                  process id, where it is about one
1     began to wait               began                                  began
2     received                    began to send; slot of the worker      exit code, see ``END``
3     meta, see :func:`meta`      meta                                   meta
4     began to run                thread                                 thread
5     ended running               bytes
6     began to send
7     done                        done                                   done
====  ==========================  =====================================  ==========================

Times are nanoseconds of ``CLOCK_MONOTONIC``, which all processes of a machine share.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass, fields

__all__ = [
    "CPU_SHIFT",
    "FLAGS_SHIFT",
    "ITEMS_SHIFT",
    "NAME_SHIFT",
    "POOL_SHIFT",
    "RECORD",
    "SIZE",
    "TAG_MASK",
    "Kind",
    "Order",
    "Record",
    "Totals",
    "cpu_bits",
    "cpu_of",
    "flags_of",
    "items_of",
    "kind_of",
    "latest",
    "meta",
    "name_number",
    "ran_since",
]

RECORD = struct.Struct("=8Q")
SIZE = RECORD.size

POOL_SHIFT = 48
FLAGS_SHIFT = 8
NAME_SHIFT = 16
ITEMS_SHIFT = 32
CPU_SHIFT = FLAGS_SHIFT + 1
_CPU_STEPS = 126
"""How finely a task's share of processor time is kept, in the seven bits beside the flag that it raised."""
TAG_MASK = (1 << POOL_SHIFT) - 1

Record = Sequence[int]


class Kind(enum.IntEnum):
    """What a record is about."""

    TASK = 1
    """A worker's task, or chunk of tasks. Flag 1: it raised. The other flags: :func:`cpu_bits`."""
    PART = 2
    """A worker sent what it had done so far of a chunk."""
    BOOT = 3
    """A worker became ready."""
    SUBMIT = 4
    """A task was sent to the workers. The flags are the number of the attempt."""
    RESULT = 5
    """An outcome was received and delivered. Flag 1: an exception."""
    START = 6
    """A process was started."""
    END = 7
    """A process was found to have ended. Word 2 is the exit code plus 2**32."""
    ORDER = 8
    """A worker was told to stop what it does. The flags are an :class:`Order`."""
    EXIT = 9
    """This process is about to end by itself."""
    MEMORY = 10
    """A process looked at its own memory. Word 5 is how many bytes it had."""


class Order(enum.IntEnum):
    """How a worker was stopped."""

    TIMEOUT = 1
    CANCEL = 2
    TERMINATE = 3
    KILL = 4


def meta(kind: int, *, flags: int = 0, name: int = 0, items: int = 1) -> int:
    """Return word 3: kind (8 bits), flags (8), number of a name (16), number of items (32)."""
    return int(kind) | min(flags, 255) << FLAGS_SHIFT | name << NAME_SHIFT | items << ITEMS_SHIFT


def kind_of(record: Record) -> int:
    """Return the kind of a record; 0 where there is none."""
    return record[3] & 0xFF


def flags_of(record: Record) -> int:
    """Return the flags of a record."""
    return record[3] >> FLAGS_SHIFT & 0xFF


def name_number(record: Record) -> int:
    """Return the number of a record's name; 0 for none."""
    return record[3] >> NAME_SHIFT & 0xFFFF


def items_of(record: Record) -> int:
    """Return how many items a record is about."""
    return record[3] >> ITEMS_SHIFT


def cpu_bits(cpu: int, took: int) -> int:
    """Return, in place within word 3, how much of what a task took was processor time."""
    share = _CPU_STEPS * cpu // took if took > 0 else _CPU_STEPS
    return min(max(share, 0), _CPU_STEPS) + 1 << CPU_SHIFT  # zero: not known


def cpu_of(record: Record) -> int:
    """Return how long a task was on a processor, at most as long as it ran; unknown counts as all."""
    share = (record[3] >> CPU_SHIFT & 0x7F) - 1
    took = record[5] - record[4]
    return took if share < 0 else took * share // _CPU_STEPS


def latest(record: Record) -> int:
    """Return the latest time in a record."""
    times = (1, 2, 4, 5, 6, 7) if kind_of(record) == Kind.TASK else (1, 7)
    return max(record[index] for index in times)


def ran_since(record: Record, begin: int) -> bool:
    """Return whether a task ran at some time from ``begin`` on; it may still be running."""
    # A worker may be slow to note that an outcome was sent: the record ends after the run did.
    return bool(record[4]) and (not record[7] or record[5] >= begin)


# Comparing with members of an enumeration takes several times as long.
_TASK, _PART, _SUBMIT, _RESULT = map(int, (Kind.TASK, Kind.PART, Kind.SUBMIT, Kind.RESULT))


@dataclass
class Totals:
    """Sums over records, also over those that had to be dropped. Durations are nanoseconds.

    Attributes:
        records: Records that were finished.
        tasks: Messages (calls or chunks) that a worker finished.
        items: Items in them.
        raised: Tasks that raised.
        wait: Waiting for tasks.
        deserialise: Unpickling tasks.
        run: Running them, without ``parts``.
        serialise: Pickling and sending results.
        parts: Pickling and sending what was done of a chunk while it went on.
        submits: Tasks sent.
        pickling: Pickling them.
        sending: Sending them.
        results: Outcomes received.
        sent_bytes: Bytes of the tasks.
        received_bytes: Bytes of the outcomes.
        cpu: Of ``run`` and ``parts``, what was spent on a processor.
        first: When the first task was received, as a time; 0: none was.
    """

    records: int = 0
    tasks: int = 0
    items: int = 0
    raised: int = 0
    wait: int = 0
    deserialise: int = 0
    run: int = 0
    serialise: int = 0
    parts: int = 0
    submits: int = 0
    pickling: int = 0
    sending: int = 0
    results: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    cpu: int = 0
    first: int = 0

    def add(self, record: Record) -> None:
        """Count one record; unfinished ones do not count."""
        if not record[7]:
            return
        self.records += 1
        kind = record[3] & 0xFF
        if kind == _TASK:
            _, waited, received, _, begun, ended, _, done = record
            self.tasks += 1
            self.items += items_of(record)
            self.raised += flags_of(record) & 1
            self.wait += received - waited
            self.deserialise += begun - received
            self.run += ended - begun
            self.serialise += done - ended
            self.cpu += cpu_of(record)
            self.first = min(self.first or received, received)
        elif kind == _PART:
            self.parts += record[7] - record[1]
            self.run -= record[7] - record[1]
        elif kind == _SUBMIT:
            self.submits += 1
            self.pickling += record[2] - record[1]
            self.sending += record[7] - record[2]
            self.sent_bytes += record[5]
        elif kind == _RESULT:
            self.results += 1
            self.received_bytes += record[5]

    def words(self) -> list[int]:
        """Return the sums in the order of the fields, as a header keeps them."""
        return [max(0, getattr(self, each.name)) for each in fields(self)]
