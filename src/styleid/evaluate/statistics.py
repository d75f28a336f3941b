"""Shares and means with bootstrap intervals over people, computed from sums that can be added up.

Every attack and every utility measure returns `Sums`: a total and a count for each person. Sums of parts of a data set
and of repeated trainings are merged by addition.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Sums:
    """Total and count of a figure by person.

    people: (k,) names, sorted, without repetitions. totals, counts: (k,) float64.
    """

    people: np.ndarray[Any, Any]
    totals: np.ndarray[Any, Any]
    counts: np.ndarray[Any, Any]

    @classmethod
    def of(cls, values: Any, people: Any) -> Sums:
        """Sum values, (n,), by person, (n,) names. Raises ValueError if a value is not finite."""
        values = np.asarray(values, np.float64)
        if not np.isfinite(values).all():
            raise ValueError("values must be finite; count what could not be measured before")
        names, where = np.unique(np.asarray(people).astype(str), return_inverse=True)
        totals = np.bincount(where, values, len(names))
        return cls(names, totals, np.bincount(where, minlength=len(names)).astype(np.float64))

    @classmethod
    def merged(cls, parts: Iterable[Sums]) -> Sums:
        """Add sums, person by person."""
        parts = list(parts)
        if not parts:
            return cls.of([], [])
        names, where = np.unique(np.concatenate([part.people for part in parts]), return_inverse=True)
        totals, counts = (np.concatenate([getattr(p, field) for p in parts]) for field in ("totals", "counts"))
        return cls(names, np.bincount(where, totals, len(names)), np.bincount(where, counts, len(names)))

    @property
    def count(self) -> int:
        """Number of values that were summed."""
        return int(self.counts.sum())

    @property
    def value(self) -> float:
        """Mean of all values; NaN if there are none."""
        return float(self.totals.sum() / self.counts.sum()) if self.counts.sum() else math.nan


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval from resampling people. count: number of values. people: number of people."""

    value: float
    low: float
    high: float
    count: int
    people: int

    def to_json(self) -> dict[str, Any]:
        """Return values for JSON; NaN becomes None."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        plain = {name: None if math.isnan(number) else round(number, 6) for name, number in numbers.items()}
        return plain | {"count": self.count, "people": self.people}


def estimate(sums: Sums, *, share: bool = True) -> Estimate:
    """Return the mean and its 95 % interval, from resampling people.

    Args:
        sums: The values.
        share: Whether the values lie in [0, 1]. If all are 0 (or all are 1), resampling has no spread. The upper
            (lower) bound is then exact for this number of people: 1 - 0.05^(1 / people), or 0.05^(1 / people).
    """
    people = len(sums.people)
    if not sums.count:
        return Estimate(math.nan, math.nan, math.nan, 0, 0)
    weights = _resamples(people)
    values = (weights @ sums.totals) / np.maximum(weights @ sums.counts, 1e-12)
    low, high = (float(np.quantile(values, q)) for q in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    if share and sums.totals.sum() <= 0:
        high = 1 - (1 - LEVEL) ** (1 / people)
    elif share and np.array_equal(sums.totals, sums.counts):
        low = (1 - LEVEL) ** (1 / people)
    return Estimate(sums.value, low, high, sums.count, people)


@lru_cache(maxsize=8)
def _resamples(people: int) -> np.ndarray[Any, Any]:
    """Return how often each person is drawn in each resample, (RESAMPLES, people) float32."""
    rng = np.random.default_rng(people)
    return rng.multinomial(people, np.full(people, 1 / people), RESAMPLES).astype(np.float32)
