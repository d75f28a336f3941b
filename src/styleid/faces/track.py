"""Join detections into tracks: one track per face and shot.

Two-stage association after ByteTrack (Zhang et al. 2022). In every frame, confident detections are assigned to tracks
first, by overlap with the expected box and by identity; low-score detections may then continue a track, but not begin
one. Afterwards, tracks are extended backwards in time with low-score detections, and tracks are joined across gaps if
one continues the other.

Convention
----------
Frames are numbered from 0; `cuts` contains the first frame of each new shot. Boxes are (x0, y0, x1, y1) in pixels.
Embeddings are unit vectors, NaN for detections without one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from styleid.errors import MissingDependencyError
from styleid.types import FloatArray

_LEAST_OVERLAP = 0.05
"""Least overlap of enlarged boxes with which a confident detection continues a track."""
_WEAK_OVERLAP = 0.3
"""Overlap above which a low-score detection continues a track."""
_GROWTH = 0.15
"""Enlargement of boxes per missed frame, as a share of their size."""
_IDENTITY_SHARE = 0.4
"""Weight of the embeddings' similarity against overlap."""
_STRANGER = 0.05
"""Similarity below which a detection continues a track only if boxes overlap by at least half."""
_SIZE_RATIO = 2.2
"""Largest ratio of the sides of two boxes of a track."""
_BACK_MISSES = 3
"""Number of missed frames after which a track is not extended backwards any further."""


@dataclass(frozen=True)
class Candidates:
    """All detections in a clip, in the order of frames.

    frames: frame numbers, int (n,).
    boxes_xyxy: boxes, (n, 4), pixels.
    scores: scores, (n,), 0 to 1.
    landmarks_px: five landmarks each, (n, 5, 2), pixels.
    embeddings: unit embeddings, (n, d), NaN for detections without one; d may be 0.
    """

    frames: Int[np.ndarray, " n"]
    boxes_xyxy: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, " n"]
    landmarks_px: Float[np.ndarray, "n 5 2"]
    embeddings: Float[np.ndarray, "n d"]

    def __len__(self) -> int:
        return len(self.frames)

    def similarity(self, one: FloatArray, row: int) -> float:
        """Return the cosine similarity of a unit embedding (d,) and a candidate's; NaN if either is missing."""
        return float(one @ self.embeddings[row]) if len(one) else float("nan")


@dataclass
class Tracklet:
    """A track that is being built.

    rows: its detections, as indices of the candidates in the order of time.
    box: its last box, (4,), pixels.
    speed: its motion, (2,), pixels per frame.
    frame: number of its last frame.
    embedding: running mean of its embeddings, unit length, (d,); empty without any.
    """

    rows: list[int]
    box: FloatArray
    speed: FloatArray
    frame: int
    embedding: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))

    def at(self, frame: int) -> FloatArray:
        """Return the expected box in a frame, (4,)."""
        return self.box + np.tile(self.speed, 2) * np.float32(frame - self.frame)


def associate(candidates: Candidates, sure_from: float, cuts: Collection[int], max_gap: int) -> list[list[int]]:
    """Join detections into tracks.

    Args:
        candidates: The detections.
        sure_from: Score from which a detection is confident and may begin a track.
        cuts: First frame of each new shot; no track crosses it.
        max_gap: Largest number of frames that a track may miss.

    Returns:
        For each track, the indices of its detections in the order of time; tracks in the order of their first frames.

    Raises:
        MissingDependencyError: If SciPy is not installed.
    """
    if not len(candidates):
        return []
    tracklets = _forwards(candidates, sure_from, frozenset(cuts), max_gap)
    taken = {row for track in tracklets for row in track.rows}
    for track in tracklets:
        _backwards(track, candidates, taken, frozenset(cuts))
    joined = _join([track.rows for track in tracklets], candidates, sorted(cuts), max_gap)
    return sorted(joined, key=lambda rows: (candidates.frames[rows[0]], rows[0]))


