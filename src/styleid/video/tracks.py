"""Tracks without gaps: detected boxes, boxes filled in between, and boxes beyond both ends until the face is gone.

Convention
----------
Boxes are (x0, y0, x1, y1) and landmarks (x, y), in pixels of the frame. Places are positions within a track, from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from styleid.faces.smooth import smooth
from styleid.pixel.obscure import Obscuring
from styleid.video.scan import Scan

_TRUST_UNSURE, TRUST_FILLED = 0.6, 0.25
"""Trust in low-score detections and in filled-in boxes."""
_SMOOTH_FRAMES = 2.3
"""Standard deviation of the temporal smoothing, in frames."""


@dataclass
class Track:
    """One face through consecutive frames.

    Attributes:
        first: Number of its first frame.
        boxes_xyxy: (n, 4).
        landmarks_px: (n, 5, 2), NaN if unknown.
        trust: Reliability of each place, (n,), 0 to 1: at least 0.7 for a confident detection, less for a low-score
            one, least for a filled-in box.
        number: Number shown to people, from 1.
        person: Number of the person, from 0; tracks of the same person share it.
        dropped: Whether somebody marked it as a false alarm, so that nothing is changed.
        kept: Measurements for the journal if the face is kept, otherwise None.
        hide: How somebody decided to obscure it, None without such a decision.
        other: Number of the alternative new face that was requested, 0 for the first.
        decision: The decision about it, as the journal records it.
    """

    first: int
    boxes_xyxy: Float[np.ndarray, "n 4"]
    landmarks_px: Float[np.ndarray, "n 5 2"]
    trust: Float[np.ndarray, " n"]
    number: int = 0
    person: int = 0
    dropped: bool = False
    kept: dict[str, float] | None = None
    hide: Obscuring | None = None
    other: int = 0
    decision: dict[str, Any] = field(default_factory=dict)

    @property
    def left(self) -> bool:
        """Whether the face stays as it is."""
        return self.dropped or self.kept is not None

    @property
    def replaced(self) -> bool:
        """Whether the face is to get a new face."""
        return not self.left and self.hide is None

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    @property
    def last(self) -> int:
        """Number of its last frame."""
        return self.first + len(self) - 1

    @property
    def frames(self) -> range:
        """Numbers of its frames."""
        return range(self.first, self.first + len(self))

    @property
    def seen(self) -> Bool[np.ndarray, " n"]:
        """Places where the face was detected, bool (n,)."""
        return self.trust > TRUST_FILLED

    def best(self, begin: int, end: int) -> int:
        """Return the place with the highest trust between two places, both included."""
        places = np.arange(max(begin, 0), min(end, len(self) - 1) + 1)
        return int(places[self.trust[places].argmax()])

    def speed(self, at: int) -> Float[np.ndarray, " 2"]:
        """Return the motion near a place, (2,), pixels per frame, fitted to the nearest detections."""
        places = np.nonzero(self.seen)[0]
        near = places[np.argsort(np.abs(places - at), kind="stable")[:5]]
        if len(near) < 2:
            return np.zeros(2, np.float32)
        centres = self.boxes_xyxy[near].reshape(-1, 2, 2).mean(1)
        return np.polyfit(near.astype(float), centres.astype(float), 1)[0].astype(np.float32)


def tracks_of(scan: Scan, rows_of_tracks: Sequence[Sequence[int]], sure_from: float) -> list[Track]:
    """Return tracks whose gaps are not filled yet; their boxes and landmarks are NaN there.

    Args:
        scan: The scan.
        rows_of_tracks: For each track, the indices of its detections in the order of time, from `associate`.
        sure_from: Score from which a detection is confident.
    """
    tracks, c = [], scan.candidates
    for rows in rows_of_tracks:
        which = np.array(rows)
        first, last = int(c.frames[which[0]]), int(c.frames[which[-1]])
        count, at = last - first + 1, c.frames[which] - first
        boxes = np.full((count, 4), np.nan, np.float32)
        points = np.full((count, 5, 2), np.nan, np.float32)
        trust = np.full(count, TRUST_FILLED, np.float32)
        boxes[at], points[at] = c.boxes_xyxy[which], c.landmarks_px[which]
        sure = 0.7 + 0.3 * c.scores[which]
        trust[at] = np.where(c.scores[which] >= sure_from, sure, _TRUST_UNSURE)
        tracks.append(Track(first, boxes, points, trust))
    return tracks


def carried(boxes: Float[np.ndarray, "n 4"], points: Float[np.ndarray, "n 5 2"]) -> Float[np.ndarray, "n 5 2"]:
    """Fill in missing landmarks.

    Their positions relative to the box are interpolated between the places before and after that have landmarks.

    Args:
        boxes: (n, 4).
        points: Landmarks, (n, 5, 2), NaN if missing.

    Returns:
        (n, 5, 2); unchanged if all landmarks are missing.
    """
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-3)[:, None]
    inside = (points - boxes[:, None, :2]) / size
    known = np.asarray(np.isfinite(inside).all((1, 2)))
    if not known.any():
        return points
    places, flat = np.arange(len(boxes)), inside.reshape(len(boxes), 10)
    filled = np.stack([np.interp(places, places[known], flat[known, k]) for k in range(10)], 1)
    carried = filled.reshape(-1, 5, 2) * size + boxes[:, None, :2]
    return np.where(known[:, None, None], points, carried).astype(np.float32)


def steadied(track: Track, times_s: Float[np.ndarray, " frames"], rate: float) -> Track:
    """Return a track with its boxes and landmarks smoothed over time.

    Args:
        track: The track.
        times_s: Times of all frames of the clip, (frames,), seconds.
        rate: Frames per second.
    """
    times, sigma = np.asarray(times_s)[list(track.frames)], _SMOOTH_FRAMES / rate
    boxes = smooth(times, track.boxes_xyxy, track.trust, sigma)
    points = smooth(times, track.landmarks_px, track.trust, sigma)
    return Track(track.first, boxes, points, track.trust, track.number, track.person, track.dropped)


def rounded(track: Track) -> Track:
    """Return a track rounded as in tracks.json.

    A run from an exported tracks.json therefore repeats the output exactly.
    """
    return replace(
        track,
        boxes_xyxy=np.round(track.boxes_xyxy.astype(float), 1).astype(np.float32),
        landmarks_px=np.round(track.landmarks_px.astype(float), 1).astype(np.float32),
        trust=np.round(track.trust.astype(float), 2).astype(np.float32),
    )
