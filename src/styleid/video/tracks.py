"""Tracks without gaps: detected boxes, boxes filled in between, and boxes beyond both ends until the face is gone.

Convention
----------
Boxes are (x0, y0, x1, y1) and landmarks (x, y), in pixels of the frame. Places are positions within a track, from 0.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from styleid.faces.follow import ACROSS_CUTS, SEEN_FROM, Look, fill_gap, follow, hermite, is_inside
from styleid.faces.smooth import smooth
from styleid.faces.track import overlap
from styleid.media.video.clip import Clip
from styleid.pixel.obscure import Obscuring
from styleid.types import ImageRGB
from styleid.video.scan import Scan, Watch

_FOLLOW_SIDE_PX = 1280
"""Longest side of the grey frames in which faces are followed."""
_FOLLOW_S = 2.0
"""Longest extension of a track at each end, seconds."""
_LEAST_ENDS = 3
"""Number of frames by which a track is extended even if the face is not found there."""
_BLINK, _SURE_AGAIN = 3, 0.6
"""Number of frames without the face after which a higher correlation is required to find it again, and that value."""
_MOST_UNSEEN_S = 1.0
"""Time without the face after which the extension ends, seconds."""
_SAME_FACE = 0.5
"""Overlap above which two boxes show the same face."""
_SHORT_GAP = 2
"""Longest gap, in frames, that is interpolated without looking at the frames."""
_LOOK_FRAMES = 10
"""Number of frames next to a stretch among which the patch to search for is chosen."""
_TRUST_UNSURE, _TRUST_FILLED = 0.6, 0.25
"""Trust in low-score detections and in filled-in boxes."""
_SMOOTH_FRAMES = 2.0
"""Standard deviation of the temporal smoothing, in frames."""
_NOTHING = np.zeros((0, 0), np.uint8)


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
        return self.trust > _TRUST_FILLED

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
        trust = np.full(count, _TRUST_FILLED, np.float32)
        boxes[at], points[at] = c.boxes_xyxy[which], c.landmarks_px[which]
        sure = 0.7 + 0.3 * c.scores[which]
        trust[at] = np.where(c.scores[which] >= sure_from, sure, _TRUST_UNSURE)
        tracks.append(Track(first, boxes, points, trust))
    return tracks


def complete(clip: Clip, scan: Scan, tracks: Sequence[Track], watch: Watch | None = None) -> list[Track]:
    """Fill the gaps of tracks, and extend both ends until the face is gone.

    Reads the clip once. Only a window of reduced grey frames is in memory.

    Args:
        clip: The clip.
        scan: Its scan.
        tracks: Tracks from `tracks_of`.
        watch: Called with the stage, the number of finished frames, and their total.

    Returns:
        Tracks without gaps, in the same order.

    Raises:
        VideoError: If a frame cannot be read.
    """
    if not tracks:
        return []
    ahead = max(_LEAST_ENDS, round(_FOLLOW_S * float(clip.info.rate)))
    scale = min(1.0, _FOLLOW_SIDE_PX / max(clip.info.width, clip.info.height))
    work = _plan(tracks, ahead, scan.frames)
    needed = _needed(work, tracks)
    window: deque[UInt8[np.ndarray, "h w"]] = deque(maxlen=ahead + 2 * _LOOK_FRAMES + 4)
    done: dict[tuple[int, str, int], Float[np.ndarray, "n 4"]] = {}
    rivals = _Rivals(tracks)
    for frame in clip.frames() if needed else ():
        window.append(_small_grey(frame.image_rgb, scale) if frame.index in needed else _NOTHING)
        start = frame.index - len(window) + 1
        for job in work.pop(frame.index, ()):
            pictures = [window[i - start] for i in range(job.begin, job.end + 1)]
            track = tracks[job.track]
            looks = [(window[track.first + at - start], _to(track.boxes_xyxy[at], scale)) for at in _looks(track, job)]
            if job.kind == "gap":
                done[job.key] = _filled(track, job, pictures, scale, looks)
            else:
                done[job.key] = _prolonged(
                    track, job, pictures, looks[0], scale=scale, scan=scan, rivals=rivals, clip=clip
                )
        if watch is not None:
            watch("following faces", frame.index + 1, scan.frames)
    return [_closed(index, track, done) for index, track in enumerate(tracks)]


@dataclass(frozen=True)
class _Job:
    """A stretch of frames through which a track is followed.

    Attributes:
        track: Index of the track.
        kind: "gap", "before" for the frames before the track, or "after" for those after it.
        begin: First frame.
        end: Last frame.
    """

    track: int
    kind: str
    begin: int
    end: int

    @property
    def key(self) -> tuple[int, str, int]:
        return self.track, self.kind, self.begin if self.kind == "gap" else 0


class _Rivals:
    """The detected boxes of all tracks, by frame."""

    def __init__(self, tracks: Sequence[Track]) -> None:
        self._boxes: dict[int, list[tuple[int, Float[np.ndarray, " 4"]]]] = defaultdict(list)
        for index, track in enumerate(tracks):
            for at in np.nonzero(track.seen)[0]:
                self._boxes[track.first + int(at)].append((index, track.boxes_xyxy[at]))
        self._tracks = tracks

    def holds(self, frame: int, box: Float[np.ndarray, " 4"], but: Track) -> bool:
        """Return whether a box overlaps a detection of a track other than `but` in a frame."""
        others = [b for index, b in self._boxes.get(frame, ()) if self._tracks[index] is not but]
        return bool(others) and float(overlap(box[None], np.stack(others)).max()) > _SAME_FACE


def _plan(tracks: Sequence[Track], ahead: int, frames: int) -> dict[int, list[_Job]]:
    """Return the jobs by the frame after which all frames that they need have been read."""
    work: dict[int, list[_Job]] = defaultdict(list)
    for index, track in enumerate(tracks):
        known = np.nonzero(np.isfinite(track.boxes_xyxy[:, 0]))[0] + track.first
        for a, b in zip(known[:-1].tolist(), known[1:].tolist(), strict=True):
            if b - a > 1:
                work[min(b + _LOOK_FRAMES, track.last)].append(_Job(index, "gap", a, b))
        if track.first > 0:
            ready = min(track.first + _LOOK_FRAMES, track.last)
            work[ready].append(_Job(index, "before", max(track.first - ahead, 0), track.first))
        if track.last < frames - 1:
            last = min(track.last + ahead, frames - 1)
            work[last].append(_Job(index, "after", track.last, last))
    return work


def _needed(work: dict[int, list[_Job]], tracks: Sequence[Track]) -> set[int]:
    """Return the frames that any job reads."""
    needed: set[int] = set()
    for job in (job for jobs in work.values() for job in jobs):
        needed.update(range(job.begin, job.end + 1))
        needed.update(tracks[job.track].first + at for at in _looks(tracks[job.track], job))
    return needed


def _looks(track: Track, job: _Job) -> list[int]:
    """Return the places with the highest trust near a stretch, from which the patches to search for are cut.

    Returns:
        For a gap, one place before it and one after it; otherwise, one place on the track's side.
    """
    begin, end = job.begin - track.first, job.end - track.first
    if job.kind == "before":
        return [track.best(end, end + _LOOK_FRAMES)]
    before = track.best(begin - _LOOK_FRAMES, begin)
    return [before] if job.kind == "after" else [before, track.best(end, end + _LOOK_FRAMES)]


def _filled(
    track: Track, job: _Job, pictures: list[UInt8[np.ndarray, "h w"]], scale: float, looks: Sequence[Look]
) -> Float[np.ndarray, "m 4"]:
    a, b = job.begin - track.first, job.end - track.first
    before, after = track.boxes_xyxy[a], track.boxes_xyxy[b]
    speeds = track.speed(a), track.speed(b)
    if b - a - 1 <= _SHORT_GAP:
        return hermite(before, after, np.tile(speeds[0], 2), np.tile(speeds[1], 2), b - a - 1)
    small = fill_gap(
        pictures, _to(before, scale), _to(after, scale), (speeds[0] * scale, speeds[1] * scale), (looks[0], looks[1])
    )
    return _back(small, scale)


def _prolonged(
    track: Track,
    job: _Job,
    pictures: list[UInt8[np.ndarray, "h w"]],
    look: Look,
    *,
    scale: float,
    scan: Scan,
    rivals: _Rivals,
    clip: Clip,
) -> Float[np.ndarray, "m 4"]:
    """Return the boxes beyond one end of a track, (m, 4), outwards, until the face is gone."""
    back = job.kind == "before"
    at = 0 if back else len(track) - 1
    speed = track.speed(at) * (-1 if back else 1)
    ordered = list(reversed(pictures)) if back else pictures
    boxes, scores = follow(ordered, _to(track.boxes_xyxy[at], scale), speed * scale, look)
    boxes = _back(boxes, scale)
    kept = unseen = 0
    cuts = set(scan.cuts)
    for i, (box, score) in enumerate(zip(boxes, scores, strict=True)):
        frame = track.first - 1 - i if back else track.last + 1 + i
        crossing = (frame + 1 if back else frame) in cuts
        if (
            (crossing and score < ACROSS_CUTS)
            or rivals.holds(frame, box, track)
            or not is_inside(box, clip.info.width, clip.info.height)
        ):
            break
        if unseen > round(_MOST_UNSEEN_S * float(clip.info.rate)):
            break
        there = score >= (SEEN_FROM if unseen <= _BLINK else _SURE_AGAIN)
        unseen = 0 if there else unseen + 1
        if there or i < _LEAST_ENDS:
            kept = i + 1
    return boxes[:kept]


def _closed(index: int, track: Track, done: dict[tuple[int, str, int], Float[np.ndarray, "n 4"]]) -> Track:
    boxes = track.boxes_xyxy.copy()
    for (owner, kind, begin), made in done.items():
        if owner == index and kind == "gap":
            boxes[begin - track.first + 1 : begin - track.first + 1 + len(made)] = made
    before = done.get((index, "before", 0), np.zeros((0, 4), np.float32))[::-1]
    after = done.get((index, "after", 0), np.zeros((0, 4), np.float32))
    boxes = np.concatenate([before, boxes, after]).astype(np.float32)
    around = [(len(before), len(after))]
    points = np.pad(track.landmarks_px, [*around, (0, 0), (0, 0)], constant_values=np.nan)
    trust = np.pad(track.trust, around, constant_values=_TRUST_FILLED)
    points = carried(boxes, points)
    return Track(track.first - len(before), boxes, points, trust, track.number, track.person)


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


def _small_grey(image_rgb: ImageRGB, scale: float) -> UInt8[np.ndarray, "h w"]:
    grey = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)
    return grey if scale == 1 else cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _to(box: Float[np.ndarray, " 4"], scale: float) -> Float[np.ndarray, " 4"]:
    return ((box + 0.5) * scale - 0.5).astype(np.float32)


def _back(boxes: Float[np.ndarray, "n 4"], scale: float) -> Float[np.ndarray, "n 4"]:
    return ((boxes + 0.5) / scale - 0.5).astype(np.float32)
