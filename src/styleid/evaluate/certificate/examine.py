"""Examine every photo of a run: its faces and their outcomes, faces that may have been missed, and the files.

A face is one that the journal lists, or one that the detector finds in the original. Originals and outputs are upright
here, and outputs have the size of their originals.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from styleid.errors import ImageError
from styleid.evaluate.certificate.likeness import UNTOUCHED_FROM, likeness
from styleid.evaluate.certificate.runs import Item
from styleid.evaluate.certificate.second_detector import second_finds
from styleid.evaluate.instruments import Instruments
from styleid.evaluate.originals import overlaps
from styleid.evaluate.outputs import Status, fitted
from styleid.evaluate.side_channels import SideChannels, find_side_channels
from styleid.faces.align import UTKFACE_POINTS
from styleid.faces.detect import DetectorOptions, FaceDetector
from styleid.media.image import Photo, read_photo_bytes
from styleid.types import Action, Faces, FloatArray, ImageRGB

NEAR_MISS_FROM = 0.15
"""Score of the detector from which a region that it does not count as a face is a near miss."""
_SAME_FACE = 0.3


class RegionKind(StrEnum):
    """Why a part of a photo is suspicious, the most suspicious kind first."""

    UNCHANGED = "hardly changed"
    UNLISTED = "a face that the journal does not list"
    SECOND = "a second detector takes it for a face"
    NEAR_MISS = "the detector nearly takes it for a face"
    OBSCURED = "a face that was obscured"
    KEPT = "a face that was kept"
    DISMISSED = "a person said that it is no face"
    FAR = "a face that was changed most"

    @property
    def makes_risky(self) -> bool:
        """Whether a photo with such a part belongs to the stratum of risky photos."""
        return self in (RegionKind.UNCHANGED, RegionKind.UNLISTED, RegionKind.SECOND, RegionKind.NEAR_MISS)


@dataclass(frozen=True)
class Region:
    """A suspicious part of a photo. box_xyxy: pixels of the upright original. risk: order within its kind."""

    photo: str
    kind: RegionKind
    box_xyxy: tuple[float, float, float, float]
    risk: float


@dataclass(frozen=True)
class ExaminedFace:
    """One face of a photo.

    Attributes:
        box_xyxy: x0, y0, x1, y1 in pixels of the upright original.
        landmarks_px: Five landmarks, (5, 2) pixels of the upright original.
        action: The action in the journal; "" if the journal does not list the face.
        score: Score of the detector in [0, 1]; 0 if it does not find the face.
        likeness: Likeness of its detail to the original; None if there is no output to compare.
        distance: Identity distance in the journal; 0 if it has none.
    """

    box_xyxy: FloatArray
    landmarks_px: FloatArray
    action: str
    score: float
    likeness: float | None = None
    distance: float = 0.0

    @property
    def is_kept(self) -> bool:
        """Whether it was left unchanged because its person is to be kept."""
        return self.action == Action.KEPT

    @property
    def is_left(self) -> bool:
        """Whether it was left unchanged on purpose, for any reason."""
        return self.action in (Action.KEPT, Action.DISMISSED)

    @property
    def is_untouched(self) -> bool:
        """Whether it was left unchanged, but not on purpose."""
        return not self.is_left and self.likeness is not None and self.likeness >= UNTOUCHED_FROM


@dataclass
class ExaminedPhoto:
    """The results for one photo.

    Attributes:
        name: Its name.
        status: Of the output.
        error: Why the output or the original cannot be read, or "".
        faces: Its faces.
        regions: Its suspicious parts.
        side: What the output contains besides its picture.
        altered: Whether the output differs from the file in the journal.
        copied: Whether the output is equal to the original and not in the journal, such as a label map.
    """

    name: str
    status: Status
    error: str = ""
    faces: list[ExaminedFace] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    side: SideChannels | None = None
    altered: bool = False
    copied: bool = False

    @property
    def is_published(self) -> bool:
        """Whether there is an output."""
        return self.status != Status.WITHHELD

    @property
    def is_risky(self) -> bool:
        """Whether a part of it makes it risky."""
        return any(region.kind.makes_risky for region in self.regions)


@dataclass(frozen=True)
class ExamineTask:
    """A photo to examine. threshold: of the run's detector. lists_faces: whether the journal lists every face."""

    item: Item
    threshold: float
    lists_faces: bool


