"""Search a gallery for anonymised faces (A0, A0s, A1, A5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from styleid.evaluate.statistics import Sums

FloatArray = np.ndarray[Any, Any]
RANKS = (1, 5)
PLACES = tuple(float(m) for m in np.linspace(-1, 1, 41))
"""Values of m for A5, which ranks by the distance of the similarity to m; -1 ranks by -cos, 1 by cos."""


@dataclass(frozen=True)
class Search:
    """The results of a search. hits: share of probes that are found, by rank. gallery: size of the gallery."""

    hits: Mapping[int, Sums]
    gallery: int

    @classmethod
    def merged(cls, parts: Iterable[Search]) -> Search:
        """Add up several searches."""
        parts = list(parts)
        hits = {rank: Sums.merged(part.hits[rank] for part in parts) for rank in RANKS}
        return cls(hits, min((part.gallery for part in parts), default=0))

    def chance(self, rank: int) -> float:
        """Return the share of probes that guessing finds at a rank."""
        return min(1.0, rank / self.gallery) if self.gallery else float("nan")


@dataclass(frozen=True)
class Split:
    """A division of faces. gallery: row numbers, one row of each person. probes: row numbers."""

    gallery: FloatArray
    probes: FloatArray

    @classmethod
    def other_photos(cls, people: FloatArray, seed: int) -> Split:
        """Put one random photo of each person into the gallery; the others are probes."""
        gallery = _one_each(people, seed)
        names, counts = np.unique(people, return_counts=True)
        rows = np.arange(len(people))
        return cls(gallery, rows[np.isin(people, names[counts > 1]) & ~np.isin(rows, gallery)])

    @classmethod
    def same_photo(cls, people: FloatArray, seed: int) -> Split:
        """Put one random photo of each person into the gallery; its anonymised version is the probe."""
        gallery = _one_each(people, seed)
        return cls(gallery, gallery)


def search(
    probes: FloatArray,
    clear: FloatArray,
    people: FloatArray,
    split: Split,
    lost: FloatArray | None = None,
) -> Search:
    """Rank the gallery by similarity for each probe.

    A0 searches originals with `Split.other_photos`, A0s originals with `Split.same_photo`, A1 anonymised photos with
    `Split.other_photos`.

    Args:
        probes: Embeddings of the outputs, (n, d).
        clear: Embeddings that the gallery is taken from, (n, d).
        people: The person of each row, (n,).
        split: Which rows are gallery and probes.
        lost: Which faces were published but could not be measured, (n,) bool.
    """
    return _ranked(_similarity(probes[split.probes], clear[split.gallery]), people, split, lost)


def _ranked(scores: FloatArray, people: FloatArray, split: Split, lost: FloatArray | None) -> Search:
    """Rank the gallery by scores, (probes, gallery), -inf for missing faces."""
    mated = people[split.probes][:, None] == people[split.gallery][None, :]
    forced = None if lost is None else lost[split.probes]
    hits = {rank: Sums.of(rank_hits(scores, mated, rank, forced), people[split.probes]) for rank in RANKS}
    return Search(hits, len(split.gallery))


def negation(
    probes: FloatArray, clear: FloatArray, people: FloatArray, split: Split, lost: FloatArray | None = None
) -> Search:
    """Rank the gallery by the distance of the similarity to m, for every m of `PLACES` (A5).

    The best m for one half of the people is chosen on the other half, so that trying many values gains nothing by
    itself. The arguments are those of `search`.
    """
    names = np.unique(people[split.probes])
    first = np.isin(people[split.probes], np.random.default_rng(len(names)).permutation(names)[: len(names) // 2])
    similarity = _similarity(probes[split.probes], clear[split.gallery])
    tried = [_ranked(-np.abs(similarity - m), people, split, lost) for m in PLACES]
    parts = []
    for half in (first, ~first):
        chosen_by, attacked = (set(people[split.probes][rows].astype(str)) for rows in (~half, half))
        best = max(tried, key=lambda one: _only(one.hits[1], chosen_by).totals.sum())
        parts.append(Search({k: _only(best.hits[k], attacked) for k in RANKS}, best.gallery))
    return Search.merged(parts)


def rank_hits(scores: FloatArray, mated: FloatArray, rank: int, forced: FloatArray | None = None) -> FloatArray:
    """Return for each probe the probability that a mated entry is among the first `rank`, with ties broken at random.

    Args:
        scores: (n, g); higher is more similar. A probe whose scores are all -inf finds nobody.
        mated: Whether probe and entry show the same person, bool (n, g).
        rank: Rank from 1.
        forced: Probes that count as found, (n,) bool.
    """
    best = np.where(mated, scores, -np.inf).max(1, initial=-np.inf)
    higher = (~mated & (scores > best[:, None])).sum(1)
    equal = (~mated & (scores == best[:, None])).sum(1)
    hits = np.where(np.isfinite(best), np.clip((rank - higher) / (equal + 1), 0, 1), 0.0)
    return hits if forced is None else np.where(forced, 1.0, hits)


def accepted_others(
    probes: FloatArray, clear: FloatArray, people: FloatArray, threshold: float, lost: FloatArray | None = None
) -> Sums:
    """Return the share of a person's other photos for which each probe is accepted.

    People with one photo are left out. Missing photos are not accepted. The arguments are those of `search`.
    """
    mated = (people[:, None] == people[None, :]) & ~np.eye(len(people), dtype=bool)
    rows = np.nonzero(mated.any(1))[0]
    taken = (_similarity(probes[rows], clear) > threshold) & mated[rows]
    share = taken.sum(1) / mated[rows].sum(1)
    return Sums.of(share if lost is None else np.where(lost[rows], 1.0, share), people[rows])


def accepted_itself(
    probes: FloatArray, clear: FloatArray, people: FloatArray, threshold: float, lost: FloatArray | None = None
) -> Sums:
    """Return whether each probe is accepted as its own original (A0s), as sums."""
    taken = matches_itself(probes, clear, threshold)
    return Sums.of(taken if lost is None else taken | lost, people)


def matches_itself(probes: FloatArray, clear: FloatArray, threshold: float) -> FloatArray:
    """Return whether each probe is accepted as its own original, bool (n,)."""
    return np.nan_to_num((probes * clear).sum(1), nan=-np.inf) > threshold


def _one_each(people: FloatArray, seed: int) -> FloatArray:
    rng, rows = np.random.default_rng(seed), np.arange(len(people))
    return np.array([rng.choice(rows[people == name]) for name in np.unique(people)], int)


def _similarity(probes: FloatArray, gallery: FloatArray) -> FloatArray:
    similarity = probes @ gallery.T
    return np.where(np.isfinite(similarity), similarity, -np.inf)


def _only(sums: Sums, people: set[str]) -> Sums:
    kept = np.isin(sums.people, list(people))
    return Sums(sums.people[kept], sums.totals[kept], sums.counts[kept])
