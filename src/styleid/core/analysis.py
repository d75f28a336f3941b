"""Measure the faces of the original photo, each stage on all of them at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

from styleid.bundles.bundle import Bundle
from styleid.core.face import SourceFace, face_shares, neighbourhood, shown_areas
from styleid.core.methods import Method
from styleid.core.observation import Observation
from styleid.core.timing import StageTimer
from styleid.faces.views import matrix_by_parser
from styleid.pixel.guides import PART_OF_CLASS
from styleid.pixel.obscure import ellipses_in_crop
from styleid.pixel.regions import GLASSES, bare_face, class_probability
from styleid.types import Faces, ImageRGB

_LARGER = 1.2
"""Ratio of box areas from which the larger of two faces counts as nearer to the camera."""


def analyse_faces(
    bundle: Bundle,
    method: Method,
    timer: StageTimer,
    image_rgb: ImageRGB,
    faces: Faces,
    rows: Int[np.ndarray, " k"],
    kept: Bool[np.ndarray, " n"] | None,
) -> list[SourceFace]:
    """Measure some faces of a photo; see `Anonymizer.analyse`.

    Args:
        bundle: The networks.
        method: The method, which determines how latent codes are found.
        timer: Adds up the seconds of each stage.
        image_rgb: The photo, uint8 (height, width, 3).
        faces: Its n faces.
        rows: Indices of the k faces to measure; their landmarks must be finite.
        kept: Faces that stay as they are, bool (n,); None for none.

    Returns:
        The k measured faces.
    """
    spec = bundle.spec
    with timer("align"):
        matrices = [spec.crop.matrix(faces.landmarks_px[i]) for i in rows]
        crops = np.stack([spec.crop.crop(image_rgb, m) for m in matrices])
        identity_matrices = [spec.identity_crop.matrix(faces.landmarks_px[i]) for i in rows]
        identity_crops = np.stack([spec.identity_crop.crop(image_rgb, m) for m in identity_matrices])
    with timer("parse"):
        logits, landmarks = bundle.parse(crops)
        bare = bare_face(logits, landmarks, spec.crop.size_px)
        glasses = class_probability(logits, (GLASSES,), spec.crop.size_px)
    with timer("identity"):
        embeddings = bundle.embed(identity_crops)
    with timer("attributes"):
        attributes = bundle.describe(crops)
    with timer("invert"):
        labels = method.labels(logits, spec.crop.size_px)
        wplus = method.invert(bundle, crops, landmarks, bare[:, None], labels, embeddings)
    sources: list[SourceFace] = []
    for k, index in enumerate(rows):
        shown = shown_areas(landmarks[k], bare[k])
        shares = face_shares(shown, logits[k])
        hidden = np.ones(len(faces), bool) if kept is None else ~kept
        hidden[index] = False
        source = SourceFace(
            index=int(index),
            detection=faces[int(index)],
            matrix=matrices[k],
            identity_matrix=identity_matrices[k],
            parser_matrix=matrix_by_parser(spec.identity_crop, matrices[k], landmarks[k]),
            photo_rgb=image_rgb,
            window=neighbourhood(faces.boxes_xyxy[index], matrices[k], spec.crop.size_px, image_rgb.shape),
            crop=crops[k],
            bare=bare[k],
            glasses=glasses[k],
            shown=shown,
            parts=PART_OF_CLASS[logits[k].argmax(0)],
            others=ellipses_in_crop(faces.boxes_xyxy[hidden], matrices[k], spec.crop.size_px),
            before=ellipses_in_crop(faces.boxes_xyxy[_nearer(faces, int(index))], matrices[k], spec.crop.size_px, 1.0),
            observation=Observation(True, landmarks[k], embeddings[k], attributes[k], shares),
            wplus=wplus[k],
            method=method.name,
            by_labels=method.matched(crops[k], labels[k]),
        )
        sources.append(source)
    return sources


def _nearer(faces: Faces, index: int) -> Bool[np.ndarray, " n"]:
    """Return which faces are nearer to the camera than the one at index, bool (n,): those that are clearly larger.

    An exception is a larger face that contains the centre of this one, such as an adult behind a child.
    """
    low, high = faces.boxes_xyxy[:, :2], faces.boxes_xyxy[:, 2:]
    sides = high - low
    area = sides.prod(1)
    middle = faces.boxes_xyxy[index].reshape(2, 2).mean(0)
    on_it = (np.square((middle - (low + high) / 2) / (sides / 2)).sum(1)) < 1
    return np.asarray((area > _LARGER * area[index]) & ~on_it)