def examine_photo(task: ExamineTask, tools: Instruments) -> ExaminedPhoto:
    """Examine one photo. An output that cannot be compared counts as published, with every face exposed."""
    item = task.item
    original, before, error = _read(item.original)
    if original is None:
        lost = Status.UNREADABLE if item.output is not None else Status.WITHHELD
        return ExaminedPhoto(item.name, lost, f"original: {error}", side=_alone(item.output))
    faces, rest = _faces(task, original.image_rgb)
    output, after, error = _read(item.output)
    if item.output is None:
        return ExaminedPhoto(item.name, Status.WITHHELD, "", faces)
    altered = bool(item.sha256) and hashlib.sha256(after).hexdigest() != item.sha256
    if output is None:
        return ExaminedPhoto(item.name, Status.UNREADABLE, error, faces, altered=altered)
    image = output.seen_like(original)
    side = find_side_channels(after, image, before, original.image_rgb)
    shown = fitted(image, original.image_rgb)
    if shown is None:
        size = f"{image.shape[1]} x {image.shape[0]} px"
        return ExaminedPhoto(item.name, Status.OTHER_SHAPE, size, faces, side=side, altered=altered)
    faces = [_compared(face, original.image_rgb, shown) for face in faces]
    regions = [
        *_face_regions(item.name, faces, task.lists_faces),
        *_missed_regions(item.name, faces, rest, original.image_rgb, shown),
    ]
    copied = side.identical and item.record is None and task.lists_faces
    return ExaminedPhoto(item.name, Status.MEASURED, "", faces, regions, side, altered, copied)


def _read(path: Path | None) -> tuple[Photo | None, bytes, str]:
    if path is None:
        return None, b"", "there is none"
    try:
        content = path.read_bytes()
    except OSError as error:
        return None, b"", str(error.strerror)
    try:
        return read_photo_bytes(content, str(path)), content, ""
    except ImageError as error:
        return None, content, error.reason


def _alone(path: Path | None) -> SideChannels | None:
    """Return what an output contains besides its picture, if its original cannot be read."""
    photo, content, _ = _read(path)
    return None if photo is None else find_side_channels(content, photo.image_rgb, b"", photo.image_rgb)


@cache
def _detector(threshold: float) -> FaceDetector:
    return FaceDetector(DetectorOptions(min(threshold, NEAR_MISS_FROM)))


def _faces(task: ExamineTask, image_rgb: ImageRGB) -> tuple[list[ExaminedFace], Faces]:
    """Return the faces of a photo, and the detections below the threshold."""
    found = _detector(task.threshold).detect(image_rgb)
    free = np.ones(len(found), bool)
    faces = []
    for entry in (task.item.record or {}).get("faces", []):
        box = np.asarray(entry["box"], np.float32)
        distance = float(entry.get("gate", {}).get("distance", 0.0))
        shares = np.where(free, _shares(found.boxes_xyxy, box), 0.0)
        best = int(shares.argmax()) if len(shares) else -1
        if best >= 0 and shares[best] >= _SAME_FACE:
            free[best] = False
            points, score = found.landmarks_px[best], float(found.scores[best])
        else:
            points, score = box[:2] + np.asarray(UTKFACE_POINTS, np.float32) * (box[2:] - box[:2]), 0.0
        faces.append(ExaminedFace(box, points, str(entry["action"]), score, distance=distance))
    sure = free & (found.scores >= task.threshold)
    for place in np.nonzero(sure)[0]:
        box = found.boxes_xyxy[place]
        if task.lists_faces and any(_shares(face.box_xyxy[None], box)[0] >= _SAME_FACE for face in faces):
            continue
        action = str(Action.KEPT) if _holds(task.item.kept, box) else ""
        faces.append(ExaminedFace(box, found.landmarks_px[place], action, float(found.scores[place])))
    return faces, found[free & ~sure]


