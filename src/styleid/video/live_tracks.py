"""Follow faces from picture to picture without looking ahead.

As in a clip (`faces/track.py`), confident detections begin and continue tracks, and low-score detections mostly
continue them. A face that is not detected is followed by its appearance. It stays covered for a while after it is lost.

Convention
----------
Boxes and landmarks are in pixels of the picture. Grey pictures are smaller by the factor `LiveTracks.scale`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from styleid.faces.follow import ACROSS_CUTS, SEEN_FROM, Look, follow, is_inside
from styleid.faces.smooth import smooth
from styleid.faces.track import assignment, overlap
from styleid.types import Faces, FloatArray, ImageRGB

Grey = UInt8[np.ndarray, "_ _"]
"""Reduced grey picture, uint8 (h, w)."""

_GREY_SIDE_PX = 640
"""Longest side of grey pictures."""
_LEAST_OVERLAP, _WEAK_OVERLAP, _SAME_FACE = 0.05, 0.3, 0.5
"""Overlaps from which a confident detection (with enlarged boxes) and above which a low-score one continue a track, and
above which two boxes show the same face."""
_SIZE_RATIO = 2.2
"""Largest ratio of the sides of two consecutive boxes of a track."""
_MAY_BE, _NEAR_SIDES = 0.5, 2.0
"""Least score of a low-score detection that may begin a track, as a share of the threshold, and its largest distance
from a track that is not detected, in sides of the larger box."""
_LOST_S, _FOLLOW_S = 1.0, 2.0
"""Time after a face was last found, and after it was last detected, at which its track ends, seconds."""
_GROWTH = 0.2
"""Enlargement of the covering box per picture without the face, as a share of its size; at most 1 in total."""
_BACK_UNSEEN = 2
"""Number of consecutive pictures without the face after which a track is not followed backwards any further."""
_SIGMA_S = 0.08
"""Standard deviation of the temporal smoothing, seconds."""
_HISTORY = 8
"""Number of detections that are smoothed."""


@dataclass
class LiveTrack:
    """One face.

    Attributes:
        number: Number of the track, from 1.
        box_xyxy: Its box, (4,).
        landmarks_px: Five landmarks, (5, 2), NaN if unknown.
        time_s: Time of the box, seconds.
        look: Grey picture and box of the last detection, from which the patch to search for is cut.
        speed: Its motion, (2,), pixels per second.
        seen_s: Time of the last detection.
        found_s: Time at which it was last detected or followed.
        lost: Number of pictures since then.
        places: Times of the last consecutive detections, and their boxes and landmarks as one array, (14,).
    """

    number: int
    box_xyxy: Float[np.ndarray, " 4"]
    landmarks_px: Float[np.ndarray, "5 2"]
    time_s: float
    look: Look
    speed: Float[np.ndarray, " 2"] = field(default_factory=lambda: np.zeros(2, np.float32))
    seen_s: float = 0.0
    found_s: float = 0.0
    lost: int = 0
    places: deque[tuple[float, FloatArray]] = field(default_factory=lambda: deque(maxlen=_HISTORY))

    @property
    def cover_xyxy(self) -> Float[np.ndarray, " 4"]:
        """The box to obscure, (4,). It grows while the face is not found."""
        more = (self.box_xyxy[2:] - self.box_xyxy[:2]) * min(_GROWTH * self.lost, 1.0) / 2
        return np.concatenate([self.box_xyxy[:2] - more, self.box_xyxy[2:] + more]).astype(np.float32)

    def expected(self, time_s: float) -> Float[np.ndarray, " 4"]:
        """Return the expected box at a time, (4,)."""
        return (self.box_xyxy + np.tile(self.speed, 2) * (time_s - self.time_s)).astype(np.float32)

    def detected(self, face: Faces, time_s: float, look: Look) -> None:
        """Update the track with a detection.

        Box and landmarks are smoothed over the last detections, which adds no delay.

        Args:
            face: The detection, one face.
            time_s: Time of the picture, seconds.
            look: Its grey picture, and the box in it.
        """
        box, since = face.boxes_xyxy[0], max(time_s - self.time_s, 1e-3)
        moved = (box.reshape(2, 2).mean(0) - self.box_xyxy.reshape(2, 2).mean(0)) / since
        self.speed = (moved if not self.places else 0.5 * (self.speed + moved)).astype(np.float32)
        self.places.append((time_s, np.concatenate([box, face.landmarks_px[0].reshape(10)])))
        placed = _latest(self.places)
        self.box_xyxy, self.landmarks_px = placed[:4], placed[4:].reshape(5, 2)
        self.time_s = self.seen_s = self.found_s = time_s
        self.lost, self.look = 0, look

    def followed(self, box: Float[np.ndarray, " 4"], time_s: float, *, found: bool) -> None:
        """Move the track without a detection. The landmarks move with the box.

        Args:
            box: The new box, (4,).
            time_s: Time of the picture, seconds.
            found: Whether the face was found there; otherwise, the box is the expected one.
        """
        size = np.maximum(self.box_xyxy[2:] - self.box_xyxy[:2], 1e-3)
        inside = (self.landmarks_px - self.box_xyxy[:2]) / size
        self.box_xyxy, self.time_s = np.asarray(box, np.float32), time_s
        self.landmarks_px = (inside * (box[2:] - box[:2]) + box[:2]).astype(np.float32)
        self.places.clear()
        self.found_s, self.lost = (time_s, 0) if found else (self.found_s, self.lost + 1)


class LiveTracks:
    """The current tracks.

    Attributes:
        scale: Size of grey pictures, relative to the pictures.
        count: Number of tracks that were begun.
    """

    def __init__(self, width: int, height: int, sure_from: float) -> None:
        """Begin without tracks.

        Args:
            width: Width of the pictures in pixels.
            height: Height of the pictures in pixels.
            sure_from: Score from which a detection is confident and begins a track.
        """
        self._size, self._sure_from = (width, height), sure_from
        self.scale = min(1.0, _GREY_SIDE_PX / max(width, height))
        self._tracks: list[LiveTrack] = []
        self._before: Grey | None = None
        self.count = 0

    def grey(self, image_rgb: ImageRGB) -> Grey:
        """Return the reduced grey copy of a picture, uint8 (h, w, 3)."""
        grey = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)
        if self.scale == 1:
            return grey
        return cv2.resize(grey, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_AREA)

    def update(self, grey: Grey, faces: Faces, time_s: float, *, cut: bool) -> tuple[list[LiveTrack], list[LiveTrack]]:
        """Continue the tracks in the next picture.

        Args:
            grey: Its grey copy.
            faces: Its detections, including low-score ones.
            time_s: Its time, seconds.
            cut: Whether it begins a new shot.

        Returns:
            All tracks in the picture, oldest first, and those that begin or are detected again after they were lost.

        Raises:
            MissingDependencyError: If SciPy is not installed.
        """
        sure = np.nonzero(faces.scores >= self._sure_from)[0]
        unsure = np.nonzero(faces.scores < self._sure_from)[0]
        idle = [] if cut else list(self._tracks)
        met = _pairs(idle, faces, sure, time_s, _near)
        idle = [track for track in idle if not any(track is one for one, _ in met)]
        met += _pairs(idle, faces, unsure, time_s, _bare)
        again = [track for track, _ in met if track.lost]
        for track, row in met:
            track.detected(faces[row], time_s, self._look(grey, faces[row]))
        kept = [track for track, _ in met]
        rest = [track for track in self._tracks if not any(track is one for one in kept)]
        kept += [track for track in rest if self._follow(track, grey, time_s, cut=cut)]
        taken = {row for _, row in met}
        free = [int(row) for row in sure if row not in taken]
        free += [int(row) for row in unsure if row not in taken and self._may_be_lost(faces[int(row)], kept, time_s)]
        begun = [self._begin(grey, faces[row], time_s) for row in free]
        self._tracks = sorted(self._without_doubles(kept, begun) + begun, key=lambda track: track.number)
        self._before = grey
        return self._tracks, begun + again

    def backwards(self, track: LiveTrack, greys: Sequence[Grey]) -> list[Float[np.ndarray, " 4"]]:
        """Return the boxes of a track in earlier pictures, newest first, until the face is not found any more.

        Args:
            track: The track.
            greys: Grey copies of the picture in which it was detected, and of those before it, newest first.
        """
        if len(greys) < 2:
            return []
        boxes, scores = follow(greys, self._small(track.box_xyxy), np.zeros(2, np.float32), track.look)
        kept = unseen = 0
        for i, score in enumerate(scores):
            unseen = 0 if score >= SEEN_FROM else unseen + 1
            if unseen > _BACK_UNSEEN:
                break
            kept = i + 1
        return [self._large(box) for box in boxes[:kept]]

    def _begin(self, grey: Grey, face: Faces, time_s: float) -> LiveTrack:
        self.count += 1
        look = self._look(grey, face)
        track = LiveTrack(self.count, face.boxes_xyxy[0], face.landmarks_px[0], time_s, look)
        track.detected(face, time_s, look)
        track.speed = np.zeros(2, np.float32)
        return track

    def _follow(self, track: LiveTrack, grey: Grey, time_s: float, *, cut: bool) -> bool:
        """Follow a track that was not detected; return whether it continues."""
        assert self._before is not None
        step = track.speed * (time_s - track.time_s) * self.scale
        boxes, scores = follow([self._before, grey], self._small(track.box_xyxy), step, track.look)
        found = bool(scores[0] >= (ACROSS_CUTS if cut else SEEN_FROM))
        track.followed(self._large(boxes[0]) if found else track.expected(time_s), time_s, found=found)
        late = time_s - track.found_s > _LOST_S or time_s - track.seen_s > _FOLLOW_S
        return not late and is_inside(track.box_xyxy, *self._size) and (found or not cut)

    def _may_be_lost(self, face: Faces, tracks: Sequence[LiveTrack], time_s: float) -> bool:
        """Return whether a low-score detection may show the face of a track nearby that is not detected.

        The face may have reappeared while its track follows something else. The detection begins a track of its own,
        and the old track continues for a while, so that both places are covered.
        """
        if face.scores[0] < _MAY_BE * self._sure_from:
            return False
        box = face.boxes_xyxy[0]
        near = [track for track in tracks if track.seen_s < time_s and _apart(track.box_xyxy, box) < _NEAR_SIDES]
        return bool(near) and all(_bare(track, box, time_s) == 0 for track in tracks)

    def _without_doubles(self, kept: Sequence[LiveTrack], begun: Sequence[LiveTrack]) -> list[LiveTrack]:
        """Return the tracks without those that were followed onto a face that another track detected."""
        own = [track for track in [*kept, *begun] if track.seen_s == track.time_s]
        if not own:
            return list(kept)
        boxes = np.stack([track.box_xyxy for track in own])
        return [
            track
            for track in kept
            if track.seen_s == track.time_s or float(overlap(track.box_xyxy[None], boxes).max()) <= _SAME_FACE
        ]

    def _look(self, grey: Grey, face: Faces) -> Look:
        return grey, self._small(face.boxes_xyxy[0])

    def _small(self, box: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 4"]:
        return ((box + 0.5) * self.scale - 0.5).astype(np.float32)

    def _large(self, box: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 4"]:
        return ((box + 0.5) / self.scale - 0.5).astype(np.float32)


def _latest(places: Sequence[tuple[float, FloatArray]]) -> Float[np.ndarray, " k"]:
    times, values = np.array([t for t, _ in places]), np.stack([v for _, v in places])
    return smooth(times, values, np.ones(len(times)), _SIGMA_S)[-1]


def _pairs(
    tracks: Sequence[LiveTrack], faces: Faces, rows: Int[np.ndarray, " r"], time_s: float, worth
) -> list[tuple[LiveTrack, int]]:
    """Return the (track, detection) pairs of the assignment with the largest total value."""
    if not tracks or not len(rows):
        return []
    table = np.array([[worth(track, faces.boxes_xyxy[row], time_s) for row in rows] for track in tracks])
    return [(tracks[t], int(rows[r])) for t, r in zip(*assignment(-table), strict=True) if table[t, r] > 0]


def _near(track: LiveTrack, box: Float[np.ndarray, " 4"], time_s: float) -> float:
    """Return how well a confident detection continues a track, 0 to 1; 0 if it does not."""
    ratio = float((box[2:] - box[:2]).max() / max(float((track.box_xyxy[2:] - track.box_xyxy[:2]).max()), 1e-6))
    if not 1 / _SIZE_RATIO < ratio < _SIZE_RATIO:
        return 0.0
    guesses = np.stack([_wide(track.expected(time_s)), _wide(track.box_xyxy)])
    near = float(overlap(_wide(box)[None], guesses).max())
    return near if near >= _LEAST_OVERLAP else 0.0


def _bare(track: LiveTrack, box: Float[np.ndarray, " 4"], time_s: float) -> float:
    near = float(overlap(box[None], track.expected(time_s)[None])[0, 0])
    return near if near > _WEAK_OVERLAP else 0.0


def _apart(one: Float[np.ndarray, " 4"], other: Float[np.ndarray, " 4"]) -> float:
    """Return the distance of the centres of two boxes, in sides of the larger box."""
    sides = np.stack([one, other]).reshape(2, 2, 2)
    centres, longest = sides.mean(1), max(float(np.ptp(sides, axis=1).max()), 1e-6)
    return float(np.linalg.norm(centres[0] - centres[1])) / longest


def _wide(box: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 4"]:
    side = (box[2:] - box[:2]) * 0.4 / 2
    return np.concatenate([box[:2] - side, box[2:] + side]).astype(np.float32)
