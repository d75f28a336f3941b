"""Analyse the output of a tool: each face in two alignments, and the pixels inside and outside the faces."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np

from styleid.errors import ImageError
from styleid.evaluate.baselines import draw
from styleid.evaluate.instruments import Instruments
from styleid.evaluate.originals import CropMeasurements, OriginalResult, Subject, measure_crops, overlaps, unpacked
from styleid.evaluate.side_channels import SideChannels, find_side_channels
from styleid.faces import geometry
from styleid.media.image import read_photo, read_photo_bytes
from styleid.pixel.obscure import face_ellipse
from styleid.types import LUMA, FloatArray, ImageRGB

ALIGNMENTS = ("original", "own")
"""By the landmarks of the original, which a strong attacker may know, and by those found in the output."""
MIN_FACE_SHARE = 0.9
_SAME_ASPECT = 0.01
_SURROUNDINGS = 1.6
_OVERLAP = 0.3
_LOSSLESS = ("PNG", "BMP", "TIFF", "GIF")


class Status(StrEnum):
    """Whether an output could be measured."""

    MEASURED = "measured"
    WITHHELD = "withheld"
    UNREADABLE = "unreadable"
    OTHER_SHAPE = "other shape"

    @property
    def lost(self) -> bool:
        """Whether the output was published but could not be measured. Its faces count as found."""
        return self in (Status.UNREADABLE, Status.OTHER_SHAPE)


@dataclass
class FaceResult:
    """The results for one face of one output.

    status: of the output. measures: by name; NaN if not measurable. embeddings: by recogniser and alignment. crop: the
    face, if crops are kept.
    """

    status: Status
    measures: dict[str, float] = field(default_factory=dict)
    embeddings: dict[tuple[str, str], FloatArray] = field(default_factory=dict)
    crop: ImageRGB | None = None


@dataclass
class Result:
    """The results for one output.

    Attributes:
        name: Name of the original.
        status: Whether the file could be measured.
        error: Why it could not be read, or "".
        faces: Results in the order of the original's faces.
        side: What the file contains besides the picture; None for a baseline.
        resized: Whether it has another size than the original.
        path: The file; None for a baseline.
    """

    name: str
    status: Status
    error: str = ""
    faces: list[FaceResult] = field(default_factory=list)
    side: SideChannels | None = None
    resized: bool = False
    path: Path | None = None


@dataclass(frozen=True)
class OutputTask:
    """An output to analyse.

    seen: its original. path: the file, or None if there is none. baseline: name of the baseline to draw instead of
    reading a file. patches: the faces that the baseline pastes, uint8 (n, s, s, 3).
    """

    seen: OriginalResult
    path: Path | None = None
    baseline: str = ""
    patches: ImageRGB | None = None


def analyse_output(task: OutputTask, tools: Instruments) -> Result:
    """Analyse one output."""
    seen, name = task.seen, task.seen.original.name
    if seen.error or (task.path is None and not task.baseline):
        return _unmeasured(name, Status.WITHHELD, seen)
    original, side, kind = read_photo(seen.original.path), None, "PNG"
    if task.baseline:
        image = draw(task.baseline, original.image_rgb, seen.subjects, tools.bundle.spec.crop, task.patches)
    else:
        assert task.path is not None
        try:
            content = task.path.read_bytes()
            photo = read_photo_bytes(content, str(task.path))
        except (ImageError, OSError) as error:
            reason = error.reason if isinstance(error, ImageError) else str(error.strerror)
            return _unmeasured(name, Status.UNREADABLE, seen, reason)
        image, kind = photo.seen_like(original), photo.format
        side = find_side_channels(content, image, seen.original.path.read_bytes(), original.image_rgb)
    fitting = fitted(image, original.image_rgb)
    if fitting is None:
        return _unmeasured(name, Status.OTHER_SHAPE, seen, f"{image.shape[1]} x {image.shape[0]} px", side)
    resized = image.shape != original.image_rgb.shape
    result = Result(name, Status.MEASURED, side=side, resized=resized, path=task.path)
    result.faces = _analyse_faces(tools, seen.subjects, original.image_rgb, fitting)
    for face in result.faces:
        face.measures["lossless"] = float(kind in _LOSSLESS and original.format in _LOSSLESS)
    return result


def fitted(image_rgb: ImageRGB, original_rgb: ImageRGB) -> ImageRGB | None:
    """Return an output resized to the size of its original; None if its aspect ratio differs by more than 1 %."""
    height, width = original_rgb.shape[:2]
    if abs(image_rgb.shape[1] / image_rgb.shape[0] / (width / height) - 1) > _SAME_ASPECT:
        return None
    if image_rgb.shape == original_rgb.shape:
        return image_rgb
    how = cv2.INTER_AREA if image_rgb.shape[0] > height else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image_rgb, (width, height), interpolation=how), np.uint8)


def _unmeasured(
    name: str, status: Status, seen: OriginalResult, error: str = "", side: SideChannels | None = None
) -> Result:
    return Result(name, status, error, [FaceResult(status) for _ in seen.subjects], side)


def _analyse_faces(tools: Instruments, subjects: list[Subject], before: ImageRGB, after: ImageRGB) -> list[FaceResult]:
    if not subjects:
        return []
    template = tools.bundle.spec.crop
    crops = np.stack([template.crop(after, template.matrix(s.landmarks)) for s in subjects])
    side = crops.shape[1]
    shown, skin = (np.stack([unpacked(getattr(s, name), side) for s in subjects]) for name in ("shown", "skin"))
    untouched = (before == after).all(-1)
    looks = [s.look for s in subjects] if untouched.all() else measure_crops(tools, crops, shown, skin)
    detected = tools.detect(after)
    outside = _outside(subjects, before.shape[:2])
    around = {
        "outside_unchanged": float(untouched[outside].mean()) if outside.any() else float("nan"),
        "outside_change": _change(before, after, outside),
        "outside_ssim": _ssim(before, after, outside),
    }
    results = []
    for index, (subject, look) in enumerate(zip(subjects, looks, strict=True)):
        shares = overlaps(detected.boxes_xyxy, subject.box) if len(detected) else np.zeros(1)
        own = detected.landmarks_px[int(shares.argmax())] if shares.max() > _OVERLAP else subject.landmarks
        measures = compared(subject, look, side) | around | {"found": float(shares.max() > _OVERLAP)}
        measures |= _pixels(subject, before, after)
        measures |= _dlib_measures(tools, subject, after)
        result = FaceResult(Status.MEASURED, measures, crop=crops[index] if tools.setup.keep_crops else None)
        for recogniser in tools.recognisers:
            for alignment, points in zip(ALIGNMENTS, (subject.landmarks, own), strict=True):
                result.embeddings[recogniser.name, alignment] = tools.embed(recogniser, after, points, subject.outline)
        results.append(result)
    return results


def compared(subject: Subject, look: CropMeasurements, side_px: int) -> dict[str, float]:
    """Return the differences between the original face and the new one, measured by the networks of the bundle."""
    before, after = subject.look, look
    was, now = geometry.expression(before.landmarks), geometry.expression(after.landmarks)
    error = float(geometry.landmark_error(after.landmarks, before.landmarks))
    shift = np.linalg.norm(after.landmarks - before.landmarks, axis=-1).mean()
    return {
        "like_a_face": float(after.face_share >= MIN_FACE_SHARE * before.face_share),
        "landmark_error": error,
        "landmark_error_px256": float(shift) * 256 / side_px,
        "yaw_change": float(abs(was.yaw - now.yaw)),
        "pitch_change": float(abs(was.pitch - now.pitch)),
        "roll_change_deg": float(np.degrees(abs(was.roll - now.roll))),
        "mouth_agrees": float(bool(was.mouth_is_open) == bool(now.mouth_is_open)),
        "mouth_change": float(abs(was.mouth_opening - now.mouth_opening)),
        "smile_change": float(abs(was.smile - now.smile)),
        "eye_change": float(abs(was.eye_opening - now.eye_opening)),
        "brow_change": float(abs(was.brow_height - now.brow_height)),
        "age_change": float(abs(before.attributes[0] - after.attributes[0])),
        "sex_agrees": float((before.attributes[1] > 0.5) == (after.attributes[1] > 0.5)),
        "group_agrees": float(before.attributes[2:].argmax() == after.attributes[2:].argmax()),
        "tone_change": abs(before.tone - after.tone),
    }


def _pixels(subject: Subject, before: ImageRGB, after: ImageRGB) -> dict[str, float]:
    inside = face_ellipse(subject.box, before.shape[:2], 1.0)
    was, now = (_sharpness(image, inside) for image in (before, after))
    return {
        "inside_change": _change(before, after, inside),
        "inside_ssim": _ssim(before, after, inside),
        "sharpness_ratio": now / max(was, 1e-3),
    }


def _dlib_measures(tools: Instruments, subject: Subject, after: ImageRGB) -> dict[str, float]:
    if not subject.found_by_dlib or subject.dlib_landmarks is None:
        return {"found_by_witness": float("nan"), "witness_landmark_error": float("nan")}
    seen = tools.dlib_result(after, subject.box)
    assert seen is not None
    return {
        "found_by_witness": float(seen[0]),
        "witness_landmark_error": float(geometry.landmark_error(seen[1], subject.dlib_landmarks)),
    }


def _outside(subjects: list[Subject], shape: tuple[int, int]) -> np.ndarray:
    outside = np.ones(shape, bool)
    for subject in subjects:
        centre, half = subject.box.reshape(2, 2).mean(0), (subject.box[2:] - subject.box[:2]) / 2 * _SURROUNDINGS
        low = np.maximum(np.floor(centre - half).astype(int), 0)
        high = np.maximum(np.ceil(centre + half).astype(int) + 1, 0)
        outside[low[1] : high[1], low[0] : high[0]] = False
    return outside


def _change(before: ImageRGB, after: ImageRGB, where: np.ndarray) -> float:
    if not where.any():
        return float("nan")
    return float(np.abs(before[where].astype(np.float32) - after[where]).mean())


def _sharpness(image_rgb: ImageRGB, where: np.ndarray) -> float:
    rows, columns = np.nonzero(where.any(1))[0], np.nonzero(where.any(0))[0]
    if len(rows) == 0:
        return float("nan")
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    luma = image_rgb[part].astype(np.float32) @ LUMA
    return float(np.sqrt(np.mean((luma - cv2.GaussianBlur(luma, (0, 0), 1.0))[where[part]] ** 2)))


def _ssim(before: ImageRGB, after: ImageRGB, where: np.ndarray) -> float:
    """Return the mean structural similarity (Wang et al. 2004) of the luma over a mask."""
    if not where.any():
        return float("nan")
    a, b = before.astype(np.float32) @ LUMA, after.astype(np.float32) @ LUMA

    def blurred(values: FloatArray) -> FloatArray:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), 1.5), np.float32)

    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    both = blurred(a * b) - mean_a * mean_b
    low, high = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    index = (2 * mean_a * mean_b + low) * (2 * both + high) / ((mean_a**2 + mean_b**2 + low) * (var_a + var_b + high))
    return float(index[where].mean())