def _shares(boxes: FloatArray, box: FloatArray) -> FloatArray:
    return overlaps(boxes, box) if len(boxes) else np.zeros(0)


def _holds(ranges: tuple[tuple[float, float, float, float], ...], box: FloatArray) -> bool:
    x, y = box.reshape(2, 2).mean(0)
    return any(x0 <= x <= x1 and y0 <= y <= y1 for x0, y0, x1, y1 in ranges)


def _compared(face: ExaminedFace, before: ImageRGB, after: ImageRGB) -> ExaminedFace:
    alike = likeness(before, after, face.box_xyxy)
    return ExaminedFace(face.box_xyxy, face.landmarks_px, face.action, face.score, alike, face.distance)


def _face_regions(name: str, faces: list[ExaminedFace], lists_faces: bool) -> list[Region]:
    found = []
    for face in faces:
        alike = face.likeness or 0.0
        if face.is_left:
            kind = RegionKind.KEPT if face.is_kept else RegionKind.DISMISSED
            found.append(_region(name, kind, face.box_xyxy, face.score))
        elif face.is_untouched:
            found.append(_region(name, RegionKind.UNCHANGED, face.box_xyxy, alike + face.score))
        elif lists_faces and not face.action:
            found.append(_region(name, RegionKind.UNLISTED, face.box_xyxy, face.score))
        elif face.action == Action.OBSCURED:
            found.append(_region(name, RegionKind.OBSCURED, face.box_xyxy, alike))
        else:
            found.append(_region(name, RegionKind.FAR, face.box_xyxy, face.distance))
    return found


def _missed_regions(
    name: str, faces: list[ExaminedFace], rest: Faces, before: ImageRGB, after: ImageRGB
) -> list[Region]:
    """Return where a face may have been missed, except where the output was changed anyway."""
    known = np.array([face.box_xyxy for face in faces], np.float32).reshape(-1, 4)
    found = []
    rows = [(RegionKind.SECOND, row[:4], row[4]) for row in second_finds(before)]
    rows += [(RegionKind.NEAR_MISS, b, s) for b, s in zip(rest.boxes_xyxy, rest.scores, strict=True)]
    for kind, box, score in rows:
        if _covers(known, box) or likeness(before, after, box) < UNTOUCHED_FROM:
            continue
        known = np.concatenate([known, box[None].astype(np.float32)])
        found.append(_region(name, kind, box, float(score)))
    return found


def _covers(known: FloatArray, box: FloatArray) -> bool:
    """Return whether a box overlaps a known one, or lies mostly inside one."""
    if not len(known):
        return False
    low, high = np.maximum(known[:, :2], box[:2]), np.minimum(known[:, 2:], box[2:])
    shared = np.clip(high - low, 0, None).prod(1) / max(float((box[2:] - box[:2]).prod()), 1e-6)
    return bool((overlaps(known, box) >= _SAME_FACE).any() or (shared >= 0.7).any())


def _region(name: str, kind: RegionKind, box: FloatArray, risk: float) -> Region:
    x0, y0, x1, y1 = (round(float(value), 1) for value in box)
    return Region(name, kind, (x0, y0, x1, y1), round(float(risk), 4))


def threshold_of(settings: Any) -> float:
    """Return the threshold of the run's detector, from the settings in the journal."""
    usual = DetectorOptions().threshold
    detector = settings.get("detector") if isinstance(settings, dict) else None
    return float(detector.get("threshold", usual)) if isinstance(detector, dict) else usual
