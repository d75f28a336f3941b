"""Link faces that are likely of one person: average linkage, from people who are known already and from single faces.

The average similarity between two groups of unit embeddings is the product of their sums over the product of their
sizes, so a sum and a count are all that needs to be kept of a person to go on later where linking stopped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped


@dataclass(frozen=True)
class KnownPeople:
    """What is known of people. sums: (p, d) of their faces' unit embeddings; counts: (p,) faces in each sum."""

    sums: Float[np.ndarray, "people d"]
    counts: Shaped[np.ndarray, " people"]


def link_faces(
    embeddings: Float[np.ndarray, "n d"], photos: Sequence[Hashable], above: float, known: KnownPeople | None = None
) -> list[int]:
    """Return each face's person: 0 to p - 1 for the known ones, then new ones in the order of their first faces.

    embeddings: (n, d), unit length. photos: where each face was seen; two faces of one photo are two people. above:
    average similarity from which groups are one person. Known people are never joined with each other. The groups do
    not depend on the order of the faces: nearest-neighbour chains find what merging the most similar first would.
    """
    groups = _Groups(np.asarray(embeddings, np.float64), photos, known)
    chain: list[int] = []
    start = 0
    while True:
        if not chain:
            while start < len(groups.active) and not groups.active[start]:
                start += 1
            if start == len(groups.active):
                break
            chain = [start]
        here = chain[-1]
        before = chain[-2] if len(chain) > 1 else -1
        near, similarity = groups.nearest(here, before)
        if not similarity > above:
            groups.active[here] = False  # whatever merges later, nothing comes nearer to it than this
            chain.pop()
        elif near == before:
            del chain[-2:]
            groups.merge(min(here, near), max(here, near))
        else:
            chain.append(near)
    return groups.numbers()


class _Groups:
    """Groups of faces in the making; the first ones are the known people."""

    def __init__(
        self, embeddings: Float[np.ndarray, "n d"], photos: Sequence[Hashable], known: KnownPeople | None
    ) -> None:
        self.known = 0 if known is None else len(known.counts)
        dimensions = embeddings.shape[1:] if known is None or not self.known else known.sums.shape[1:]
        first = np.zeros((0, *dimensions)) if known is None or not self.known else np.asarray(known.sums, np.float64)
        counts = np.zeros(0) if known is None else np.asarray(known.counts, np.float64)
        self.sums = np.concatenate([first, embeddings.reshape(-1, *dimensions)])
        self.counts = np.concatenate([counts, np.ones(len(embeddings))])
        self.active = np.ones(len(self.sums), bool)
        self.home = list(range(len(self.sums)))
        self.photos: list[set[Hashable]] = [set() for _ in range(self.known)] + [{photo} for photo in photos]
        self.shows: dict[Hashable, set[int]] = defaultdict(set)
        for index, photo in enumerate(photos, self.known):
            self.shows[photo].add(index)

    def nearest(self, here: int, before: int) -> tuple[int, float]:
        """Return the group most similar to one, and how similar; `before` where it is as near as any other."""
        similarities = self.sums @ self.sums[here] / (self.counts * self.counts[here])
        similarities[~self.active] = -np.inf
        similarities[here] = -np.inf
        if here < self.known:
            similarities[: self.known] = -np.inf
        for photo in self.photos[here]:
            similarities[list(self.shows[photo])] = -np.inf
        best = int(similarities.argmax())
        if before >= 0 and similarities[before] >= similarities[best]:
            best = before
        return best, float(similarities[best])

    def merge(self, one: int, other: int) -> None:
        """Let one group take in another."""
        self.sums[one] += self.sums[other]
        self.counts[one] += self.counts[other]
        for photo in self.photos[other]:
            self.shows[photo].discard(other)
            self.shows[photo].add(one)
        self.photos[one] |= self.photos[other]
        self.active[other] = False
        self.home[other] = one

    def numbers(self) -> list[int]:
        """Return each face's person."""
        new: dict[int, int] = {}
        people: list[int] = []
        for index in range(self.known, len(self.home)):
            at = index
            while self.home[at] != at:
                at = self.home[at]
            people.append(at if at < self.known else new.setdefault(at, self.known + len(new)))
        return people
