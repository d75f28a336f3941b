"""Link tracks to people. A person may have several tracks, for example before and after a cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from styleid.video.measurements import Measurements, replaceable
from styleid.video.tracks import Track


def link_tracks(tracks: Sequence[Track], measured: Measurements, alike_from: float) -> list[int]:
    """Return the number of each track's person, from 0, by the mean embeddings of the tracks.

    Args:
        tracks: The tracks.
        measured: Their measurements.
        alike_from: Cosine similarity above which two tracks may show the same person.
    """
    means, frames = [], []
    for index, track in enumerate(tracks):
        known = measured.of(index)["embedding"][track.seen] if replaceable(track) else np.zeros((0, 1), np.float32)
        mean = np.asarray(known, np.float64).mean(0) if len(known) else np.zeros(0)
        norm = float(np.linalg.norm(mean)) if len(mean) else 0.0
        means.append(mean / norm if norm > 0 else np.zeros(0))
        frames.append(set(track.frames))
    return link_people(means, frames, alike_from)


def link_people(means: Sequence[Float[np.ndarray, " _"]], frames: Sequence[set[int]], above: float) -> list[int]:
    """Return the number of each track's person, from 0.

    Groups of tracks are merged in descending order of similarity. Two groups are merged only if they share no frame and
    their mean similarity exceeds the threshold.

    Args:
        means: Unit embedding of each track, (d,); empty, (0,), for a track without one, which is never linked.
        frames: Frames of each track.
        above: Cosine similarity above which tracks are linked.
    """
    groups = [{i} for i in range(len(means))]
    pairs = [
        (float(means[i] @ means[j]), i, j)
        for i in range(len(means))
        for j in range(i + 1, len(means))
        if len(means[i]) and len(means[j])
    ]
    for similarity, i, j in sorted(pairs, reverse=True):
        if not similarity > above:
            break
        one, other = (next(g for g in groups if k in g) for k in (i, j))
        apart = all(frames[a].isdisjoint(frames[b]) for a in one for b in other)
        alike = np.mean([means[a] @ means[b] for a in one for b in other]) > above
        if one is not other and apart and alike:
            groups.remove(other)
            one |= other
    groups.sort(key=min)
    return [next(n for n, group in enumerate(groups) if i in group) for i in range(len(means))]
