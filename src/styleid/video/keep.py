"""Find the tracks of people to leave alone: those that look like one of them from end to end, and like nobody else.

A track that goes from one person to another would show the other, so it is not enough that it is right on the whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from styleid.faces.views import embed_faces
from styleid.media.video.clip import Clip
from styleid.people.keep import Keep, Match
from styleid.video.scan import Scan, Watch
from styleid.video.targets import faces_at, replaceable
from styleid.video.tracks import Track

LOOKS_A_SECOND = 10.0
WINDOW_S = 0.5
WINDOW_FMR = 1e-2
"""How alike each half-second of a track must be; the whole must be as alike as `Keep` asks of a single face."""


def leave_kept(clip: Clip, found: Scan, tracks: Sequence[Track], keep: Keep, watch: Watch | None = None) -> None:
    """Mark the tracks of people to leave alone; of two that are in one frame and claim the same person, neither."""
    wanted = {i: _frames(track, float(clip.info.rate)) for i, track in enumerate(tracks) if replaceable(track)}
    looks: dict[int, list[tuple[float, Float[np.ndarray, " d"]]]] = defaultdict(list)
    for frame in clip.frames():
        which, faces = faces_at(tracks, frame.index)
        rows = [k for k, i in enumerate(which) if frame.index in wanted.get(i, ())]
        if rows:
            embeddings = embed_faces(keep.bundle, frame.image_rgb, faces.landmarks_px[rows])
            for k, one in zip(rows, embeddings, strict=True):
                looks[which[k]].append((float(found.times_s[frame.index]), one))
        if watch is not None:
            watch("looking for people to keep", frame.index + 1, found.frames)
    sure: dict[int, Match] = {}
    for i, own in looks.items():
        times, embeddings = np.array([time for time, _ in own]), np.stack([one for _, one in own])
        if (match := kept_as(times, embeddings, keep)) is not None:
            sure[i] = match
    for i, match in sure.items():
        others = [j for j, other in sure.items() if j != i and other.person == match.person]
        if not any(_meet(tracks[i], tracks[j]) for j in others):
            tracks[i].kept = {"kept_similarity": match.similarity, "kept_from": keep.threshold}


def kept_as(times_s: Float[np.ndarray, " n"], embeddings: Float[np.ndarray, "n d"], keep: Keep) -> Match | None:
    """Return whom a track is to be left alone as, None where it is not.

    times_s: (n,) of the looks at it; embeddings: (n, d), unit length. On the average of all looks it must be as like
    one person as `Keep` asks of a face, and in each half-second as the bundle's threshold for `WINDOW_FMR` asks.
    """
    alike = keep.similarities(embeddings)
    match = keep.nearest(alike.mean(0))
    if not match.sure:
        return None
    rates = keep.bundle.spec.thresholds
    least = rates[min(rates, key=lambda rate: abs(np.log(rate / WINDOW_FMR)))].high
    windows = ((times_s - times_s[0]) / WINDOW_S).astype(int)
    for window in np.unique(windows):
        mean = alike[windows == window].mean(0)
        if mean.argmax() != match.person or mean[match.person] <= least:
            return None
    return match


def _frames(track: Track, rate: float) -> set[int]:
    """Return the frames in which a track is looked at: some each second of those in which the detector saw it."""
    every = max(1, round(rate / LOOKS_A_SECOND))
    seen = np.nonzero(track.seen)[0]
    return {track.first + int(at) for at in seen[::every]}


def _meet(one: Track, other: Track) -> bool:
    return one.first <= other.last and other.first <= one.last