def overlap(one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the intersection over union of each pair of boxes, (n, m).

    Args:
        one: Boxes, (n, 4), pixels.
        other: Boxes, (m, 4), pixels.
    """
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(-1)
    areas = [np.clip(b[:, 2:] - b[:, :2], 0, None).prod(-1) for b in (one, other)]
    return both / np.maximum(areas[0][:, None] + areas[1][None] - both, 1e-9)


def _forwards(c: Candidates, sure_from: float, cuts: frozenset[int], max_gap: int) -> list[Tracklet]:
    ended: list[Tracklet] = []
    active: list[Tracklet] = []
    bounds = np.searchsorted(c.frames, np.unique(c.frames), "left").tolist()
    previous = -1
    for first, last in zip(bounds, [*bounds[1:], len(c)], strict=True):
        frame = int(c.frames[first])
        cut = any(previous < at <= frame for at in cuts) if cuts else False
        previous = frame
        over = [t for t in active if cut or frame - t.frame > max_gap + 1]
        ended += over
        active = [t for t in active if not any(t is o for o in over)]
        rows = np.arange(first, last)
        sure = rows[c.scores[rows] >= sure_from]
        unsure = rows[c.scores[rows] < sure_from]
        met = _assign(active, sure, c, frame, _affinity)
        for t, row in met:
            _extend(active[t], row, c)
        busy = {t for t, _ in met}
        idle = [track for t, track in enumerate(active) if t not in busy]
        for t, row in _assign(idle, unsure, c, frame, _bare_overlap):
            _extend(idle[t], row, c, sure=False)
        found = {row for _, row in met}
        active += [_begin(int(row), c) for row in sure if row not in found]
    return ended + active


def _assign(tracks: Sequence[Tracklet], rows: np.ndarray, c: Candidates, frame: int, affinity) -> list[tuple[int, int]]:
    """Return the (track, row) pairs of the assignment with the largest total affinity."""
    if not len(tracks) or not len(rows):
        return []
    worth = np.array([[affinity(track, int(row), c, frame) for row in rows] for track in tracks])
    pairs = zip(*best_pairs(worth), strict=True)
    return [(int(t), int(rows[r])) for t, r in pairs if worth[t, r] > 0]


def best_pairs(worth: FloatArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of a matrix that are worth most together, each at most once.

    Pairs that are worth nothing may be among them or not.
    """
    there = worth > 0
    if (there.sum(0) <= 1).all() and (there.sum(1) <= 1).all():  # nothing to weigh up, and SciPy takes long to import
        rows, columns = np.nonzero(there)
        return rows, columns
    return assignment(-worth)


def assignment(costs: FloatArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of the cheapest assignment; raises MissingDependencyError without SciPy."""
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise MissingDependencyError("SciPy, which tracking needs,", "'styleid[video]'") from error
    return linear_sum_assignment(costs)


def _affinity(track: Tracklet, row: int, c: Candidates, frame: int) -> float:
    """Return how well a confident detection continues a track, 0 to 1; 0 if it does not."""
    box, expected = c.boxes_xyxy[row], track.at(frame)
    sizes = box[2:] - box[:2], expected[2:] - expected[:2]
    if not (1 / _SIZE_RATIO < sizes[0].max() / max(sizes[1].max(), 1e-6) < _SIZE_RATIO):
        return 0.0
    gap = abs(frame - track.frame)
    near = max(
        float(overlap(_grown(box, gap)[None], _grown(guess, gap)[None])[0, 0]) for guess in (expected, track.box)
    )
    if near < _LEAST_OVERLAP:
        return 0.0
    alike = c.similarity(track.embedding, row)
    if not np.isfinite(alike):
        return near
    if alike < _STRANGER and near < 0.5:
        return 0.0
    return (1 - _IDENTITY_SHARE) * near + _IDENTITY_SHARE * max(alike, 0.0)


def _bare_overlap(track: Tracklet, row: int, c: Candidates, frame: int) -> float:
    near = float(overlap(c.boxes_xyxy[row][None], track.at(frame)[None])[0, 0])
    return near if near > _WEAK_OVERLAP else 0.0


def _grown(box: FloatArray, gap: int) -> FloatArray:
    side = (box[2:] - box[:2]) * (0.25 + _GROWTH * min(gap, 10)) / 2
    return np.concatenate([box[:2] - side, box[2:] + side])


def _begin(row: int, c: Candidates) -> Tracklet:
    known = c.embeddings[row] if np.isfinite(c.embeddings[row]).all() else c.embeddings[row][:0]
    return Tracklet([row], c.boxes_xyxy[row].copy(), np.zeros(2, np.float32), int(c.frames[row]), known.copy())


def _extend(track: Tracklet, row: int, c: Candidates, *, sure: bool = True) -> None:
    box, frame = c.boxes_xyxy[row], int(c.frames[row])
    moved = (box.reshape(2, 2).mean(0) - track.box.reshape(2, 2).mean(0)) / max(abs(frame - track.frame), 1)
    moved = moved if frame > track.frame else -moved
    first = len(track.rows) == 1
    track.speed = moved if first else (0.5 * track.speed + 0.5 * moved).astype(np.float32)
    track.rows.append(row)
    track.box, track.frame = box.copy(), frame
    if sure and len(c.embeddings[row]) and np.isfinite(c.embeddings[row]).all():
        mixed = 0.9 * track.embedding + 0.1 * c.embeddings[row] if len(track.embedding) else c.embeddings[row].copy()
        track.embedding = mixed / max(float(np.linalg.norm(mixed)), 1e-9)


def _backwards(track: Tracklet, c: Candidates, taken: set[int], cuts: frozenset[int]) -> None:
    """Extend a track to earlier frames with low-score detections that belong to no track."""
    back = _reversed(track.rows, c)
    misses, frame = 0, back.frame
    while misses <= _BACK_MISSES and frame > 0 and frame not in cuts:
        frame -= 1
        first, last = np.searchsorted(c.frames, [frame, frame + 1])
        free = np.array([row for row in range(first, last) if row not in taken], int)
        met = _assign([back], free, c, frame, _bare_overlap)
        misses = 0 if met else misses + 1
        for _, row in met:
            _extend(back, row, c, sure=False)
            taken.add(row)
            track.rows.insert(0, row)


def _reversed(rows: Sequence[int], c: Candidates) -> Tracklet:
    """Return a tracklet that runs backwards in time and ends at the beginning of a track."""
    return _replayed(list(reversed(rows[: min(len(rows), 6)])), c)


def _replayed(rows: Sequence[int], c: Candidates) -> Tracklet:
    """Return a tracklet built from rows in the given order."""
    track = _begin(int(rows[0]), c)
    for row in rows[1:]:
        _extend(track, int(row), c)
    return track


def _join(tracks: list[list[int]], c: Candidates, cuts: Sequence[int], max_gap: int) -> list[list[int]]:
    """Join tracks across gaps if the extrapolation of one, forwards or backwards in time, meets the other."""
    count = len(tracks)
    if count < 2:
        return tracks
    ends = [_replayed(rows[-6:], c) for rows in tracks]
    begins = [_reversed(rows, c) for rows in tracks]
    worth = np.zeros((count, count))
    for i, end in enumerate(ends):
        for j, begin in enumerate(begins):
            gap = begin.frame - end.frame
            if i != j and 0 < gap <= max_gap + 1 and not any(end.frame < cut <= begin.frame for cut in cuts):
                there = _affinity(end, tracks[j][0], c, begin.frame)
                back = _affinity(begin, tracks[i][-1], c, end.frame)
                worth[i, j] = max(there, back)
    follower = {int(i): int(j) for i, j in zip(*best_pairs(worth), strict=True) if worth[i, j] > 0}
    joined = []
    for i in sorted(set(range(count)) - set(follower.values())):
        chain, at = list(tracks[i]), i
        while at in follower:
            at = follower[at]
            chain += tracks[at]
        joined.append(chain)
    return joined
