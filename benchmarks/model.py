"""The nouns of the rig; imports nothing of it.

A case is one (subject, variant, peer). Each time it is run gives one :class:`Run`; a run's metrics
count only if its status is ``OK``.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "Feature",
    "Metric",
    "Metrics",
    "Params",
    "Run",
    "Status",
    "Subject",
    "Unsupported",
    "Variant",
    "WrongResult",
    "expect",
]

Metrics = dict[str, float]
Params = Mapping[str, Any]


class WrongResult(Exception):
    """What arrived is not what was sent: something was lost, torn, delivered twice or aliased."""


class Unsupported(Exception):
    """The peer has no way to do this, though it offers the feature in general."""


def expect(holds: bool, what: str) -> None:
    """Fail the case unless ``holds``; unlike ``assert`` it cannot be switched off.

    Raises:
        WrongResult: it does not hold.
    """
    if not holds:
        raise WrongResult(what)


class Feature(enum.Enum):
    """What a peer can be asked for."""

    QUEUE = "queue"
    """A queue from one process to another."""
    SHARED_QUEUE = "shared queue"
    """That queue with several producers and several consumers."""
    BATCHES = "batches"
    """Several messages with one call."""
    BURST = "burst"
    """``put`` of gigabytes that nobody reads yet."""
    PROCESS = "process"
    POOL = "pool"
    IMPORT = "import"
    LOADER = "loader"
    """A context that PyTorch's DataLoader can start its workers with."""


class Status(enum.Enum):
    """How a run ended."""

    OK = "ok"
    WRONG = "wrong"
    """It finished, but what was received was not what was sent."""
    ERROR = "error"
    """The peer raised an exception."""
    CRASH = "crash"
    """The case's process died without a result."""
    HANG = "hang"
    """It did not finish, or did not exit, within the time limit."""
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True)
class Metric:
    """One figure of a variant. ``better`` is ``"higher"`` or ``"lower"``."""

    name: str
    unit: str
    better: str

    def ratio(self, value: float, base: float) -> float:
        """How many times better than ``base`` this value is; below 1 it is worse."""
        above, below = (value, base) if self.better == "higher" else (base, value)
        return above / below if below else float("inf")


@dataclass(frozen=True)
class Variant:
    """One way a subject is measured.

    Attributes:
        name: Unique within its subject.
        title: For people.
        metrics: The first is the one that charts and ratios show.
        needs: What a peer must offer to take part.
        params: Given to the measuring function.
        quick: What ``--quick`` changes in ``params``; ``None`` leaves the variant out of it.
        limits: Names in :mod:`benchmarks.limits` that are measured beside the peers.
        seconds: Time limit of one run.
        leave_out: Patterns of peers about which it says nothing that another variant does not say;
            those that a bar names, or the user, take part all the same.
        rounds: Of peers that neither a bar nor the user names; the others have all rounds.
    """

    name: str
    title: str
    metrics: tuple[Metric, ...]
    needs: frozenset[Feature]
    params: Params = field(default_factory=dict)
    quick: Params | None = None
    limits: tuple[str, ...] = ()
    seconds: float = 60.0
    leave_out: tuple[str, ...] = ()
    rounds: int = 3


@dataclass(frozen=True)
class Subject:
    """A workload. ``measure(peer, params)`` runs in a fresh process and returns the metrics.

    Whatever it returns beside the variant's metrics (counts, say) is kept in the JSON.
    """

    name: str
    title: str
    text: str
    variants: tuple[Variant, ...]
    measure: Callable[[Any, Params], Metrics]


@dataclass(frozen=True)
class Run:
    """One run of one case.

    Attributes:
        detail: Why it is not ``OK``.
        seconds: Wall time of the whole process.
        other_load: Cores that were busy with something else meanwhile (1.0 is one whole core);
            ``None`` if unknown.
        left_behind: Processes that the case left running; the rig ended them.
        cache_line_ns: Round trip of a cache line between two cores, measured just before; ``None``
            if unknown.
    """

    subject: str
    variant: str
    peer: str
    round: int
    status: Status
    metrics: Metrics
    detail: str = ""
    seconds: float = 0.0
    other_load: float | None = None
    left_behind: int = 0
    cache_line_ns: float | None = None
