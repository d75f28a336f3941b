"""The first pass over a clip: detect faces, find cuts, and note the time of each frame."""

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
from styleid.video.ahead import FramePool
from styleid.video.store import Workspace

_THUMB = (32, 18)
"""Size of the thumbnails that are compared, (width, height), pixels."""
_THUMB_FROM_PX = 640
"""Longer side of the pixels that are averaged to a thumbnail."""
_CUT_FROM = 26.0
"""Mean difference of two thumbnails above which there may be a cut, grey levels."""
_CUT_OVER_USUAL = 3.5
"""Least ratio of the difference at a cut to the median difference before it."""
_USUAL_FRAMES = 12
"""Number of differences in the median."""
_KEY_EVERY_S = 0.2
"""Longest time from one key frame to the next, seconds."""
_MOVED = 12.0
"""Mean difference of two thumbnails above which a frame is a key frame, grey levels."""
_SAME, _NEAR = 0.3, 1.0
"""Overlap above which two detections show the same face, and enlargement of boxes, as a share of their size, at which
faces that overlap count as close to each other."""
_SMALL = 0.05
"""Size of a face below which a look at the whole picture may miss it, as a share of the picture's longer side: 32 px of
the 640 that the detector sees."""

Watch = Callable[[str, int, int], None]
"""Called with the name of the stage, the number of finished items, and their total."""


class LookEngine(Protocol):
    """Runs the first pass; see `styleid.video.segments.Engine`."""

    def looks(self, clip: Clip, looks: Looks) -> Iterator[Look]:
        """Yield the result for each frame of a clip, in order."""
        ...


class Detector(Protocol):
    """A face detector that also returns low-score faces."""

    def detect(self, image_rgb: ImageRGB) -> Faces:
        """Return the faces of an image, uint8 (h, w, 3)."""
        ...


@dataclass(frozen=True)
class Scan:
    """Result of the first pass.

    Attributes:
        candidates: All detections, in the order of frames.
        times_s: Time of each frame, (frames,), seconds.
        durations_s: Duration of each frame, (frames,), seconds.
        cuts: First frame of each shot except the first shot.
    """

    candidates: Candidates
    times_s: Float[np.ndarray, " frames"]
    durations_s: Float[np.ndarray, " frames"]
    cuts: tuple[int, ...]

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.times_s)


def scan(
    clip: Clip,
    detector: Detector,
    bundle: Bundle | None,
    sure_from: float,
    space: Workspace,
    engine: LookEngine,
    watch: Watch | None = None,
) -> Scan:
    """Detect the faces of every frame, and find cuts.

    Confident faces of some frames also get an embedding; see `Looks`. A detector other than `FaceDetector` is called
    once per view of each frame.

    Args:
        clip: The clip.
        detector: Finds faces, including low-score ones.
        bundle: Embeds faces; None for no embeddings.
        sure_from: Score from which a detection is confident.
        space: Stores the embeddings.
        engine: Detects and embeds.
        watch: Called with the stage, the number of finished frames, and their total.

    Raises:
        VideoError: If a frame cannot be read.
        OutputError: If the embeddings cannot be stored.
    """
    found: list[Faces] = []
    frames: list[Int[np.ndarray, " k"]] = []
    times: list[tuple[float, float]] = []
    cuts: list[int] = []
    width = bundle.embed(np.zeros((1, *[bundle.spec.identity_crop.size_px] * 2, 3), np.uint8)).shape[1] if bundle else 0
    looks = Looks(detector, sure_from, float(clip.info.rate), bundle if width else None, width)
    with space.growing("embeddings", width) as embeddings:
        for look in engine.looks(clip, looks):
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
    """One frame during the first pass.

    Attributes:
        frame: The frame.
        glanced: Faces that were found in the whole frame at once.
        thumb: Its thumbnail.
        has_views: Whether the frame has other views; see `ClipFrame.further_views`.
        cut: Whether it begins a shot.
        key: Whether it is a key frame, which is searched for small faces everywhere.
        near: Faces of the last key frame, around which other frames are searched for small faces; None for a key frame.
        found: All faces of the frame.
        embeddings: Their unit embeddings, (n, width), NaN for faces without one.
    """

    frame: ClipFrame
    glanced: Faces
    thumb: ImageRGB
    has_views: bool = False
    cut: bool = False
    key: bool = True
    near: Future[Faces] | None = None
    found: Future[Faces] = field(default_factory=Future[Faces])
    embeddings: Float[np.ndarray, "n width"] = field(default_factory=lambda: np.zeros((0, 0), np.float32))


