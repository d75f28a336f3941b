"""Link the faces of a job's photos to people, so that one decision covers all faces of a person."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from styleid.bundles.bundle import Bundle
from styleid.core.attempt import FaceProgress
from styleid.core.gate import GateVerdict
from styleid.core.pipeline import Anonymizer
from styleid.core.protocols import Targets
from styleid.engine.finding import find_faces
from styleid.errors import ImageError
from styleid.media.image import read_photo
from styleid.people.linking import link_faces
from styleid.people.targets import sightings_of
from styleid.serve.review import overlap
from styleid.types import FloatArray, WPlusArray

_SAME = 0.5
Faces = dict[str, list[tuple[list[float], str]]]


@dataclass(frozen=True)
class SeenFace:
    """A face with its embedding.

    Attributes:
        box: x0, y0, x1, y1, in pixels of the upright photo.
        embedding: (d,), unit length.
    """

    box: list[float]
    embedding: FloatArray


class ObservedTargets:
    """A source of targets that delegates to another one, and stores the faces of each photo for linking.

    It can be used from several threads.

    Args:
        chosen_by: The source that chooses the targets.

    Attributes:
        seen: Faces for which targets were drawn, by the photo's name.
    """

    def __init__(self, chosen_by: Targets) -> None:
        self._by = chosen_by
        self.seen: dict[str, list[SeenFace]] = {}

    def admit(self, faces: Sequence[FaceProgress]) -> None:
        """Pass the faces on."""
        self._by.admit(faces)

    def sample(self, bundle: Bundle, photo: str, faces: Sequence[FaceProgress], attempt: int) -> WPlusArray:
        """Return the other source's targets; store the faces at their first attempt."""
        if attempt == 0:
            sources = [face.source for face in faces]
            boxes = [_box(source.detection.boxes_xyxy[0]) for source in sources]
            sightings = sightings_of(bundle, photo, sources)
            self.seen[photo] = [SeenFace(box, one.embedding) for box, one in zip(boxes, sightings, strict=True)]
        return self._by.sample(bundle, photo, faces, attempt)

    def plan_next(self, face: FaceProgress, verdict: GateVerdict, steps: int) -> bool:
        """Pass the call on."""
        return self._by.plan_next(face, verdict, steps)


def link_people(
    paths: Mapping[str, Path],
    records: Iterable[Mapping[str, Any]],
    anonymizer: Anonymizer,
    watch: Callable[[int, str], None],
    known: Mapping[str, list[SeenFace]] | None = None,
) -> Faces:
    """Link the faces of photos to people.

    Faces without landmarks are not linked. Embeddings are kept in memory only, and only during this call.

    Args:
        paths: Path of each original, by the photo's name.
        records: Lines of the journal about the photos.
        anonymizer: Anonymiser whose bundle computes the embeddings.
        watch: Called with the number of photos done and the name of the next one.
        known: Faces by the photo's name, as `ObservedTargets.seen` has them. Photos that are missing here, or whose
            journal line has decisions, are read and analysed again.

    Returns:
        For each photo with linked faces, by name: the box of each face as in the journal, and the name of its person
        (p1, p2, ...).
    """
    names: list[str] = []
    found: list[SeenFace] = []
    for done, record in enumerate(records):
        name = str(record["input"])
        watch(done, name)
        if record.get("faces") and name in paths:
            fresh = None if known is None or record.get("decisions") else known.get(name)
            faces = _measure(name, paths[name], anonymizer) if fresh is None else fresh
            own = _in_journal(faces, record["faces"])
            names += [name] * len(own)
            found += own
    if not found:
        return {}
    thresholds = anonymizer.bundle.spec.thresholds
    above = thresholds[min(thresholds)].high
    numbers = link_faces(np.stack([one.embedding for one in found]), names, above)
    people: Faces = {}
    for name, one, number in zip(names, found, numbers, strict=True):
        people.setdefault(name, []).append((one.box, f"p{number + 1}"))
    return people


def _measure(name: str, path: Path, anonymizer: Anonymizer) -> list[SeenFace]:
    """Return the faces of one photo that have landmarks; none if the photo cannot be read."""
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
    return [SeenFace(_box(seen.boxes_xyxy[one.face]), one.embedding) for one in sightings]


def _in_journal(found: Iterable[SeenFace], faces: Sequence[Mapping[str, Any]]) -> list[SeenFace]:
    """Return faces with their boxes in the journal."""
    found_at: list[SeenFace] = []
    for one in found:
        box = list(max(faces, key=lambda face: overlap(one.box, face["box"]))["box"])
        if overlap(one.box, box) >= _SAME:
            found_at.append(SeenFace(box, one.embedding))
    return found_at


def _box(row: FloatArray) -> list[float]:
    return [float(value) for value in row]
