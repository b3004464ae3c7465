"""What is run: all variants of the chosen subjects, with all peers that offer what these need."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks import goals, peers, subjects
from benchmarks.model import Params, Subject, Variant

__all__ = ["QUICK_PEERS", "Case", "Plan", "make_plan", "seconds_of"]

QUICK_PEERS = (
    "tines",
    "tines_spawn",
    "tines_forkserver",
    "stdlib",
    "stdlib_spawn",
    "stdlib_forkserver",
    "futures",
    "faster_fifo",
)
"""Who takes part in ``--quick`` unless ``--peers`` says otherwise."""

START_METHODS = ("*_spawn", "*_forkserver")
"""In a quick run these are compared where they differ: in start-up."""


@dataclass(frozen=True)
class Case:
    """One variant with one peer, or with one limit (``limit:memcpy``)."""

    subject: str
    variant: Variant
    peer: str
    params: Params


@dataclass(frozen=True)
class Plan:
    """Cases in the order of the report; each subject's variants stay together."""

    subjects: tuple[Subject, ...]
    peers: tuple[str, ...]
    variants: str
    rounds: int
    quick: bool
    goals_only: bool = False
    """Only those peers of each variant that a bar names."""

    def groups(self) -> Iterator[list[Case]]:
        """The cases of each variant: its limits first, then its peers. Empty ones are left out."""
        for subject in self.subjects:
            for variant in subject.variants:
                if not fnmatch.fnmatch(variant.name, self.variants):
                    continue
                if self.quick and variant.quick is None:
                    continue
                params = {**variant.params, **(variant.quick or {} if self.quick else {})}
                able = [name for name in self.peers if self._takes_part(name, subject, variant)]
                if able:
                    names = [f"limit:{limit}" for limit in variant.limits] + able
                    yield [Case(subject.name, variant, name, params) for name in names]

    def _takes_part(self, peer: str, subject: Subject, variant: Variant) -> bool:
        same = self.quick and subject.name != "startup"
        if same and any(fnmatch.fnmatch(peer, pattern) for pattern in START_METHODS):
            return False
        if self.goals_only and peer not in goals.peers_of(subject.name, variant.name):
            return False
        return variant.needs <= peers.find(peer).offers


def seconds_of(case: Case, known: dict[tuple[str, str, str], float]) -> float:
    """How long one run of a case will take: as it did before, or a guess from what it is told to do."""
    before = known.get((case.subject, case.variant.name, case.peer))
    return before if before is not None else 2.0 + 2.0 * float(case.params.get("seconds", 1.0))


def make_plan(
    terms: Sequence[str],
    peer_terms: Sequence[str],
    variants: str,
    rounds: int,
    quick: bool,
    goals_only: bool = False,
) -> Plan:
    """Turn what the user asked for into a plan; empty lists mean everything.

    Raises:
        ValueError: a subject or a peer is not known, or ``rounds`` is less than one.
    """
    if rounds < 1:
        raise ValueError(f"rounds={rounds} must be at least 1")
    names: list[str] = []
    for term in terms or subjects.MODULES:
        names += [name for name in subjects.matching(term) if name not in names]
    default = QUICK_PEERS if quick else ("*",)
    return Plan(
        subjects=tuple(subjects.find(name) for name in names),
        peers=tuple(peers.select(peer_terms or default)),
        variants=variants,
        rounds=rounds,
        quick=quick,
        goals_only=goals_only,
    )