class Looks:
    """Detects faces in the frames of a clip, and embeds some of them.

    Every frame is searched as a whole. Key frames are also searched for small faces everywhere, and the other frames
    around the faces of the last key frame that do not show in the whole frame, if they are small or confident. A frame
    is a key frame if

    - 0.2 seconds have passed since the last key frame,
    - it begins a shot or differs much from the frame before,
    - a confident face appears or disappears, or
    - it has other views.

    Confident faces get an embedding in key frames, and in frames in which some of them are close to each other, because
    there the embeddings decide which face belongs to which track.

    Attributes:
        detector: Finds faces, including low-score ones.
        sure_from: Score from which a detection is confident.
        rate: Frames per second.
        bundle: Embeds faces; None for no embeddings.
        width: Length of an embedding.
    """

    def __init__(
        self, detector: Detector, sure_from: float, rate: float, bundle: Bundle | None = None, width: int = 0
    ) -> None:
        """Prepare to detect.

        Args:
            detector: Finds faces, including low-score ones.
            sure_from: Score from which a detection is confident.
            rate: Frames per second.
            bundle: Embeds faces; None for no embeddings.
            width: Length of an embedding.
        """
        self.detector, self.sure_from, self.rate, self.bundle, self.width = detector, sure_from, rate, bundle, width
        self._every = max(1, round(_KEY_EVERY_S * rate))

    def at(self, frames: Iterable[ClipFrame], pool: FramePool) -> Iterator[Look]:
        """Yield the result for each frame, in order.

        Args:
            frames: The frames of a clip, from the first.
            pool: Runs the work on frames.
        """
        if isinstance(self.detector, FaceDetector):
            glances = pool.in_order(self.glance, frames)
        else:
            glances = map(self.glance, frames)
        yield from pool.in_order(self.finish, self.planned(glances))

    def glance(self, frame: ClipFrame) -> Look:
        """Search a frame as a whole."""
        image, detector = frame.image_rgb, self.detector
        faces = detector.glance(image) if isinstance(detector, FaceDetector) else detector.detect(image)
        return Look(frame, faces, thumbnail(image), bool(frame.further_views()))

    def planned(self, looks: Iterable[Look]) -> Iterator[Look]:
        """Decide which frames are cuts and key frames, and yield the same looks."""
        shots, before, key = CutFinder(), Faces.empty(), None
        for look in looks:
            look.cut, glanced = shots.is_cut(look.thumb), self._not_faint(look.glanced)
            old = key is None or look.frame.index - key.frame.index >= self._every
            look.key = old or look.cut or shots.change > _MOVED or look.has_views or self._differ(before, glanced)
            if look.key:
                key = look
            else:
                assert key is not None
                look.near = key.found
            before = glanced
            yield look

    def _differ(self, one: Faces, other: Faces) -> bool:
        """Return whether a confident face of one frame matches no face of the other, not even a low-score one."""
        alike = overlap(one.boxes_xyxy, other.boxes_xyxy) > _SAME
        gone = (one.scores >= self.sure_from) & ~alike.any(1)
        come = (other.scores >= self.sure_from) & ~alike.any(0)
        return bool(gone.any() or come.any())

    def finish(self, look: Look) -> Look:
        """Search a frame for small faces, and embed its faces. The key frame before it must have been given before."""
        try:
            look.found.set_result(self._closer(look))
        except BaseException as error:
            look.found.set_exception(error)
            raise
        if self.bundle is not None:
            look.embeddings = self._embed(look, self.bundle)
        return look

    def _closer(self, look: Look) -> Faces:
        image, detector = look.frame.image_rgb, self.detector
        if not isinstance(detector, FaceDetector):
            return self._in_all_views(look, look.glanced)
        if look.near is None:
            return self._in_all_views(look, detector.look_closer(image, look.glanced))
        known = look.near.result()
        shown = overlap(known.boxes_xyxy, self._not_faint(look.glanced).boxes_xyxy).max(1, initial=0) > _SAME
        missed = known.min_sides_px < _SMALL * max(image.shape[:2])
        return detector.look_closer(image, look.glanced, known[~shown & (missed | (known.scores >= self.sure_from))])

    def _not_faint(self, glanced: Faces) -> Faces:
        """Return the faces of a glance without those below the detector's threshold."""
        if not isinstance(self.detector, FaceDetector):
            return glanced
        return glanced[glanced.scores > self.detector.options.threshold]

    def _in_all_views(self, look: Look, faces: Faces) -> Faces:
        """Return faces together with those found in the other views of the frame."""
        views = look.frame.further_views() if look.has_views else []
        more = [self.detector.detect(image).moved(1 / scale, (0.0, 0.0)) for image, scale in views]
        return suppress_overlaps(Faces.concatenate([faces, *more])) if more else faces

    def _embed(self, look: Look, bundle: Bundle) -> Float[np.ndarray, "n width"]:
        faces = look.found.result()
        rows = np.full((len(faces), self.width), np.nan, np.float32)
        which = np.nonzero(faces.scores >= self.sure_from)[0]
        if len(which) and (look.key or _near_each_other(faces.boxes_xyxy[which])):
            template = bundle.spec.identity_crop
            crops = [template.crop(look.frame.image_rgb, template.matrix(faces.landmarks_px[i])) for i in which]
            rows[which] = bundle.embed(np.stack(crops))
        return rows


