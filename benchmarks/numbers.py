"""Medians, spread and percentiles; no dependency."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Estimate", "percentile"]


@dataclass(frozen=True)
class Estimate:
    """Several samples of one figure."""

    median: float
    low: float
    high: float
    samples: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Summarise samples.

        Raises:
            ValueError: there are none.
        """
        if not values:
            raise ValueError("values is empty: an estimate needs at least one sample")
        return cls(statistics.median(values), min(values), max(values), len(values))

    @property
    def spread(self) -> float:
        """Half of the whole range, as a part of the median."""
        return (self.high - self.low) / 2 / abs(self.median) if self.median else 0.0


def percentile(values: Sequence[float], part: float) -> float:
    """Return the value below which ``part`` (0 to 1) of the samples lie; nearest rank.

    Raises:
        ValueError: there are no samples, or ``part`` is not between 0 and 1.
    """
    if not values:
        raise ValueError("values is empty: a percentile needs at least one sample")
    if not 0 <= part <= 1:
        raise ValueError(f"part={part!r} must be between 0 and 1")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
