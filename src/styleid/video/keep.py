"""Find the tracks of people whose faces are kept.

A track may jump from one person to another. Therefore it is kept only if it matches the same person in each half-second
of its length, not only on average.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from styleid.faces.views import embed_faces
from styleid.media.video.clip import Clip
from styleid.people.keep import Keep, Match
from styleid.video.measurements import faces_at, replaceable
from styleid.video.scan import Scan, Watch
from styleid.video.tracks import Track

LOOKS_A_SECOND = 10.0
"""Number of frames per second in which a track's face is embedded."""
WINDOW_S = 0.5
"""Length of the windows in which a track must match, seconds."""
WINDOW_FMR = 1e-2
"""False-match rate of the threshold for each window. The whole track must exceed the threshold of `Keep`."""


def leave_kept(clip: Clip, found: Scan, tracks: Sequence[Track], keep: Keep, watch: Watch | None = None) -> None:
    """Mark the tracks of people whose faces are kept, by setting `Track.kept`.

    If two tracks that overlap in time match the same person, neither is kept.

    Args:
        clip: The clip.
        found: Its scan.
        tracks: The tracks; those that are kept are changed.
        keep: Recognises the people.
        watch: Called with the stage, the number of finished frames, and their total.

    Raises:
        VideoError: If a frame cannot be read.
    """
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
    """Return the person as whom a track is kept, None if it is not kept.

    Args:
        times_s: Times of the n frames in which the face was embedded, (n,), seconds.
        embeddings: Its unit embeddings, (n, d).
        keep: Recognises the people.
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
    """Return the frames in which a track's face is embedded, from those in which it was detected."""
    every = max(1, round(rate / LOOKS_A_SECOND))
    seen = np.nonzero(track.seen)[0]
    return {track.first + int(at) for at in seen[::every]}


def _meet(one: Track, other: Track) -> bool:
    return one.first <= other.last and other.first <= one.last
