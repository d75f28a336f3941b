"""Simple anonymisation methods to compare with. They are drawn in memory, on the faces that the evaluation detects.

k-Same (Newton, Sweeney and Malin 2005) replaces each face by the mean of k aligned faces of different people. The
eigen variant averages in the space of the first principal components of the set, which gives more blur and fewer double
contours. `swap` pastes the face of another person of the set, drawn at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from styleid.errors import OptionError
from styleid.faces.align import CropTemplate, invert
from styleid.pixel.obscure import Obscuring, obscure_face
from styleid.pixel.regions import face_hull
from styleid.types import FloatArray, ImageRGB

if TYPE_CHECKING:
    from styleid.evaluate.originals import Subject

_OBSCURED: dict[str, tuple[Obscuring, float]] = {
    "solid": ("solid", 1.0),
    "pixelate8": ("pixelate", 6 / 8),
    "pixelate16": ("pixelate", 6 / 16),
    "blur5": ("blur", 1 / 3),
    "blur15": ("blur", 1.0),
    "blur30": ("blur", 2.0),
}
"""Method and strength for `obscure_face`. pixelate8 has 8 blocks across the face; blur5 has a standard deviation of 5 %
of the side of the face."""
PASTED = ("ksame-pixel", "ksame-eigen", "swap")
BASELINES = ("none", *_OBSCURED, "eye-bar", *PASTED)
K = 10
_COMPONENTS = 60
_SMALL = 40


def read_names(wanted: str) -> tuple[str, ...]:
    """Parse a comma-separated list of baselines, or `all`. Raises OptionError for an unknown name."""
    names = tuple(dict.fromkeys(part.strip() for part in wanted.split(",") if part.strip()))
    if names == ("all",):
        return BASELINES
    for name in names:
        if name not in BASELINES:
            raise OptionError("baselines", f"'{name}' is unknown; choose from {', '.join(BASELINES)}, or all.")
    return names


def draw(
    name: str, image_rgb: ImageRGB, subjects: Sequence[Subject], template: CropTemplate, patches: ImageRGB | None
) -> ImageRGB:
    """Apply a baseline to a photo.

    Args:
        name: Name of the baseline.
        image_rgb: The photo.
        subjects: Its faces.
        template: How faces are aligned in crops.
        patches: The faces to paste, uint8 (n, s, s, 3), for baselines that paste faces.
    """
    drawn = image_rgb.copy()
    for index, subject in enumerate(subjects):
        if name in _OBSCURED:
            how, strength = _OBSCURED[name]
            obscure_face(drawn, subject.box, how, strength)
        elif name == "eye-bar":
            _eye_bar(drawn, subject.landmarks)
        elif name in PASTED:
            assert patches is not None
            _paste(drawn, patches[index], subject, template)
    return drawn


def patches_for(name: str, crops: ImageRGB, labels: Sequence[str], seed: int = 0) -> ImageRGB:
    """Return the face that a baseline pastes over each face, uint8 (n, s, s, 3).

    Args:
        name: Name of the baseline.
        crops: Aligned faces, uint8 (n, s, s, 3).
        labels: The person of each face.
        seed: Seed for `swap`.

    Raises:
        OptionError: There are too few people.
    """
    people = np.asarray(labels)
    if len(np.unique(people)) < (2 if name == "swap" else K):
        raise OptionError("baselines", f"{name} needs faces of {2 if name == 'swap' else K} people or more.")
    if name == "swap":
        rng, rows = np.random.default_rng(seed), np.arange(len(crops))
        return crops[[rng.choice(rows[people != person]) for person in people]]
    small = np.stack([cv2.resize(c, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA) for c in crops])
    groups = _k_groups(small.reshape(len(crops), -1).astype(np.float32), people)
    if name == "ksame-pixel":
        means = {tuple(rows): crops[rows].astype(np.float32).mean(0).round().astype(np.uint8) for rows in groups}
        return np.stack([means[tuple(rows)] for rows in groups])
    return _eigen_means(crops, groups)


def _k_groups(features: FloatArray, people: np.ndarray[Any, Any]) -> list[list[int]]:
    """Return for each face the K rows to average: the nearest faces, each of another person."""
    whose = [set() for _ in features]
    groups: list[list[int]] = [[] for _ in features]
    left = np.ones(len(features), bool)
    for row in range(len(features)):
        if not left[row]:
            continue
        near = np.argsort(((features - features[row]) ** 2).sum(1), kind="stable")
        group: list[int] = []
        for pool in (near[left[near]], near):  # faces without a group first, then others
            for other in pool:
                if len(group) < K and people[other] not in whose[row]:
                    group.append(int(other))
                    whose[row].add(people[other])
        for member in group:
            if left[member]:
                groups[member], left[member] = group, False
        groups[row], left[row] = groups[row] or group, False
    return groups


def _eigen_means(crops: ImageRGB, groups: list[list[int]]) -> ImageRGB:
    rows = crops.reshape(len(crops), -1).astype(np.float32)
    mean = rows.mean(0)
    rows -= mean
    values, vectors = np.linalg.eigh(rows @ rows.T)
    kept = values > values.max() * 1e-6
    values, vectors = values[kept][-_COMPONENTS:], vectors[:, kept][:, -_COMPONENTS:]
    components = (rows.T @ vectors) / np.sqrt(values)
    weights = rows @ components
    means = np.stack([weights[group].mean(0) for group in groups])
    faces = np.empty_like(crops)
    for index, one in enumerate(means):
        faces[index] = (components @ one + mean).clip(0, 255).round().astype(np.uint8).reshape(crops.shape[1:])
    return faces


def _eye_bar(image_rgb: ImageRGB, landmarks_px: FloatArray) -> None:
    left, right = landmarks_px[0], landmarks_px[1]
    along = right - left
    up = np.array([along[1], -along[0]])
    start, end = left - 0.6 * along, right + 0.6 * along
    corners = np.stack([start + 0.3 * up, end + 0.3 * up, end - 0.3 * up, start - 0.3 * up])
    cv2.fillConvexPoly(image_rgb, corners.round().astype(np.int32), (0, 0, 0))


def _paste(image_rgb: ImageRGB, patch: ImageRGB, subject: Subject, template: CropTemplate) -> None:
    """Blend an aligned face into the outline of a subject."""
    matrix = template.matrix(subject.landmarks)
    mask = face_hull(subject.look.landmarks, template.size_px, 0.0)
    size = image_rgb.shape[1::-1]
    back = invert(matrix)
    alpha = cv2.warpAffine(mask, back, size, flags=cv2.INTER_LINEAR)[..., None]
    face = cv2.warpAffine(patch, back, size, flags=cv2.INTER_LINEAR)
    image_rgb[:] = (image_rgb + (face.astype(np.float32) - image_rgb) * alpha).round().clip(0, 255).astype(np.uint8)
