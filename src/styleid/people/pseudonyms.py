"""Pseudonyms: with one key, each person gets the same new face in all photos and runs.

This is pseudonymisation, not anonymisation. As long as the key exists, its owner can trace new faces back to people,
and the pictures are personal data (GDPR, article 4 (5) and recital 26).
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
"""Expected number of strangers per face whose similarity exceeds the linking threshold."""
LINKING_FMRS = (1e-4, 1e-2)
"""Lowest and highest false-match rate of the linking threshold."""
TARGETS = 3
"""Number of targets per person; the second and third are rarely used."""


class ConsistentTargets(AssignedTargets):
    """Gives each person the target that a key determines; implements `Targets`."""

    def __init__(self, bundle: Bundle, method: Method, key: SecretKey) -> None:
        """Read the people file of a key.

        Args:
            bundle: The networks.
            method: The method with which candidates are compared.
            key: The key.

        Raises:
            PeopleFileError: If the people file cannot be used.
            MissingDependencyError: If the package cryptography is not installed.
        """
        super().__init__()
        self._bundle, self._method, self._key = bundle, method, key
        self._file = PeopleFile(key, bundle.spec)
        self._people: People = self._file.read()

    def run_mark(self) -> str:
        """Return the journal's entry for the key and its people file, a digest that reveals neither."""
        return self._key.digest("journal", self._people.id)[:8].hex()

    def admit(self, faces: Sequence[FaceProgress]) -> None:
        """Assign targets to the faces that no first pass has seen, then admit all; see `Targets.admit`."""
        unmet = [face.source for face in faces if self.given(face.source) is None]
        if unmet:
            self.assign(sightings_of(self._bundle, "", unmet))
        super().admit(faces)

    def assign(self, sightings: Sequence[Sighting]) -> None:
        """Link faces to people, give new people targets, and save the people file before any output is written.

        A face that was seen before stays linked to the same person.

        Args:
            sightings: The faces.

        Raises:
            OutputError: If the people file cannot be written.
            PeopleFileError: If it cannot be read, or another run changed it at the same time.
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
        """Return the people after linking new faces, with new people appended."""
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
        """Return a new person with targets, drawn from the key and the person's id, for similar attributes."""
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
    """Return the average similarity above which faces are linked to one person.

    The more faces there are, the more pairs of strangers could be linked by mistake. The false-match rate therefore
    falls with their number: the expected number of strangers above the threshold is 1.5 per face, within limits.

    Args:
        bundle: The bundle with its thresholds.
        faces: Number of faces.

    Returns:
        Cosine similarity.
    """
    rates = bundle.spec.thresholds
    wanted = float(np.clip(STRANGERS_MET / max(faces, 1), *LINKING_FMRS))
    return privacy_level(float(np.clip(wanted, min(rates), max(rates))), rates).strangers.high
