"""Sums that merge, and what they say: shares and means with bootstrap intervals over people.

Every attack and every measure of utility ends as `Sums`: a total and a count for each person. Parts of a data set, and
the splits of an attacker who is trained several times, merge by addition, so one path serves a batch, a stream and a
cluster.
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
    """Hold a figure's total and count by person.

    people: (k,) names, sorted, each once. totals, counts: (k,) float64.
    """

    people: np.ndarray[Any, Any]
    totals: np.ndarray[Any, Any]
    counts: np.ndarray[Any, Any]

    @classmethod
    def of(cls, values: Any, people: Any) -> Sums:
        """Sum values, (n,) finite, by person, (n,) names."""
        values = np.asarray(values, np.float64)
        if not np.isfinite(values).all():
            raise ValueError("Sums take finite values: what could not be measured is counted by its own rule.")
        names, where = np.unique(np.asarray(people).astype(str), return_inverse=True)
        totals = np.bincount(where, values, len(names))
        return cls(names, totals, np.bincount(where, minlength=len(names)).astype(np.float64))

    @classmethod
    def merged(cls, parts: Iterable[Sums]) -> Sums:
        """Add parts up, person by person."""
        parts = list(parts)
        if not parts:
            return cls.of([], [])
        names, where = np.unique(np.concatenate([part.people for part in parts]), return_inverse=True)
        totals, counts = (np.concatenate([getattr(p, field) for p in parts]) for field in ("totals", "counts"))
        return cls(names, np.bincount(where, totals, len(names)), np.bincount(where, counts, len(names)))

    @property
    def count(self) -> int:
        """How many values were summed."""
        return int(self.counts.sum())

    @property
    def value(self) -> float:
        """The mean over all values; NaN where there are none."""
        return float(self.totals.sum() / self.counts.sum()) if self.counts.sum() else math.nan


@dataclass(frozen=True)
class Estimate:
    """Hold a mean with its interval. low, high: 95 % bootstrap over people. count: values; people: whose they are."""

    value: float
    low: float
    high: float
    count: int
    people: int

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, null where there is none."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        plain = {name: None if math.isnan(number) else round(number, 6) for name, number in numbers.items()}
        return plain | {"count": self.count, "people": self.people}


def estimate(sums: Sums, *, share: bool = True) -> Estimate:
    """Return the mean and its 95 % interval, by resampling people.

    share: the values lie in [0, 1]. Where all are 0 (or 1), resampling sees no spread; the bound is then that of as
    many people of whom none (or every one) is concerned, 1 - .05^(1 / people).
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
    """Return how often each of so many people is drawn in each resample, (RESAMPLES, people) float32."""
    rng = np.random.default_rng(people)
    return rng.multinomial(people, np.full(people, 1 / people), RESAMPLES).astype(np.float32)
