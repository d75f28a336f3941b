"""Analyse the originals: their faces, who is shown, and what networks measure of each face."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from styleid.errors import ImageError
from styleid.evaluate.instruments import Instruments, fill
from styleid.evaluate.protocol import Named, Original
from styleid.faces.align import UTKFACE_POINTS, invert, transform_points
from styleid.faces.geometry import with_forehead
from styleid.media.image import read_photo
from styleid.pixel.regions import FACE, SKIN, bare_face, class_probability, face_hull
from styleid.types import Faces, FloatArray, ImageRGB

_OVERLAP = 0.3
_FEWEST_SKIN_PX = 60
_POINTS = 68


@dataclass(frozen=True)
class CropMeasurements:
    """What the networks of the bundle measure of one crop.

    Attributes:
        landmarks: (68, 2) pixels of the crop.
        attributes: (7,) as from `Bundle.describe`.
        face_share: Share of the original's bare face that the parser labels as face here, in [0, 1].
        tone: Individual typology angle of the skin in degrees; NaN if too little skin is visible.
    """

    landmarks: FloatArray
    attributes: FloatArray
    face_share: float
    tone: float


@dataclass
class Subject:
    """One face of an original.

    Attributes:
        photo: Name of the original.
        index: Number of the face in the photo, from 0.
        person: Name of the person, or "" if the protocol does not name the person.
        box: x0, y0, x1, y1 in pixels of the photo.
        landmarks: Five landmarks, (5, 2) pixels of the photo.
        found: Whether the detector finds the face. It can miss one for which the protocol gives a box.
        outline: Outline of the face, (k, 2) pixels of the photo.
        look: What the networks measure of it.
        shown: Mask of the bare face in the crop, as packed bits.
        skin: Mask of the skin in the crop, as packed bits.
        found_by_dlib: Whether dlib finds the face; None without dlib.
        dlib_landmarks: 68 landmarks by dlib, (68, 2) pixels of the photo; None without dlib.
        crop: The crop, if crops are kept.
        embeddings: Embeddings by recogniser and view ("clear" or "filled").
    """

    photo: str
    index: int
    person: str
    box: FloatArray
    landmarks: FloatArray
    found: bool
    outline: FloatArray
    look: CropMeasurements
    shown: bytes
    skin: bytes
    found_by_dlib: bool | None = None
    dlib_landmarks: FloatArray | None = None
    crop: ImageRGB | None = None
    embeddings: dict[tuple[str, str], FloatArray] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name of the person, or a name for this face only."""
        return self.person or f"{self.photo}#{self.index}"


@dataclass
class OriginalResult:
    """The results for one original. error: why it could not be read, or "". unfound: named people without a face."""

    original: Original
    error: str = ""
    subjects: list[Subject] = field(default_factory=list)
    unfound: list[str] = field(default_factory=list)


def analyse_original(original: Original, tools: Instruments) -> OriginalResult:
    """Read an original, find its faces, and embed each face, both unchanged and with all faces filled."""
    try:
        image = read_photo(original.path).image_rgb
    except ImageError as error:
        return OriginalResult(original, error.reason)
    faces, people, found, unfound = match_people(tools.detect(image), original.named, image.shape)
    seen = OriginalResult(original, unfound=unfound)
    if not len(faces):
        return seen
    matrices = [tools.bundle.spec.crop.matrix(points) for points in faces.landmarks_px]
    crops = np.stack([tools.bundle.spec.crop.crop(image, matrix) for matrix in matrices])
    logits, landmarks = tools.bundle.parse(crops)
    shown = np.stack([face_hull(p, crops.shape[1]) for p in landmarks])
    shown = (shown * bare_face(logits, landmarks, crops.shape[1])) > 0.5
    skin = shown & (class_probability(logits, (SKIN,), crops.shape[1]) > 0.5)
    looks = measure_crops(tools, crops, shown, skin, (logits, landmarks))
    for index, look in enumerate(looks):
        outline = transform_points(with_forehead(look.landmarks), invert(matrices[index]))
        seen.subjects.append(
            Subject(
                original.name, index, people[index], faces.boxes_xyxy[index], faces.landmarks_px[index],
                bool(found[index]), outline, look, np.packbits(shown[index]).tobytes(),
                np.packbits(skin[index]).tobytes(), crop=crops[index] if tools.setup.keep_crops else None,
            )
        )  # fmt: skip
    _dlib(tools, image, seen.subjects)
    hidden = filled(image, seen.subjects)
    for subject in seen.subjects:
        for recogniser in tools.recognisers:
            for view, shown_image in (("clear", image), ("filled", hidden)):
                subject.embeddings[recogniser.name, view] = tools.embed(
                    recogniser, shown_image, subject.landmarks, subject.outline
                )
    return seen


