"""An upper bound on the number of photos with an untouched face, from a random sample that a person looked at.

The method is exact for a stratified sample from a finite population (Wendell and Schmee, "Exact inference for
proportions from a stratified finite population", JASA 91, 1996). Photos are divided into strata before anybody looks.
From each stratum, photos are drawn at random without replacement. If a stratum of N photos has D missed ones, the
number of missed ones among n drawn photos is hypergeometric. The observed estimate is T = sum of N / n * missed. A
combination of D, one for each stratum, is rejected if an estimate of T or less has a probability of at most 1 - level.
The bound is the largest sum of D that is not rejected. The true combination is rejected with a probability of at most
1 - level, so the bound is at or above the truth with a probability of at least `level`. Nothing is approximated.

Photos that are known to contain an untouched face, because a person looked at a suspicious part of them, are removed
from their strata first, and their number is added to the bound. Suspicious parts are chosen independently of which
photos are drawn, so the remaining drawn photos are still a random sample of the remaining photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

LEVEL = 0.95
_TIE = 1e-9
_MOST_STEPS = 2000
_FloatArray = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Stratum:
    """A stratum of photos. size: all. seen: those drawn at random. missed: those of `seen` with an untouched face."""

    size: int
    seen: int
    missed: int

    def __post_init__(self) -> None:
        if not 0 <= self.missed <= self.seen <= self.size:
            raise ValueError(f"must have missed <= seen <= size, not {self.missed}, {self.seen} and {self.size}")

    @property
    def most(self) -> int:
        """Maximum number of missed photos: all except those that were seen to be clean."""
        return self.size - self.seen + self.missed

    @property
    def weight(self) -> float:
        """How many photos each seen photo represents."""
        return self.size / self.seen


def allocate(sizes: Sequence[int], wanted: int) -> list[int]:
    """Divide a number of photos among strata in proportion to their sizes, at least one each if possible."""
    total = sum(sizes)
    if wanted >= total:
        return list(sizes)
    exact = [wanted * size / total for size in sizes]
    least = 1 if wanted >= sum(size > 0 for size in sizes) else 0
    given = [min(size, max(int(share), least if size else 0)) for size, share in zip(sizes, exact, strict=True)]
    while (left := wanted - sum(given)) != 0:
        step = 1 if left > 0 else -1
        room = [g < s if step > 0 else g > least for g, s in zip(given, sizes, strict=True)]
        given[max(range(len(sizes)), key=lambda k: (room[k], step * (exact[k] - given[k])))] += step
    return given


def upper_bound(strata: Sequence[Stratum], known: int = 0, level: float = LEVEL) -> int:
    """Return the maximum number of photos with an untouched face, with the given confidence.

    Args:
        strata: The strata and what was seen of them.
        known: Number of photos outside the strata that contain an untouched face.
        level: Confidence, in (0, 1).
    """
    never = sum(one.size for one in strata if not one.seen)
    counted = sum(one.missed for one in strata if one.seen == one.size)
    drawn = tuple(sorted((one for one in strata if 0 < one.seen < one.size), key=lambda one: one.size))
    return known + never + counted + _most_missed(drawn, 1 - level)


@lru_cache(maxsize=4096)
def _most_missed(strata: tuple[Stratum, ...], alpha: float) -> int:
    """Return the largest sum of missed photos that the sample does not reject.

    All numbers of missed photos in the strata except the last, which is the largest, are tried. For each combination,
    the maximum of the last stratum is computed. If there are many combinations, only every k-th number is tried, and
    counts for all numbers up to the next. The maximum of the last stratum decreases as the others increase, so this can
    only raise the bound, by less than a step for each stratum.
    """
    if not strata:
        return 0
    *others, last = strata
    fewest = np.array([[one.missed] for one in others], np.int64).reshape(len(others), 1)
    grids, steps = [], []
    for place, one in enumerate(others):
        reach = _largest_alone(strata, fewest, place, alpha)
        steps.append(max(1, (reach - one.missed) * len(others) // _MOST_STEPS))
        grids.append(np.arange(one.missed, reach + 1, steps[-1], dtype=np.int64))
    tried = fewest
    if others:
        tried = np.stack([axis.reshape(-1) for axis in np.meshgrid(*grids, indexing="ij")])
    most = _Sample(strata, tried, alpha).largest()
    sums = tried.sum(0) + sum(step - 1 for step in steps) + most
    return int(np.where(most >= last.missed, sums, sum(one.missed for one in strata)).max())


def _largest_alone(strata: tuple[Stratum, ...], fewest: _FloatArray, place: int, alpha: float) -> int:
    """Return the maximum for one stratum if the others have no missed photos besides those that were seen."""
    turned = (*strata[:place], *strata[place + 1 :], strata[place])
    held = np.concatenate([np.delete(fewest, place, 0), [[strata[-1].missed]]])
    return max(int(_Sample(turned, held, alpha).largest()[0]), strata[place].missed)


class _Sample:
    """The distribution of the estimate over the last stratum, for each combination of missed photos in the others."""

    def __init__(self, strata: tuple[Stratum, ...], others: _FloatArray, alpha: float) -> None:
        self.last, self.alpha, self.count = strata[-1], alpha, others.shape[1]
        observed = sum(one.weight * one.missed for one in strata)
        self._by_room: dict[int, _FloatArray] = {}
        self._add(strata[:-1], others, observed * (1 + _TIE) + _TIE, np.ones(self.count))

    def _add(self, strata: tuple[Stratum, ...], others: _FloatArray, left: float, chance: _FloatArray) -> None:
        """Add up the probability of each number of missed photos that may be seen in the last stratum."""
        if not strata:
            room = min(self.last.seen, int(left / self.last.weight))
            self._by_room[room] = self._by_room.get(room, np.zeros(self.count)) + chance
            return
        one = strata[0]
        for found in range(min(one.seen, int(left / one.weight)) + 1):
            here = chance * hypergeometric(found, one.size, others[0], one.seen)
            self._add(strata[1:], others[1:], left - found * one.weight, here)

    def accepts(self, held: _FloatArray) -> _FloatArray:
        """Return for each combination whether this number of missed photos in the last stratum is not rejected."""
        total, below = np.zeros(self.count), np.zeros(self.count)
        for found in range(max(self._by_room) + 1):
            below += hypergeometric(found, self.last.size, held, self.last.seen)
            total += self._by_room.get(found, 0.0) * below
        return total > self.alpha

    def largest(self) -> _FloatArray:
        """Return the maximum for the last stratum in each combination; `missed` - 1 if every number is rejected."""
        bottom, top = (np.full(self.count, value, np.int64) for value in (self.last.missed, self.last.most))
        fits = self.accepts(bottom)
        while (bottom < top).any():
            middle = (bottom + top + 1) // 2
            accepted = self.accepts(middle)
            bottom, top = np.where(accepted, middle, bottom), np.maximum(np.where(accepted, top, middle - 1), bottom)
        return np.where(fits, bottom, self.last.missed - 1)


def hypergeometric(found: int, size: int, bad: _FloatArray, drawn: int) -> _FloatArray:
    """Return the probability of `found` bad ones among `drawn`, without replacement, if `bad` of `size` are bad."""
    bad = np.asarray(bad, np.int64)
    can = (bad >= found) & (size - bad >= drawn - found)
    bad = np.where(can, bad, found)
    rest = np.where(can, size - bad, drawn - found)
    logarithm = _choose(bad, found) + _choose(rest, drawn - found) - _choose(np.array(size), drawn)
    return np.where(can, np.exp(np.minimum(logarithm, 0.0)), 0.0)


def _choose(count: _FloatArray, taken: int) -> _FloatArray:
    return _log_factorial(count) - _log_factorial(np.array(taken)) - _log_factorial(count - taken)


def _log_factorial(count: _FloatArray) -> _FloatArray:
    """Return log n!, from a table for small n, and from Stirling's series, exact to 1e-14, for others."""
    n = np.maximum(np.asarray(count, np.float64), len(_TABLE) - 1)
    series = n * np.log(n) - n + 0.5 * np.log(2 * np.pi * n) + 1 / (12 * n) - 1 / (360 * n**3) + 1 / (1260 * n**5)
    small = np.minimum(np.asarray(count, np.int64), len(_TABLE) - 1)
    return np.where(np.asarray(count) < len(_TABLE), _TABLE[small], series)


_TABLE = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, 64, dtype=np.float64)))])