def _near_each_other(boxes: Float[np.ndarray, "n 4"]) -> bool:
    """Return whether any two faces are so close that one could be mistaken for the other in the next frame."""
    reach = (boxes[:, 2:] - boxes[:, :2]) * _NEAR / 2
    grown = np.concatenate([boxes[:, :2] - reach, boxes[:, 2:] + reach], 1)
    return bool((overlap(grown, grown) > 0).sum() > len(boxes))


def thumbnail(image_rgb: ImageRGB) -> ImageRGB:
    """Return a thumbnail of an image, uint8 (18, 32, 3); a thumbnail stays unchanged.

    It is averaged over at least 640 columns or rows of a large image, which suffices and is faster.
    """
    step = max(1, max(image_rgb.shape[:2]) // _THUMB_FROM_PX)
    return np.asarray(cv2.resize(image_rgb[::step, ::step], _THUMB, interpolation=cv2.INTER_AREA), np.uint8)


class CutFinder:
    """Finds cuts: most of the picture changes, and much more than in the frames before.

    Attributes:
        change: Mean difference of the last two frames, grey levels.
    """

    def __init__(self) -> None:
        self.change = 0.0
        self._before: Float[np.ndarray, "h w 3"] | None = None
        self._usual: deque[float] = deque(maxlen=_USUAL_FRAMES)

    def is_cut(self, image_rgb: ImageRGB) -> bool:
        """Return whether the next frame, an image or its thumbnail, begins a new shot."""
        thumb = thumbnail(image_rgb).astype(np.float32)
        before, self._before = self._before, thumb
        if before is None:
            return False
        self.change = change = float(np.abs(thumb - before).mean())
        usual = float(np.median(self._usual)) if self._usual else 0.0
        self._usual.append(change)
        return change > _CUT_FROM and change > _CUT_OVER_USUAL * usual
