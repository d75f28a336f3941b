"""Pseudonyms: under one key the same person gets the same new face, in every photo and every run.

This is pseudonymisation, not anonymisation: as long as the key exists, its owner can tell who is who, and the pictures
stay personal data (GDPR, article 4 (5) and recital 26).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from styleid.bundles.bundle import Bundle
from styleid.core.attempt import FaceProgress
from styleid.core.methods import Method
from styleid.core.privacy import privacy_level
from styleid.people.key_file import SecretKey
from styleid.people.linking import KnownPeople, link_faces
from styleid.people.people_file import ID_BYTES, People, PeopleFile, Person
from styleid.people.targets import (
    CANDIDATES,
    AssignedTargets,
    PersonTargets,
    Sighting,
    best_targets,
    clearest,
    sightings_of,
)

STRANGERS_MET = 1.5
LINKING_FMRS = (1e-4, 1e-2)
TARGETS = 3
"""How many targets a person has: nearly always the first serves."""


class ConsistentTargets(AssignedTargets):
    """Give every person the target that the key gives them."""

    def __init__(self, bundle: Bundle, method: Method, key: SecretKey) -> None:
        super().__init__()
        self._bundle, self._method, self._key = bundle, method, key
        self._file = PeopleFile(key, bundle.spec)
        self._people: People = self._file.read()

    def run_mark(self) -> str:
        """Name the key and its people file in a journal, without telling anything of either."""
        return self._key.digest("journal", self._people.id)[:8].hex()

    def admit(self, faces: Sequence[FaceProgress]) -> None:
        """Look at the faces of a photo; those that no first pass has met are met here."""
        unmet = [face.source for face in faces if self.given(face.source) is None]
        if unmet:
            self.assign(sightings_of(self._bundle, "", unmet))
        super().admit(faces)

    def assign(self, sightings: Sequence[Sighting]) -> None:
        """Find out who is who, give new people their targets, and write both down before anything else is written.

        A face that was seen before stays the person whom it was then.
        """
        people = self._people = self._file.read() if self._people.people else self._people
        marks = [self._key.digest("sighting", s.mark)[:ID_BYTES] for s in sightings]
        new = [k for k, mark in enumerate(marks) if mark not in people.sightings]
        if new:
            people = self._joined(people, [sightings[k] for k in new], [marks[k] for k in new])
        if new or not self._file.path.exists():
            self._file.write(people)
            self._people = people
        given = [PersonTargets(person.targets) for person in people.people]
        self._given |= {s.mark: given[people.sightings[m]] for s, m in zip(sightings, marks, strict=True)}

    def _joined(self, people: People, faces: Sequence[Sighting], marks: Sequence[bytes]) -> People:
        """Return the people with some new faces, and those who were not among them."""
        known = list(people.people)
        sums = np.stack([p.embeddings_sum for p in known]) if known else np.zeros((0, 1))
        before = KnownPeople(sums, np.array([p.faces for p in known])) if known else None
        above = linking_threshold(self._bundle, len(faces) + sum(p.faces for p in known))
        numbers = link_faces(np.stack([f.embedding for f in faces]), [f.photo for f in faces], above, before)
        own: dict[int, list[Sighting]] = defaultdict(list)
        for number, face in zip(numbers, faces, strict=True):
            own[number].append(face)
        for number in sorted(n for n in own if n >= len(known)):
            known.append(self._enrolled(own[number]))
        for number, face in zip(numbers, faces, strict=True):
            known[number] = known[number].met(face.embedding)
        return replace(people, people=tuple(known), sightings=people.sightings | dict(zip(marks, numbers, strict=True)))

    def _enrolled(self, faces: Sequence[Sighting]) -> Person:
        """Give a new person targets: from the key and the person's id alone, for how the person looks."""
        references = clearest(faces, self._bundle.spec.resolution)
        own = self._key.digest("person", references[0].mark)[:ID_BYTES]
        z = np.stack([self._z(own, number) for number in range(CANDIDATES)])
        attributes = np.median([f.attributes for f in faces], 0).astype(np.float32)
        wplus = np.repeat(references[0].wplus[None], len(z), 0)
        candidates = self._bundle.sample(z, np.repeat(attributes[None], len(z), 0), wplus)
        mean = np.mean([f.embedding for f in faces], 0)
        mean = mean / max(float(np.linalg.norm(mean)), 1e-9)
        chosen = best_targets(self._bundle, self._method, candidates, references, mean[None])[:TARGETS]
        return Person(own, chosen, np.zeros(len(mean)), 0)

    def _z(self, person: bytes, number: int) -> Float[np.ndarray, " z"]:
        seed = int.from_bytes(self._key.digest("target", person + number.to_bytes(2, "big"))[:16], "big")
        return np.random.default_rng(seed).standard_normal(self._bundle.spec.z).astype(np.float32)


def linking_threshold(bundle: Bundle, faces: int) -> float:
    """Return how alike, on average, faces must be to be one person's.

    The more faces, the more chances to take two people for one: the false-match rate falls as their number rises, so
    that a face meets a handful of strangers at most who are as like it as that.
    """
    rates = bundle.spec.thresholds
    wanted = float(np.clip(STRANGERS_MET / max(faces, 1), *LINKING_FMRS))
    return privacy_level(float(np.clip(wanted, min(rates), max(rates))), rates).strangers.high
