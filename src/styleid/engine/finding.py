"""Find the faces of a photo in every view of it, such as its alpha channel or its dots seen from afar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from styleid.core.boxes import with_given_boxes
from styleid.core.decisions import PhotoDecisions
from styleid.core.pipeline import Anonymizer
from styleid.errors import DecisionError, ImageError
from styleid.faces.detect import suppress_overlaps
from styleid.media.formats.channels import extra_channel
from styleid.media.image import Photo
from styleid.media.views import GAIN_MAP, View, count_levels, further_views, smoothed
from styleid.pixel.obscure import ENLARGE, face_ellipse
from styleid.types import Action, FaceOutcome, Faces, FloatArray, Outcome, SearchHints

_SAME_FACE = 0.5
_FEW_LEVELS, _TWO_TONES = 16, 4
_USUAL_SMOOTHING_PX = 2.0


@dataclass(frozen=True, eq=False)
class PhotoFaces:
    """The faces that were found in a photo.

    Attributes:
        photo: The photo to anonymise. A picture of dots or few colours is smoothed, as it looks from afar.
        faces: All faces, or None if the photo has one view only; then the anonymiser detects them itself.
        elsewhere: What shows a face that the colours do not show, by its box.
        notes: Notes for the journal.
    """

    photo: Photo
    faces: Faces | None = None
    elsewhere: dict[tuple[float, ...], str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def anonymized(
        self,
        anonymizer: Anonymizer,
        name: str,
        boxes_xyxy: FloatArray | None = None,
        search: SearchHints | None = None,
        decisions: PhotoDecisions | None = None,
    ) -> Outcome:
        """Anonymise the photo. Faces that its colours do not show are obscured.

        The arguments are those of `Anonymizer.anonymize`.

        Raises:
            ImageError: A decision matches no face of the photo.
        """
        more: dict[str, Any] = {} if search is None else {"search": search}
        if decisions is not None:
            more["decisions"] = decisions
        if self.faces is not None:
            more["found"] = self.faces
        try:
            outcome = anonymizer.anonymize(self.photo.image_rgb, name=name, boxes_xyxy=boxes_xyxy, **more)
        except DecisionError as error:
            raise ImageError(self.photo.name, error.reason) from error
        return replace(outcome, faces=tuple(self._explained(face) for face in outcome.faces)) if more else outcome

    def _explained(self, face: FaceOutcome) -> FaceOutcome:
        where = self.elsewhere.get(face.box_xyxy)
        return replace(face, reason=f"it shows in {where} only") if face.reason and where else face


def faces_mask(photo: Photo, outcome: Outcome) -> np.ndarray | None:
    """Return where a photo may keep nothing of its original faces besides the new colours.

    That is around each face if the photo has another channel or a gain map, and inside each face if it consists of
    dots.

    Returns:
        Bool (height, width), or None if the new colours replace everything.
    """
    beside = extra_channel(photo.raster) is not None or photo.gain_map is not None
    if not beside and not photo.dithered:
        return None
    height, width = photo.image_rgb.shape[:2]
    mask = np.zeros((height, width), bool)
    for face in outcome.faces:
        if not face.action.untouched:
            enlarge = ENLARGE if beside or face.action is Action.OBSCURED else 1.0
            mask |= face_ellipse(np.array(face.box_xyxy), (height, width), enlarge)
    return mask


def find_faces(
    photo: Photo,
    anonymizer: Anonymizer,
    boxes_xyxy: FloatArray | None = None,
    search: SearchHints | None = None,
    decisions: PhotoDecisions | None = None,
) -> PhotoFaces:
    """Find the faces in every view of a photo; the other arguments are those of `Anonymizer.anonymize`."""
    views = further_views(photo)
    first = next(views, None)
    if first is None:
        return PhotoFaces(photo)
    own = anonymizer.find(photo.image_rgb, None, search)
    colours: dict[float, Faces] = {}
    others: list[tuple[str, Faces]] = []
    for view in _chained(first, views):
        faces = anonymizer.find(view.image_rgb).moved(1 / view.scale, (0.0, 0.0))
        if view.where:
            others.append((view.where, faces))
        else:
            colours[view.smoothing_px] = faces
    own = _joined(own, colours.pop(0.0, Faces.empty()))
    given = boxes_xyxy is not None or (decisions is not None and bool(decisions.added))
    photo, own, from_afar = _choose_copy(photo, own, colours, given=given)
    elsewhere: dict[tuple[float, ...], str] = {}
    for where, faces in [*from_afar, *others]:
        new = _without_landmarks(_unmatched(faces, own))
        own = Faces.concatenate([own, new])
        elsewhere |= {tuple(float(v) for v in box): where for box in new.boxes_xyxy}
    found = with_given_boxes(own, photo.image_rgb.shape, boxes_xyxy, search)
    beside = {where for where, _ in others if where != GAIN_MAP}
    notes = tuple(f"{where} contains a picture; it was flattened where faces are" for where in beside if len(found))
    return PhotoFaces(photo, found, elsewhere, notes)


def _choose_copy(
    photo: Photo, own: Faces, smoothed_finds: dict[float, Faces], *, given: bool
) -> tuple[Photo, Faces, list[tuple[str, Faces]]]:
    """Choose between a picture and its smoothed copies.

    Args:
        photo: The photo.
        own: The faces found in it.
        smoothed_finds: The faces found in each smoothed copy, by the smoothing in pixels.
        given: Whether the user or the decisions give boxes.

    Returns:
        The photo to anonymise, its faces, and the faces that other copies show.
    """
    if not smoothed_finds:
        return photo, own, []
    levels = count_levels(photo.image_rgb)
    best = max(smoothed_finds, key=lambda smoothing: smoothed_finds[smoothing].scores.sum())
    clearer = smoothed_finds[best].scores.sum() > own.scores.sum()
    if (clearer and (levels <= _FEW_LEVELS or not len(own))) or (len(own) and levels <= _TWO_TONES):
        return smoothed(photo, best), _joined(smoothed_finds[best], own, *smoothed_finds.values()), []
    if levels <= _TWO_TONES and given:
        return smoothed(photo, _USUAL_SMOOTHING_PX), own, []
    return photo, own, [("dots seen from afar", faces) for faces in smoothed_finds.values()]


def _chained(first: View, rest: Iterator[View]) -> Iterator[View]:
    yield first
    yield from rest


def _joined(first: Faces, *more: Faces) -> Faces:
    """Return the faces of several views of the same colours; where views overlap, those of the first."""
    for faces in more:
        first = Faces.concatenate([first, suppress_overlaps(_unmatched(faces, first))])
    return first


def _unmatched(faces: Faces, known: Faces) -> Faces:
    """Return the faces that overlap no known face by half of the smaller box or more."""
    if not len(faces) or not len(known):
        return suppress_overlaps(faces)
    one, two = faces.boxes_xyxy[:, None], known.boxes_xyxy[None]
    sides = np.minimum(one[..., 2:], two[..., 2:]) - np.maximum(one[..., :2], two[..., :2])
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (one, two)]
    shares = np.clip(sides, 0, None).prod(-1) / np.maximum(np.minimum(*areas), 1e-6)
    return suppress_overlaps(faces[(shares < _SAME_FACE).all(1)])


def _without_landmarks(faces: Faces) -> Faces:
    """Return faces without landmarks, which can only be obscured, because the colours show no face there."""
    return Faces(faces.boxes_xyxy, faces.scores, np.full_like(faces.landmarks_px, np.nan))
