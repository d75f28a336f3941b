"""Link faces that probably show the same person, by average linkage.

The average similarity of two groups of unit embeddings is the dot product of their sums divided by the product of their
sizes. Therefore the sum of a person's embeddings and their number suffice to link more faces later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped


@dataclass(frozen=True)
class KnownPeople:
    """People from earlier runs.

    sums: sum of the unit embeddings of each person's faces, (people, d).
    counts: number of faces in each sum, (people,).
    """

    sums: Float[np.ndarray, "people d"]
    counts: Shaped[np.ndarray, " people"]


def link_faces(
    embeddings: Float[np.ndarray, "n d"], photos: Sequence[Hashable], above: float, known: KnownPeople | None = None
) -> list[int]:
    """Link faces into people.

    Known people are never joined with each other, and neither are two faces of the same photo. The nearest-neighbour
    chain algorithm gives the same groups as merging the most similar groups first; they do not depend on the order of
    the faces.

    Args:
        embeddings: Unit embeddings, (n, d).
        photos: The photo of each face, n values.
        above: Average similarity above which two groups are the same person.
        known: People from earlier runs, p of them; None for none.

    Returns:
        Each face's person: 0 to p - 1 for known people, then new people in the order of their first faces.
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
            groups.active[here] = False  # later merges cannot make any group more similar to this one
            chain.pop()
        elif near == before:
            del chain[-2:]
            groups.merge(min(here, near), max(here, near))
        else:
            chain.append(near)
    return groups.numbers()


class _Groups:
    """The groups of faces during linking; the first ones are the known people."""

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
        """Return the most similar group and its similarity; `before` if no other group is more similar."""
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
        """Merge another group into one."""
        self.sums[one] += self.sums[other]
        self.counts[one] += self.counts[other]
        for photo in self.photos[other]:
            self.shows[photo].discard(other)
            self.shows[photo].add(one)
        self.photos[one] |= self.photos[other]
        self.active[other] = False
        self.home[other] = one

    def numbers(self) -> list[int]:
        """Return the number of each face's person."""
        new: dict[int, int] = {}
        people: list[int] = []
        for index in range(self.known, len(self.home)):
            at = index
            while self.home[at] != at:
                at = self.home[at]
            people.append(at if at < self.known else new.setdefault(at, self.known + len(new)))
        return people