def measure_crops(
    tools: Instruments,
    crops: ImageRGB,
    shown: np.ndarray,
    skin: np.ndarray,
    parsed: tuple[FloatArray, FloatArray] | None = None,
) -> list[CropMeasurements]:
    """Measure crops with the networks of the bundle.

    Args:
        tools: Networks and cache.
        crops: Aligned crops, uint8 (n, s, s, 3).
        shown: Where their originals show bare face, bool (n, s, s).
        skin: Where their originals show skin, bool (n, s, s).
        parsed: Logits and landmarks of the parser, if they are known.
    """

    def look() -> np.ndarray:
        logits, landmarks = parsed or tools.bundle.parse(crops)
        attributes = tools.bundle.describe(crops)
        found = class_probability(logits, FACE, crops.shape[1])
        shares = (found * shown).sum((1, 2)) / np.maximum(shown.sum((1, 2)), 1)
        tones = [skin_tone(crop, mask) for crop, mask in zip(crops, skin, strict=True)]
        return np.column_stack([landmarks.reshape(len(crops), -1), attributes, shares, tones]).astype(np.float32)

    networks = "-".join(tools.bundle.spec.networks[role].sha256[:16] for role in ("parser", "attributes"))
    seen = np.concatenate([crops, shown[..., None].astype(np.uint8), skin[..., None].astype(np.uint8)], -1)
    rows = tools.cache.get(f"look-{networks}", seen, look)
    points, attributes = rows[:, : 2 * _POINTS].reshape(-1, _POINTS, 2), rows[:, 2 * _POINTS : -2]
    return [CropMeasurements(points[k], attributes[k], float(row[-2]), float(row[-1])) for k, row in enumerate(rows)]


def unpacked(bits: bytes, side: int) -> np.ndarray:
    """Return packed bits as a mask, bool (side, side)."""
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=side * side).reshape(side, side).astype(bool)


def filled(image_rgb: ImageRGB, subjects: list[Subject]) -> ImageRGB:
    """Return the photo with every face, from jaw to forehead, filled with its mean colour."""
    hidden = image_rgb.copy()
    for subject in subjects:
        inside = fill(hidden.shape[:2], subject.outline)
        if inside.any():
            hidden[inside] = hidden[inside].mean(0).round()
    return hidden


def overlaps(boxes: FloatArray, box: FloatArray) -> FloatArray:
    """Return the intersection over union of boxes, (n, 4), with one box."""
    wide = np.clip(np.minimum(boxes[:, 2], box[2]) - np.maximum(boxes[:, 0], box[0]), 0, None)
    high = np.clip(np.minimum(boxes[:, 3], box[3]) - np.maximum(boxes[:, 1], box[1]), 0, None)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) + (box[2] - box[0]) * (box[3] - box[1])
    return wide * high / np.maximum(areas - wide * high, 1e-9)


def match_people(
    faces: Faces, named: tuple[Named, ...], shape: tuple[int, ...]
) -> tuple[Faces, list[str], list[bool], list[str]]:
    """Match detected faces to the people that the protocol names.

    A named box without a detected face becomes a face, with landmarks from a template.

    Args:
        faces: Detected faces.
        named: The people.
        shape: Shape of the image.

    Returns:
        The faces, the name of each ("" for none), whether each was detected, and named people without a face.
    """
    people, found, unfound = [""] * len(faces), [True] * len(faces), []
    for one in named:
        if one.box_xyxy is None:
            if not len(faces):
                unfound.append(one.person)
                continue
            centres = faces.boxes_xyxy.reshape(-1, 2, 2).mean(1)
            people[int(np.argmin(np.hypot(*(centres - np.array(shape[1::-1]) / 2).T)))] = one.person
            continue
        box = np.asarray(one.box_xyxy, np.float32)
        shares = overlaps(faces.boxes_xyxy, box) if len(faces) else np.zeros(1)
        if shares.max() >= _OVERLAP and not people[int(shares.argmax())]:
            people[int(shares.argmax())] = one.person
            continue
        points = box[:2] + np.asarray(UTKFACE_POINTS, np.float32) * (box[2:] - box[:2])
        faces = Faces.concatenate([faces, Faces(box[None], np.zeros(1, np.float32), points[None])])
        people, found = [*people, one.person], [*found, False]
    return faces, people, found, unfound


def _dlib(tools: Instruments, image: ImageRGB, subjects: list[Subject]) -> None:
    for subject in subjects:
        if (seen := tools.dlib_result(image, subject.box)) is not None:
            subject.found_by_dlib, subject.dlib_landmarks = seen


def skin_tone(crop_rgb: ImageRGB, skin: np.ndarray) -> float:
    """Return the individual typology angle, atan((L - 50) / b) of CIELAB in degrees, of the median skin pixel."""
    if skin.sum() < _FEWEST_SKIN_PX:
        return float("nan")
    lab = cv2.cvtColor(crop_rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[skin]
    lightness, _, yellow = np.median(lab, axis=0)
    return float(np.degrees(np.arctan2(lightness - 50, max(float(yellow), 1e-3))))
