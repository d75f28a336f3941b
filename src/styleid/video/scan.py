"""Go through a clip and note all that the detector sees, where shots begin, and when each frame is shown."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from jaxtyping import Float, Int

from styleid.bundles.bundle import Bundle
from styleid.faces.detect import FaceDetector, suppress_overlaps
from styleid.faces.track import Candidates, overlap
from styleid.media.video.clip import Clip, ClipFrame
from styleid.types import Faces, ImageRGB
from styleid.video.ahead import ONE_BY_ONE, FramePool
from styleid.video.store import Workspace

_THUMB = (32, 18)
_CUT_FROM = 26.0
_CUT_OVER_USUAL = 3.5
_USUAL_FRAMES = 12
_KEY_EVERY_S = 0.2
_MOVED = 12.0
_SAME, _NEAR = 0.3, 1.0

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
    pool: FramePool = ONE_BY_ONE,
) -> Scan:
    """Detect in every frame; where there is a bundle, sure faces of some frames also get an embedding.

    A `FaceDetector` glances at every frame and looks closer at key frames, see `Looks`; any other detector is asked
    once for every frame, in order.
    """
    found: list[Faces] = []
    frames: list[Int[np.ndarray, " k"]] = []
    times: list[tuple[float, float]] = []
    cuts: list[int] = []
    width = bundle.embed(np.zeros((1, *[bundle.spec.identity_crop.size_px] * 2, 3), np.uint8)).shape[1] if bundle else 0
    looks = Looks(detector, sure_from, float(clip.info.rate), bundle if width else None, width)
    with space.growing("embeddings", width) as embeddings:
        for look in looks.at(clip.frames(), pool):
            faces = look.found.result()
            if width:
                embeddings.add(look.embeddings)
            found.append(faces)
            frames.append(np.full(len(faces), look.frame.index))
            times.append((look.frame.time_s, look.frame.duration_s))
            if look.cut:
                cuts.append(look.frame.index)
            if watch is not None:
                watch("finding faces", look.frame.index + 1, clip.info.frames)
        every = Faces.concatenate(found)
        known = embeddings.rows() if width else np.zeros((len(every), 0), np.float32)
    clock = np.array(times, np.float64).reshape(-1, 2)
    numbers = np.concatenate(frames) if frames else np.zeros(0, int)
    candidates = Candidates(numbers.astype(int), every.boxes_xyxy, every.scores, every.landmarks_px, known)
    return Scan(candidates, clock[:, 0], clock[:, 1], tuple(cuts))


@dataclass(eq=False)
class Look:
    """One frame as it is looked at.

    glanced: what a glance showed. thumb: a small picture of it. views: further pictures of it and their sizes, see
    `ClipFrame.further_views`. cut: whether it begins a shot. key: whether all of it is looked at closely. near: else
    what the last key frame showed. found: all of its faces. embeddings: (n, width), of the sure ones of some frames.
    """

    frame: ClipFrame
    glanced: Faces
    thumb: ImageRGB
    views: list[tuple[ImageRGB, float]]
    cut: bool = False
    key: bool = True
    near: Future[Faces] | None = None
    found: Future[Faces] = field(default_factory=Future[Faces])
    embeddings: Float[np.ndarray, "n width"] = field(default_factory=lambda: np.zeros((0, 0), np.float32))


class Looks:
    """Look at a clip's frames: at each as a whole, and at key frames closely enough for small faces.

    Between key frames, small faces are looked for about where the last key frame showed them. Key frames are the first
    of every fifth of a second, the first of a shot, those in which the picture changes much, a sure face comes or goes,
    and those that are shown in further ways. Sure faces of key frames, and of frames in which two of them lie near each
    other, get an embedding, which says which of them is whose track.
    """

    def __init__(
        self, detector: Detector, sure_from: float, rate: float, bundle: Bundle | None = None, width: int = 0
    ) -> None:
        self._detector, self._sure_from, self._bundle, self._width = detector, sure_from, bundle, width
        self._every = max(1, round(_KEY_EVERY_S * rate))

    def at(self, frames: Iterable[ClipFrame], pool: FramePool) -> Iterator[Look]:
        """Yield a look at each frame, in order."""
        if isinstance(self._detector, FaceDetector):
            glances = pool.in_order(self._glance, frames)
        else:
            glances = map(self._glance, frames)
        yield from pool.in_order(self._finish, self._planned(glances))

    def _glance(self, frame: ClipFrame) -> Look:
        image, detector = frame.image_rgb, self._detector
        faces = detector.glance(image) if isinstance(detector, FaceDetector) else detector.detect(image)
        return Look(frame, faces, thumbnail(image), frame.further_views())

    def _planned(self, looks: Iterable[Look]) -> Iterator[Look]:
        """Say which frames are cuts and key frames."""
        shots, before, key = CutFinder(), Faces.empty(), None
        for look in looks:
            look.cut = shots.is_cut(look.thumb)
            old = key is None or look.frame.index - key.frame.index >= self._every
            look.key = (
                old or look.cut or shots.change > _MOVED or bool(look.views) or self._differ(before, look.glanced)
            )
            if look.key:
                key = look
            else:
                assert key is not None
                look.near = key.found
            before = look.glanced
            yield look

    def _differ(self, one: Faces, other: Faces) -> bool:
        """Say whether a sure face of one of two frames is not even an unsure one of the other: it came or went."""
        alike = overlap(one.boxes_xyxy, other.boxes_xyxy) > _SAME
        gone = (one.scores >= self._sure_from) & ~alike.any(1)
        come = (other.scores >= self._sure_from) & ~alike.any(0)
        return bool(gone.any() or come.any())

    def _finish(self, look: Look) -> Look:
        try:
            look.found.set_result(self._closer(look))
        except BaseException as error:
            look.found.set_exception(error)
            raise
        if self._bundle is not None:
            look.embeddings = self._embed(look, self._bundle)
        return look

    def _closer(self, look: Look) -> Faces:
        image, detector = look.frame.image_rgb, self._detector
        if not isinstance(detector, FaceDetector):
            return self._in_all_views(look, look.glanced)
        if look.near is None:
            return self._in_all_views(look, detector.look_closer(image, look.glanced))
        known = look.near.result()
        shown = overlap(known.boxes_xyxy, look.glanced.boxes_xyxy).max(1, initial=0) > _SAME
        return detector.look_closer(image, look.glanced, known[~shown])

    def _in_all_views(self, look: Look, faces: Faces) -> Faces:
        """Return the faces that a person may see in a frame, however it is shown."""
        more = [self._detector.detect(image).moved(1 / scale, (0.0, 0.0)) for image, scale in look.views]
        return suppress_overlaps(Faces.concatenate([faces, *more])) if more else faces

    def _embed(self, look: Look, bundle: Bundle) -> Float[np.ndarray, "n width"]:
        faces = look.found.result()
        rows = np.full((len(faces), self._width), np.nan, np.float32)
        which = np.nonzero(faces.scores >= self._sure_from)[0]
        if len(which) and (look.key or _near_each_other(faces.boxes_xyxy[which])):
            template = bundle.spec.identity_crop
            crops = [template.crop(look.frame.image_rgb, template.matrix(faces.landmarks_px[i])) for i in which]
            rows[which] = bundle.embed(np.stack(crops))
        return rows


def _near_each_other(boxes: Float[np.ndarray, "n 4"]) -> bool:
    """Say whether any two of some boxes are so near that one could be taken for the other in the next frame."""
    reach = (boxes[:, 2:] - boxes[:, :2]) * _NEAR / 2
    grown = np.concatenate([boxes[:, :2] - reach, boxes[:, 2:] + reach], 1)
    return bool((overlap(grown, grown) > 0).sum() > len(boxes))


def thumbnail(image_rgb: ImageRGB) -> ImageRGB:
    """Return a small picture of an image, which tells how much changes; that of a thumbnail is itself."""
    return np.asarray(cv2.resize(image_rgb, _THUMB, interpolation=cv2.INTER_AREA), np.uint8)


class CutFinder:
    """Tell where a shot ends: most of the picture changes, and far more than it has been changing.

    change: by how many grey levels the last picture differed from the one before, on average.
    """

    def __init__(self) -> None:
        self.change = 0.0
        self._before: Float[np.ndarray, "h w 3"] | None = None
        self._usual: deque[float] = deque(maxlen=_USUAL_FRAMES)

    def is_cut(self, image_rgb: ImageRGB) -> bool:
        """Say whether this frame begins a new shot."""
        thumb = thumbnail(image_rgb).astype(np.float32)
        before, self._before = self._before, thumb
        if before is None:
            return False
        self.change = change = float(np.abs(thumb - before).mean())
        usual = float(np.median(self._usual)) if self._usual else 0.0
        self._usual.append(change)
        return change > _CUT_FROM and change > _CUT_OVER_USUAL * usual
