"""What is run: the variants of the chosen subjects, with the peers that offer what these need.

A full run has to fit into less than an hour. So only what matters has all rounds: the limits, tines,
the standard library, and the peers that a bar or the user names. The rest has fewer
(``Variant.rounds``), and is left out of variants that would only repeat what another says
(``Variant.leave_out``). The tables show how many rounds each row has.
"""

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


@dataclass(frozen=True)
class Case:
    """One variant with one peer, or with one limit (``limit:memcpy``).

    Attributes:
        rounds: How often it is run.
        matters: It is not given up for being slow.
    """

    subject: str
    variant: Variant
    peer: str
    params: Params
    rounds: int = 1
    matters: bool = True


@dataclass(frozen=True)
class Plan:
    """Cases in the order of the report; each subject's variants stay together.

    Attributes:
        rounds: Of limits, and of peers that a bar or the user names.
        goals_only: Only those peers of each variant that a bar names.
        named: Peers that the user asked for, not by a pattern.
    """

    subjects: tuple[Subject, ...]
    peers: tuple[str, ...]
    variants: str
    rounds: int
    quick: bool
    goals_only: bool = False
    named: frozenset[str] = frozenset()

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
                    yield [self._case(subject, variant, name, params) for name in names]

    def _case(self, subject: Subject, variant: Variant, name: str, params: Params) -> Case:
        if name.startswith("limit:") or self._matters(name, subject, variant):
            return Case(subject.name, variant, name, params, self.rounds)
        rounds = min(self.rounds, variant.rounds)
        return Case(subject.name, variant, name, params, rounds, matters=False)

    def _matters(self, peer: str, subject: Subject, variant: Variant) -> bool:
        always = peer in self.named or peer in ("tines", peers.BASELINE)
        return always or peer in goals.peers_of(subject.name, variant.name)

    def _takes_part(self, peer: str, subject: Subject, variant: Variant) -> bool:
        if self.goals_only and peer not in goals.peers_of(subject.name, variant.name):
            return False
        left_out = any(fnmatch.fnmatch(peer, pattern) for pattern in variant.leave_out)
        if left_out and not self._matters(peer, subject, variant):
            return False
        return variant.needs <= peers.find(peer).offers


def seconds_of(case: Case, known: dict[tuple[str, str, str], float]) -> float:
    """How long one run of a case will take: as it did before, or a guess from what it is told to do."""
    before = known.get((case.subject, case.variant.name, case.peer))
    return before if before is not None else 1.5 + 1.2 * float(case.params.get("seconds", 1.0))


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
    chosen = peers.select(peer_terms or default)
    return Plan(
        subjects=tuple(subjects.find(name) for name in names),
        peers=tuple(chosen),
        variants=variants,
        rounds=rounds,
        quick=quick,
        goals_only=goals_only,
        named=frozenset(chosen).intersection(peer_terms),
    )
