"""k-anonymous targets: groups of at least k people, alike in sex, age and skin tone, who share one new face.

What a promise of k counts is people, not faces, so that faces are linked loosely here: to take two people for one makes
a group larger than it need be, to take one person for two would make it smaller than it says.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from styleid.bundles.bundle import Bundle
from styleid.core.attempt import FaceProgress
from styleid.core.methods import Method
from styleid.core.targets import FreshTargets
from styleid.errors import OptionError
from styleid.people.linking import link_faces
from styleid.people.targets import CANDIDATES, AssignedTargets, PersonTargets, Sighting, best_targets, clearest

_AGE_STEP_YEARS = 10.0
_AGE_WEIGHT, _SEX_WEIGHT, _TONE_WEIGHT = 1.0, 8.0, 2.0
"""How much a decade, another sex and another skin tone part two people: sex most, since it changes a face most."""


def group_people(features: Float[np.ndarray, "n f"], k: int) -> list[int]:
    """Return each person's group, numbered from 0; features: (n, f). Every group holds at least k people.

    Maximum distance to average (Domingo-Ferrer and Mateo-Sanz 2002): the person furthest from the mean and the k - 1
    nearest to them are a group, then the one furthest from these, and so on; what is left, k to 2k - 1 people, is the
    last. Raises ValueError where there are people, but fewer than k.
    """
    if k < 1 or 0 < len(features) < k:
        raise ValueError(f"{len(features)} people cannot be put into groups of {k}.")
    left = np.arange(len(features))
    groups = np.full(len(features), -1)
    number, away_from = 0, None
    while len(left) >= 2 * k:
        centre = features[left].mean(0) if away_from is None else away_from
        outermost = features[left[_distances(features[left], centre).argmax()]]
        nearest = np.argsort(_distances(features[left], outermost), kind="stable")[:k]
        groups[left[nearest]] = number
        number, left = number + 1, np.delete(left, nearest)
        away_from = outermost if away_from is None else None
    groups[left] = number
    return [int(group) for group in groups]


def person_features(attributes: Float[np.ndarray, "n 7"]) -> Float[np.ndarray, "n f"]:
    """Return what people are grouped by, (n, 7), of the attribute network's answers (n, 7)."""
    tones = attributes[:, 2:]
    likeliest = (tones >= tones.max(1, keepdims=True)).astype(np.float64)
    age = _AGE_WEIGHT * attributes[:, :1] / _AGE_STEP_YEARS
    return np.concatenate([age, _SEX_WEIGHT * (attributes[:, 1:2] > 0.5), _TONE_WEIGHT * likeliest], 1)


def _distances(points: Float[np.ndarray, "n f"], centre: Float[np.ndarray, " f"]) -> Float[np.ndarray, " n"]:
    return ((points - centre) ** 2).sum(1)


class GroupTargets(AssignedTargets):
    """Give one target to every k people of a run."""

    def __init__(self, bundle: Bundle, method: Method, k: int, seed: int | None) -> None:
        super().__init__()
        self.k = k
        self._bundle, self._method, self._fresh = bundle, method, FreshTargets(seed)
        self._people: dict[tuple[str, int], int] = {}
        self._withdrawn: set[int] = set()
        self.plan = ""

    def assign(self, sightings: Sequence[Sighting]) -> None:
        """Put the people of a run into groups; raises OptionError where they are fewer than k, but not nobody."""
        if not sightings:
            return
        thresholds = self._bundle.spec.thresholds
        above = thresholds[max(thresholds)].high
        # each face as in a photo of its own: a mirror or a poster may show somebody twice
        numbers = link_faces(np.stack([s.embedding for s in sightings]), range(len(sightings)), above)
        own: dict[int, list[Sighting]] = defaultdict(list)
        for number, sighting in zip(numbers, sightings, strict=True):
            own[number].append(sighting)
        if len(own) < self.k:
            raise OptionError(
                "targets",
                f"k={self.k} promises that {self.k} people share each new face, and this run shows {len(own)} that can "
                "be told apart. Nothing was written. Add photos, ask for a smaller k, or take `method=none`.",
            )
        people = [own[number] for number in sorted(own)]
        attributes = np.stack([np.median([s.attributes for s in faces], 0) for faces in people])
        groups = np.array(group_people(person_features(attributes), self.k))
        for group in np.unique(groups):
            self._give(int(group), [people[i] for i in np.nonzero(groups == group)[0]])
        self._people = {(s.photo, s.face): n for n, faces in enumerate(people) for s in faces}
        marks = {s.mark: n for n, faces in enumerate(people) for s in faces}
        self.plan = _digest([(mark, self._given[mark].group, person) for mark, person in sorted(marks.items())])

    def _give(self, group: int, members: Sequence[Sequence[Sighting]]) -> None:
        """Choose one target that is a stranger to all of a group."""
        bundle, references = self._bundle, [clearest(faces, self._bundle.spec.resolution)[0] for faces in members]
        features = person_features(np.stack([r.attributes for r in references]))
        near = np.argsort(_distances(features, features.mean(0)), kind="stable")[:3]
        middle = references[int(near[0])]
        z = np.stack([self._fresh.z("\0group", group, number, bundle.spec.z) for number in range(CANDIDATES)])
        attributes: np.ndarray = np.repeat(middle.attributes[None], len(z), 0)
        wplus: np.ndarray = np.repeat(middle.wplus[None], len(z), 0)
        embeddings: np.ndarray = np.stack([np.mean([s.embedding for s in faces], 0) for faces in members])
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True).clip(1e-9)
        chosen = best_targets(
            bundle, self._method, bundle.sample(z, attributes, wplus), [references[int(i)] for i in near], embeddings
        )[:1]
        given = PersonTargets(chosen, (group + 1, len(members)))
        self.give((s.mark for faces in members for s in faces), given)

    def admit(self, faces: Sequence[FaceProgress]) -> None:
        """Refuse faces that belong to no group, or to one that too few people of passed."""
        super().admit(faces)
        for face in faces:
            if face.group is not None and face.group[0] in self._withdrawn:
                face.refusal = f"fewer than {self.k} people of its group could get their new face"

    def short(self, records: Mapping[str, Mapping[str, Any]]) -> dict[int, set[str]]:
        """Return the groups whose target fewer than k people got, each with the photos that show it.

        records: the journal's lines by photo.
        """
        people: dict[int, set[int | None]] = defaultdict(set)
        photos: dict[int, set[str]] = defaultdict(set)
        for photo, record in records.items():
            for face, told in enumerate(record.get("faces", [])):
                if (group := told.get("group", {}).get("number")) is not None:
                    people[group].add(self._people.get((photo, face)))
                    photos[group].add(photo)
        return {group: photos[group] for group in photos if len(people[group] - {None}) < self.k}

    def withdraw(self, group: int) -> None:
        """Give a group's target to nobody any more."""
        self._withdrawn.add(group)


def _digest(plan: Sequence[tuple[bytes, tuple[int, int] | None, int]]) -> str:
    """Name who is with whom, for a run that goes on later."""
    return hashlib.sha256(repr(plan).encode()).hexdigest()[:16]
