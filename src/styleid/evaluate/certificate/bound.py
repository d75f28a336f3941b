"""Bound the share of photos with an untouched face, from photos that a person looked at.

The method is the exact one for a stratified sample from a finite population (Wendell and Schmee, "Exact inference for
proportions from a stratified finite population", JASA 91, 1996). Photos are divided into strata before anybody looks;
of each stratum a number is drawn at random without replacement. Had a stratum D missed photos among its N, the drawn n
would hold a hypergeometric number of them. The observed estimate is T = sum of N / n * missed. A set of D, one for each
stratum, is refuted where it would give an estimate of T or less with a probability of at most 1 - level. The bound is
the largest sum of D that is not refuted. The truth is refuted with a probability of at most 1 - level, whatever it is,
so the bound lies at or above the truth at least that often. Nothing is approximated.

Photos of which it is known otherwise that they hold an untouched face, because somebody looked at a part of them that
was chosen for its risk, are counted one by one and taken out of their strata first. That part was chosen without regard
to which photos were drawn, so the drawn ones among the others are still a random sample of the others.
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
    """Count photos of one kind. size: all of them; seen: drawn at random and looked at; missed: of those, the bad."""

    size: int
    seen: int
    missed: int

    def __post_init__(self) -> None:
        if not 0 <= self.missed <= self.seen <= self.size:
            raise ValueError(f"{self.missed} missed of {self.seen} seen of {self.size} photos cannot be.")

    @property
    def most(self) -> int:
        """How many missed photos it can hold: all but those that were seen to be clean."""
        return self.size - self.seen + self.missed

    @property
    def weight(self) -> float:
        """How many photos each that was seen stands for."""
        return self.size / self.seen


def allocate(sizes: Sequence[int], wanted: int) -> list[int]:
    """Divide a number of photos to look at among strata, each by its size, at least one each where that can be."""
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
    """Return how many photos hold an untouched face at most, with the given confidence.

    known: photos outside the strata that certainly do.
    """
    never = sum(one.size for one in strata if not one.seen)
    counted = sum(one.missed for one in strata if one.seen == one.size)
    drawn = tuple(sorted((one for one in strata if 0 < one.seen < one.size), key=lambda one: one.size))
    return known + never + counted + _most_missed(drawn, 1 - level)


@lru_cache(maxsize=4096)
def _most_missed(strata: tuple[Stratum, ...], alpha: float) -> int:
    """Return the largest sum of missed photos that the sample does not refute.

    Numbers of all strata but the last, the largest, are tried; for each the most is found that the last can hold. Where
    there are many, every so many-th is tried and stands for all up to the next: the most of the last stratum only falls
    as the others rise, so this can only raise the bound, by less than a step.
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
    """Return the most that one stratum can hold while each other one holds no more than was seen in it."""
    turned = (*strata[:place], *strata[place + 1 :], strata[place])
    held = np.concatenate([np.delete(fewest, place, 0), [[strata[-1].missed]]])
    return max(int(_Sample(turned, held, alpha).largest()[0]), strata[place].missed)


class _Sample:
    """A sample as seen from the last stratum, beside each column of numbers that the others may hold."""

    def __init__(self, strata: tuple[Stratum, ...], others: _FloatArray, alpha: float) -> None:
        self.last, self.alpha, self.count = strata[-1], alpha, others.shape[1]
        observed = sum(one.weight * one.missed for one in strata)
        self._by_room: dict[int, _FloatArray] = {}
        self._add(strata[:-1], others, observed * (1 + _TIE) + _TIE, np.ones(self.count))

    def _add(self, strata: tuple[Stratum, ...], others: _FloatArray, left: float, chance: _FloatArray) -> None:
        """Add up how probable it is that the others leave room for so many missed photos in the last."""
        if not strata:
            room = min(self.last.seen, int(left / self.last.weight))
            self._by_room[room] = self._by_room.get(room, np.zeros(self.count)) + chance
            return
        one = strata[0]
        for found in range(min(one.seen, int(left / one.weight)) + 1):
            here = chance * hypergeometric(found, one.size, others[0], one.seen)
            self._add(strata[1:], others[1:], left - found * one.weight, here)

    def accepts(self, held: _FloatArray) -> _FloatArray:
        """Say for each column whether the sample does not refute that the last stratum holds so many."""
        total, below = np.zeros(self.count), np.zeros(self.count)
        for found in range(max(self._by_room) + 1):
            below += hypergeometric(found, self.last.size, held, self.last.seen)
            total += self._by_room.get(found, 0.0) * below
        return total > self.alpha

    def largest(self) -> _FloatArray:
        """Return the most that the last stratum can hold beside each column; one less than was seen where nothing."""
        bottom, top = (np.full(self.count, value, np.int64) for value in (self.last.missed, self.last.most))
        fits = self.accepts(bottom)
        while (bottom < top).any():
            middle = (bottom + top + 1) // 2
            accepted = self.accepts(middle)
            bottom, top = np.where(accepted, middle, bottom), np.maximum(np.where(accepted, top, middle - 1), bottom)
        return np.where(fits, bottom, self.last.missed - 1)


def hypergeometric(found: int, size: int, bad: _FloatArray, drawn: int) -> _FloatArray:
    """Return how probable it is to draw so many bad ones, when of a size some are bad and some are drawn."""
    bad = np.asarray(bad, np.int64)
    can = (bad >= found) & (size - bad >= drawn - found)
    bad = np.where(can, bad, found)
    rest = np.where(can, size - bad, drawn - found)
    logarithm = _choose(bad, found) + _choose(rest, drawn - found) - _choose(np.array(size), drawn)
    return np.where(can, np.exp(np.minimum(logarithm, 0.0)), 0.0)


def _choose(count: _FloatArray, taken: int) -> _FloatArray:
    return _log_factorial(count) - _log_factorial(np.array(taken)) - _log_factorial(count - taken)


def _log_factorial(count: _FloatArray) -> _FloatArray:
    """Return log n!, from a table where n is small and by Stirling's series, exact to 1e-14, where it is not."""
    n = np.maximum(np.asarray(count, np.float64), len(_TABLE) - 1)
    series = n * np.log(n) - n + 0.5 * np.log(2 * np.pi * n) + 1 / (12 * n) - 1 / (360 * n**3) + 1 / (1260 * n**5)
    small = np.minimum(np.asarray(count, np.int64), len(_TABLE) - 1)
    return np.where(np.asarray(count) < len(_TABLE), _TABLE[small], series)


_TABLE = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, 64, dtype=np.float64)))])
