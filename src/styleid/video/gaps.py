"""Fill the gaps of tracks, and extend their ends, by following faces through frames in which they were not detected.

Convention
----------
Boxes are (x0, y0, x1, y1), in pixels of the frame.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from styleid.faces.follow import ACROSS_CUTS, SEEN_FROM, Look, fill_gap, followed, hermite, is_inside
from styleid.faces.track import overlap
from styleid.media.video.clip import Clip, ClipFrame
from styleid.video.ahead import ONE_BY_ONE, FramePool
from styleid.video.scan import Scan, Watch
from styleid.video.tracks import TRUST_FILLED, Track, carried

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
_NOTHING = np.zeros((0, 0), np.uint8)


def complete(
    clip: Clip, scan: Scan, tracks: Sequence[Track], watch: Watch | None = None, pool: FramePool = ONE_BY_ONE
) -> list[Track]:
    """Fill the gaps of tracks, and extend both ends until the face is gone.

    Reads the clip once, to the last frame that is needed. Only a window of reduced grey frames is in memory.

    Args:
        clip: The clip.
        scan: Its scan.
        tracks: Tracks from `tracks_of`.
        watch: Called with the stage, the number of finished frames, and their total.
        pool: Runs the work on gaps and ends.

    Returns:
        Tracks without gaps, in the same order.

    Raises:
        VideoError: If a frame cannot be read.
    """
    if not tracks:
        return []
    scale = min(1.0, _FOLLOW_SIDE_PX / max(clip.info.width, clip.info.height))
    others = _OtherDetections(tracks)

    def followed_through(stretch: _Stretch) -> tuple[_Job, Float[np.ndarray, "m 4"]]:
        job, pictures, looks = stretch
        track = tracks[job.track]
        if job.kind == "gap":
            return job, _filled(track, job, pictures, scale, looks)
        return job, _prolonged(track, job, pictures, looks[0], scale=scale, scan=scan, others=others, clip=clip)

    stretches = _stretches(clip, scan, tracks, scale, watch)
    done = {job.key: boxes for job, boxes in pool.in_order(followed_through, stretches)}
    return [_closed(index, track, done) for index, track in enumerate(tracks)]


def _stretches(
    clip: Clip, scan: Scan, tracks: Sequence[Track], scale: float, watch: Watch | None
) -> Iterator[_Stretch]:
    """Yield all jobs with their pictures and looks, each as soon as the clip was read so far."""
    ahead = max(_LEAST_ENDS, round(_FOLLOW_S * float(clip.info.rate)))
    work = _plan(tracks, ahead, scan.frames)
    needed = _needed(work, tracks)
    window: deque[UInt8[np.ndarray, "h w"]] = deque(maxlen=ahead + 2 * _LOOK_FRAMES + 4)
    for frame in clip.frames() if work else ():
        window.append(_small_grey(frame, scale) if frame.index in needed else _NOTHING)
        start = frame.index - len(window) + 1
        for job in work.pop(frame.index, ()):
            pictures = [window[i - start] for i in range(job.begin, job.end + 1)]
            track = tracks[job.track]
            looks = [(window[track.first + at - start], _to(track.boxes_xyxy[at], scale)) for at in _looks(track, job)]
            yield job, pictures, looks
        if watch is not None:
            watch("following faces", frame.index + 1, scan.frames)
        if not work:
            break


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


_Stretch = tuple[_Job, list[UInt8[np.ndarray, "h w"]], list[Look]]
"""A job, its grey frames, and the looks to search for."""


class _OtherDetections:
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
    others: _OtherDetections,
    clip: Clip,
) -> Float[np.ndarray, "m 4"]:
    """Return the boxes beyond one end of a track, (m, 4), outwards, until the face is gone."""
    back = job.kind == "before"
    at = 0 if back else len(track) - 1
    speed = track.speed(at) * (-1 if back else 1)
    ordered = list(reversed(pictures)) if back else pictures
    boxes: list[Float[np.ndarray, " 4"]] = []
    kept = unseen = 0
    cuts = set(scan.cuts)
    for i, (small, score) in enumerate(followed(ordered, _to(track.boxes_xyxy[at], scale), speed * scale, look)):
        box = _back(small[None], scale)[0]
        frame = track.first - 1 - i if back else track.last + 1 + i
        crossing = (frame + 1 if back else frame) in cuts
        if (
            (crossing and score < ACROSS_CUTS)
            or others.holds(frame, box, track)
            or not is_inside(box, clip.info.width, clip.info.height)
        ):
            break
        if unseen > round(_MOST_UNSEEN_S * float(clip.info.rate)):
            break
        there = score >= (SEEN_FROM if unseen <= _BLINK else _SURE_AGAIN)
        unseen = 0 if there else unseen + 1
        boxes.append(box)
        if there or i < _LEAST_ENDS:
            kept = i + 1
    return np.array(boxes[:kept], np.float32).reshape(-1, 4)


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
    trust = np.pad(track.trust, around, constant_values=TRUST_FILLED)
    points = carried(boxes, points)
    return Track(track.first - len(before), boxes, points, trust, track.number, track.person)


def _small_grey(frame: ClipFrame, scale: float) -> UInt8[np.ndarray, "h w"]:
    grey = frame.grey
    return grey.copy() if scale == 1 else cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _to(box: Float[np.ndarray, " 4"], scale: float) -> Float[np.ndarray, " 4"]:
    return ((box + 0.5) * scale - 0.5).astype(np.float32)


def _back(boxes: Float[np.ndarray, "n 4"], scale: float) -> Float[np.ndarray, "n 4"]:
    return ((boxes + 0.5) / scale - 0.5).astype(np.float32)
