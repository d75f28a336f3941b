"""k-anonymous targets: groups of at least k people, similar in sex, age and apparent ethnic group, share one new face.

k counts people, not faces. Faces are therefore linked with a low threshold: if two people are taken for one, a group is
larger than necessary; if one person were taken for two, it would be smaller than promised.
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
"""Weights of ten years, of sex, and of the apparent ethnic group in the distance of two people."""


def group_people(features: Float[np.ndarray, "n f"], k: int) -> list[int]:
    """Divide people into groups of similar people, at least k in each.

    Maximum distance to average (Domingo-Ferrer and Mateo-Sanz 2002): the person furthest from the mean and the k - 1
    nearest people form a group, then the person furthest from that one, and so on. The last k to 2k - 1 people form the
    last group.

    Args:
        features: Features of each person, (n, f).
        k: Least number of people in a group.

    Returns:
        Each person's group, n numbers from 0.

    Raises:
        ValueError: If k is less than 1, or there are people, but fewer than k.
    """
    if k < 1 or 0 < len(features) < k:
        raise ValueError(f"k must be from 1 to the number of people, {len(features)}, not {k}.")
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
    """Return the features by which people are grouped.

    Args:
        attributes: Attributes from `Bundle.describe`, (n, 7).

    Returns:
        (n, 7): weighted age, sex, and one-hot apparent ethnic group.
    """
    tones = attributes[:, 2:]
    likeliest = (tones >= tones.max(1, keepdims=True)).astype(np.float64)
    age = _AGE_WEIGHT * attributes[:, :1] / _AGE_STEP_YEARS
    return np.concatenate([age, _SEX_WEIGHT * (attributes[:, 1:2] > 0.5), _TONE_WEIGHT * likeliest], 1)


def _distances(points: Float[np.ndarray, "n f"], centre: Float[np.ndarray, " f"]) -> Float[np.ndarray, " n"]:
    return ((points - centre) ** 2).sum(1)


class GroupTargets(AssignedTargets):
    """Gives each group of at least k people of a run the same target; implements `Targets`.

    k: least number of people in a group.
    plan: digest of the groups, by which a resumed run checks that they are the same; empty before `assign`.
    """

    def __init__(self, bundle: Bundle, method: Method, k: int, seed: int | None) -> None:
        """Choose how targets are drawn.

        Args:
            bundle: The networks.
            method: The method with which candidates are compared.
            k: Least number of people in a group.
            seed: Makes targets repeatable; None draws new ones in every run.
        """
        super().__init__()
        self.k = k
        self._bundle, self._method, self._fresh = bundle, method, FreshTargets(seed)
        self._people: dict[tuple[str, int], int] = {}
        self._withdrawn: set[int] = set()
        self.plan = ""

    def assign(self, sightings: Sequence[Sighting]) -> None:
        """Link the faces of a run into people, divide them into groups, and choose each group's target.

        Args:
            sightings: All faces of the run.

        Raises:
            OptionError: If there are people, but fewer than k.
        """
        if not sightings:
            return
        thresholds = self._bundle.spec.thresholds
        above = thresholds[max(thresholds)].high
        # a distinct photo for each face, so that faces of one photo can be linked: a mirror may show a person twice
        numbers = link_faces(np.stack([s.embedding for s in sightings]), range(len(sightings)), above)
        own: dict[int, list[Sighting]] = defaultdict(list)
        for number, sighting in zip(numbers, sightings, strict=True):
            own[number].append(sighting)
        if len(own) < self.k:
            raise OptionError(
                "targets",
                f"k={self.k} needs at least {self.k} people, and this run shows only {len(own)}. "
                "Nothing was written. Add photos, use a smaller k, or use `method=none`.",
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
        """Choose a target that is a stranger to every member of a group."""
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
        """Refuse faces that belong to no group, or to a group that was withdrawn."""
        super().admit(faces)
        for face in faces:
            if face.group is not None and face.group[0] in self._withdrawn:
                face.refusal = f"fewer than {self.k} people of its group could get their new face"

    def short(self, records: Mapping[str, Mapping[str, Any]]) -> dict[int, set[str]]:
        """Find the groups whose target was given to fewer than k people, because others were obscured.

        Args:
            records: The journal's lines by photo.

        Returns:
            The photos that show the group's target, by the group's number.
        """
        people: dict[int, set[int | None]] = defaultdict(set)
        photos: dict[int, set[str]] = defaultdict(set)
        for photo, record in records.items():
            for face, outcome in enumerate(record.get("faces", [])):
                if (group := outcome.get("group", {}).get("number")) is not None:
                    people[group].add(self._people.get((photo, face)))
                    photos[group].add(photo)
        return {group: photos[group] for group in photos if len(people[group] - {None}) < self.k}

    def withdraw(self, group: int) -> None:
        """Withdraw the target of a group: from now on its faces are refused."""
        self._withdrawn.add(group)


def _digest(plan: Sequence[tuple[bytes, tuple[int, int] | None, int]]) -> str:
    """Return a digest of the groups and their members."""
    return hashlib.sha256(repr(plan).encode()).hexdigest()[:16]
