"""The detectors, networks and recognisers of an evaluation, with their cache. Each process builds them once.

Convention
----------
`outline` is the closed outline of a face from jaw to forehead, (k, 2) pixels of its photo. `shown` is the mask of the
bare face in a crop, float32 (s, s) in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np

from styleid.bundles.registry import DEFAULT, load_bundle
from styleid.evaluate.cache import Cache
from styleid.evaluate.recognisers import Recogniser, dlib_model, dlib_models_version, has_dlib, load_recognisers
from styleid.faces.detect import FaceDetector
from styleid.types import Faces, FloatArray, ImageRGB

Context = Literal["tight", "crop", "photo"]
CONTEXTS: tuple[Context, ...] = get_args(Context)
_GREY = 128
_PHOTO_SIDE = 12
_WITNESS_FACE_PX, _WITNESS_VIEW_PX = 88, 200


@dataclass(frozen=True)
class Setup:
    """What each process needs to build its instruments.

    Attributes:
        cache: File that stores the outputs of networks.
        bundle: Name of the bundle whose networks measure.
        recognisers: A list as `load_recognisers` reads it.
        context: How much of the surroundings the recognisers see.
        keep_crops: Keep the crop of every face, for baselines and attacks that need pixels.
    """

    cache: Path
    bundle: str = DEFAULT
    recognisers: str = "auto"
    context: Context = "crop"
    keep_crops: bool = False


class Instruments:
    """The networks of one process."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.bundle = load_bundle(setup.bundle)
        self.recognisers: list[Recogniser] = load_recognisers(setup.recognisers, self.bundle)
        self.cache = Cache(setup.cache)
        self._detector = FaceDetector()

    @cached_property
    def _dlib(self) -> DlibDetector | None:
        """A second opinion on where faces and landmarks are; None if dlib is not installed."""
        return DlibDetector() if has_dlib() else None

    def detect(self, image_rgb: ImageRGB) -> Faces:
        """Detect the faces of an image."""

        def find() -> np.ndarray[Any, Any]:
            faces = self._detector.detect(image_rgb)
            return np.column_stack([faces.boxes_xyxy, faces.scores, faces.landmarks_px.reshape(-1, 10)])

        rows = self.cache.get(f"centerface-{self._detector.options}", image_rgb, find)
        return Faces(rows[:, :4], rows[:, 4], rows[:, 5:].reshape(-1, 5, 2))

    def dlib_result(self, image_rgb: ImageRGB, box_xyxy: FloatArray) -> tuple[bool, FloatArray] | None:
        """Return whether dlib finds a face at a box, and its landmarks, (68, 2) pixels; None without dlib."""
        detector = self._dlib
        if detector is None:
            return None

        def look() -> np.ndarray[Any, Any]:
            return np.append(detector.landmarks(image_rgb, box_xyxy), np.float32(detector.finds(image_rgb, box_xyxy)))

        kind = f"detector-{dlib_models_version()}-{box_xyxy.tolist()}"
        row = self.cache.get(kind, image_rgb, look)
        return bool(row[-1]), row[:-1].reshape(-1, 2).astype(np.float32)

    def embed(
        self, recogniser: Recogniser, image_rgb: ImageRGB, landmarks_px: FloatArray, outline: FloatArray
    ) -> FloatArray:
        """Return the unit embedding of a face, (d,), in the context of the setup.

        Args:
            recogniser: The recogniser.
            image_rgb: The photo.
            landmarks_px: Five landmarks of the face, (5, 2) pixels of the photo.
            outline: Its outline, (k, 2) pixels of the photo.
        """
        template = recogniser.template
        matrix = template.matrix(landmarks_px)
        crop = template.crop(image_rgb, matrix)
        if self.setup.context == "tight":
            inside = fill((crop.shape[0], crop.shape[1]), outline @ matrix[:, :2].T + matrix[:, 2])
            crop = np.where(inside[..., None], crop, np.uint8(_GREY))
        kind = f"{recogniser.name}-{recogniser.fingerprint}"
        embedding = self.cache.get(kind, crop, lambda: recogniser.embed_crop(crop))
        if self.setup.context != "photo":
            return embedding
        return np.concatenate([embedding, _photo_features(image_rgb)]).astype(np.float32) / np.float32(np.sqrt(2))


class DlibDetector:
    """dlib's frontal face detector and 68 landmarks (Kazemi and Sullivan 2014), as a second opinion. Extra `eval`."""

    name = "dlib"

    def __init__(self) -> None:
        import dlib

        library: Any = dlib
        self._rectangle = library.rectangle
        self._detector = library.get_frontal_face_detector()
        self._predictor = library.shape_predictor(str(dlib_model("shape_predictor_68_face_landmarks.dat")))

    def finds(self, image_rgb: ImageRGB, box_xyxy: FloatArray) -> bool:
        """Return whether the detector finds a face at a box, after the image is scaled to the size that it detects."""
        x0, y0, x1, y1 = box_xyxy
        scale, half = _WITNESS_FACE_PX / max(x1 - x0, y1 - y0), _WITNESS_VIEW_PX / 2
        matrix = np.array([[scale, 0, half - (x0 + x1) / 2 * scale], [0, scale, half - (y0 + y1) / 2 * scale]])
        flags, size = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR, (_WITNESS_VIEW_PX, _WITNESS_VIEW_PX)
        view = cv2.warpAffine(image_rgb, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        centres = [rectangle.center() for rectangle in self._detector(np.ascontiguousarray(view, np.uint8), 0)]
        return any(max(abs(c.x - half), abs(c.y - half)) < _WITNESS_VIEW_PX / 5 for c in centres)

    def landmarks(self, image_rgb: ImageRGB, box_xyxy: FloatArray) -> FloatArray:
        """Return the landmarks of the face in a box, (68, 2) pixels of the image."""
        x0, y0, x1, y1 = (float(v) for v in box_xyxy)
        side, cx, cy = (x1 - x0 + y1 - y0) / 2, (x0 + x1) / 2, (y0 + y1) / 2 + 0.05 * (y1 - y0)
        corners = [round(v) for v in (cx - side / 2, cy - side / 2, cx + side / 2, cy + side / 2)]
        shape = self._predictor(np.ascontiguousarray(image_rgb), self._rectangle(*corners))
        return np.array([(part.x, part.y) for part in shape.parts()], np.float32)


def fill(shape: tuple[int, int], polygon: FloatArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return the mask of the convex hull of a polygon, (k, 2) pixels, as bool of the given shape."""
    inside = np.zeros(shape, np.uint8)
    points = np.clip(polygon, -1e4, 1e4).round().astype(np.int32)
    cv2.fillConvexPoly(inside, cv2.convexHull(points), 1)
    return inside > 0


def _photo_features(image_rgb: ImageRGB) -> FloatArray:
    """Return the colours of a photo in 12 x 12 cells as a vector, (432,), of unit length."""
    size = (_PHOTO_SIDE, _PHOTO_SIDE)
    small = np.asarray(cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA), np.float32)
    flat = (small - small.mean()).reshape(-1)
    return flat / max(float(np.linalg.norm(flat)), 1e-6)
