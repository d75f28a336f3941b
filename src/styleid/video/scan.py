"""Go through a clip and note all that the detector sees, where shots begin, and when each frame is shown."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from styleid.bundles.bundle import Bundle
from styleid.faces.detect import suppress_overlaps
from styleid.faces.track import Candidates
from styleid.media.video.clip import Clip, ClipFrame
from styleid.types import Faces, ImageRGB
from styleid.video.store import Workspace

_THUMB = (32, 18)
_CUT_FROM = 26.0
_CUT_OVER_USUAL = 3.5
_USUAL_FRAMES = 12

Watch = Callable[[str, int, int], None]


class Detector(Protocol):
    """See faces, unsure ones among them."""

    def detect(self, image_rgb: ImageRGB) -> Faces:
        """Return the faces of an image."""
        ...


@dataclass(frozen=True)
class Scan:
    """What the first look at a clip found. times_s, durations_s: of all frames. cuts: first frames of further shots."""

    candidates: Candidates
    times_s: Float[np.ndarray, " frames"]
    durations_s: Float[np.ndarray, " frames"]
    cuts: tuple[int, ...]

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return len(self.times_s)


def scan(
    clip: Clip,
    detector: Detector,
    bundle: Bundle | None,
    sure_from: float,
    space: Workspace,
    watch: Watch | None = None,
) -> Scan:
    """Detect in every frame; sure faces also get an embedding where there is a bundle."""
    found: list[Faces] = []
    frames: list[Int[np.ndarray, " k"]] = []
    times: list[tuple[float, float]] = []
    cuts: list[int] = []
    width = bundle.embed(np.zeros((1, *[bundle.spec.identity_crop.size_px] * 2, 3), np.uint8)).shape[1] if bundle else 0
    shots = CutFinder()
    with space.growing("embeddings", width) as embeddings:
        for frame in clip.frames():
            image = frame.image_rgb
            faces = _seen(detector, frame)
            if width and bundle:
                embeddings.add(_embed(image, faces, faces.scores >= sure_from, bundle, width))
            found.append(faces)
            frames.append(np.full(len(faces), frame.index))
            times.append((frame.time_s, frame.duration_s))
            if shots.is_cut(image):
                cuts.append(frame.index)
            if watch is not None:
                watch("finding faces", frame.index + 1, clip.info.frames)
        every = Faces.concatenate(found)
        known = embeddings.rows() if width else np.zeros((len(every), 0), np.float32)
    clock = np.array(times, np.float64).reshape(-1, 2)
    numbers = np.concatenate(frames) if frames else np.zeros(0, int)
    candidates = Candidates(numbers.astype(int), every.boxes_xyxy, every.scores, every.landmarks_px, known)
    return Scan(candidates, clock[:, 0], clock[:, 1], tuple(cuts))


def _seen(detector: Detector, frame: ClipFrame) -> Faces:
    """Return the faces that a person may see in a frame, however it is shown."""
    faces, views = detector.detect(frame.image_rgb), frame.further_views()
    more = [detector.detect(image).moved(1 / scale, (0.0, 0.0)) for image, scale in views]
    return suppress_overlaps(Faces.concatenate([faces, *more])) if more else faces


class CutFinder:
    """Tell where a shot ends: most of the picture changes, and far more than it has been changing."""

    def __init__(self) -> None:
        self._before: Float[np.ndarray, "h w 3"] | None = None
        self._usual: deque[float] = deque(maxlen=_USUAL_FRAMES)

    def is_cut(self, image_rgb: ImageRGB) -> bool:
        """Say whether this frame begins a new shot."""
        thumb = cv2.resize(image_rgb, _THUMB, interpolation=cv2.INTER_AREA).astype(np.float32)
        before, self._before = self._before, thumb
        if before is None:
            return False
        change = float(np.abs(thumb - before).mean())
        usual = float(np.median(self._usual)) if self._usual else 0.0
        self._usual.append(change)
        return change > _CUT_FROM and change > _CUT_OVER_USUAL * usual


def _embed(
    image: ImageRGB, faces: Faces, sure: Bool[np.ndarray, " n"], bundle: Bundle, width: int
) -> Float[np.ndarray, "n width"]:
    rows = np.full((len(faces), width), np.nan, np.float32)
    template = bundle.spec.identity_crop
    which = np.nonzero(sure)[0]
    if len(which):
        crops = [template.crop(image, template.matrix(faces.landmarks_px[i])) for i in which]
        rows[which] = bundle.embed(np.stack(crops))
    return rows
