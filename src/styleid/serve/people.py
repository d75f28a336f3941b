"""Whose face is whose, over all photos of a job, so that a person is kept or hidden everywhere at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from styleid.core.pipeline import Anonymizer
from styleid.engine.finding import find_faces
from styleid.errors import ImageError
from styleid.media.image import read_photo
from styleid.people.linking import link_faces
from styleid.people.targets import Sighting, sightings_of
from styleid.serve.review import overlap

_SAME = 0.5
Faces = dict[str, list[tuple[list[float], str]]]


def link_people(
    paths: Mapping[str, Path],
    records: Iterable[Mapping[str, Any]],
    anonymizer: Anonymizer,
    watch: Callable[[int, str], None],
) -> Faces:
    """Return by each photo's name the boxes of its faces, as the journal has them, and a name of whose they are.

    Faces that have no landmarks belong to nobody. Embeddings live in memory and only as long as this takes.
    """
    sightings: list[Sighting] = []
    boxes: list[list[float]] = []
    for done, record in enumerate(records):
        name = str(record["input"])
        watch(done, name)
        if record.get("faces") and name in paths:
            found = _seen(name, paths[name], record["faces"], anonymizer)
            sightings += [sighting for sighting, _ in found]
            boxes += [box for _, box in found]
    if not sightings:
        return {}
    thresholds = anonymizer.bundle.spec.thresholds
    above = thresholds[min(thresholds)].high
    numbers = link_faces(np.stack([one.embedding for one in sightings]), [one.photo for one in sightings], above)
    people: Faces = {}
    for sighting, box, number in zip(sightings, boxes, numbers, strict=True):
        people.setdefault(sighting.photo, []).append((box, f"p{number + 1}"))
    return people


def _seen(
    name: str, path: Path, faces: list[Mapping[str, Any]], anonymizer: Anonymizer
) -> list[tuple[Sighting, list[float]]]:
    """Return the faces of one photo that are known by their landmarks, with their boxes in the journal."""
    try:
        found = find_faces(read_photo(path), anonymizer)
    except ImageError:
        return []
    image = found.photo.image_rgb
    seen = anonymizer.find(image) if found.faces is None else found.faces
    rows = np.nonzero(np.isfinite(seen.landmarks_px).all((1, 2)))[0]
    if not len(rows):
        return []
    sightings = sightings_of(anonymizer.bundle, name, anonymizer.analyse(image, seen, rows))
    told: list[tuple[Sighting, list[float]]] = []
    for sighting in sightings:
        own = [float(value) for value in seen.boxes_xyxy[sighting.face]]
        best = max(faces, key=lambda face: overlap(own, face["box"]))
        if overlap(own, best["box"]) >= _SAME:
            told.append((sighting, list(best["box"])))
    return told
