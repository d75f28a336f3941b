"""Give each person one target and one strength for the whole clip, tried on frames from all over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from styleid.faces.smooth import smooth
from styleid.faces.track import link_people
from styleid.media.clip import Clip
from styleid.pipeline import Anonymizer
from styleid.source import Source
from styleid.types import Faces, FloatArray, ImageRGB
from styleid.video.scan import Scan, Watch
from styleid.video.store import Workspace, measurement_type
from styleid.video.tracks import Track

SAMPLES = 10
_MARGIN = 0.08
"""How far below the threshold samples should stay, since other frames of the track will be harder."""
_LANDMARK_FRAMES, _WPLUS_FRAMES = 1.2, 2.0
_CHUNK = 2000
_DRIFTS_ALLOWED = 0.2
_PATIENCE = 3
"""How many times as many targets are tried as for a photo, while samples fail: the choice stands for a whole clip."""


@dataclass(frozen=True)
class Cast:
    """A person's part.

    target: W+ (layers, width) of somebody who never lived. step: which of the method's steps. tries: made.
    """

    target: FloatArray
    step: int
    tries: int


class Measurements:
    """What was measured of every track in every frame, on the disk: rows of `measurement_type`."""

    def __init__(self, tracks: Sequence[Track], anonymizer: Anonymizer, space: Workspace) -> None:
        spec = anonymizer.bundle.spec
        side = spec.identity_crop.size_px
        width = anonymizer.bundle.embed(np.zeros((1, side, side, 3), np.uint8)).shape[1]
        self._starts = np.concatenate([[0], np.cumsum([len(t) for t in tracks])]).astype(int)
        self._tracks = tracks
        kind = measurement_type(spec.layers, spec.width, width)
        self.table: Any = space.table("measured", kind, int(self._starts[-1]))

    def row(self, track: int, frame: int) -> Any:
        """Return one face in one frame."""
        return self.table[self._starts[track] + frame - self._tracks[track].first]

    def of(self, track: int) -> Any:
        """Return a track's rows."""
        return self.table[self._starts[track] : self._starts[track + 1]]

    def steady(self, times_s: FloatArray, rate: float) -> None:
        """Smooth landmarks and W+ of every track in time."""
        for index, track in enumerate(self._tracks):
            rows, times = self.of(index), np.asarray(times_s)[list(track.frames)]
            for begin in range(0, len(track), _CHUNK):
                a, b = max(begin - 64, 0), min(begin + _CHUNK + 64, len(track))
                inner = slice(begin - a, min(begin + _CHUNK, len(track)) - a)
                for name, span in (("landmarks", _LANDMARK_FRAMES), ("wplus", _WPLUS_FRAMES)):
                    made = smooth(times[a:b], rows[name][a:b], track.trust[a:b], span / rate)
                    rows[f"steady_{name}"][begin : begin + _CHUNK] = made[inner]


def replaceable(track: Track) -> bool:
    """Say whether a track has landmarks, without which no face can be aligned."""
    return bool(np.isfinite(track.landmarks_px).all())


def faces_at(tracks: Sequence[Track], frame: int) -> tuple[list[int], Faces]:
    """Return which tracks show a face in a frame, and the faces."""
    which = [i for i, t in enumerate(tracks) if t.first <= frame <= t.last and not t.dropped]
    if not which:
        return which, Faces.empty()
    at = [(tracks[i], frame - tracks[i].first) for i in which]
    boxes = np.stack([t.boxes_xyxy[k] for t, k in at])
    points = np.stack([t.landmarks_px[k] for t, k in at])
    return which, Faces(boxes, np.array([t.trust[k] for t, k in at], np.float32), points)


def measure(
    clip: Clip,
    scan: Scan,
    tracks: Sequence[Track],
    anonymizer: Anonymizer,
    space: Workspace,
    watch: Watch | None = None,
) -> tuple[Measurements, dict[int, list[tuple[int, ImageRGB, FloatArray]]]]:
    """Measure every face of every track; return that, and by track what some of its frames showed.

    A sample is its frame, the neighbourhood of the face, and where that lies in the frame, x and y.
    """
    measured = Measurements(tracks, anonymizer, space)
    wanted = {i: _sample_frames(track) for i, track in enumerate(tracks) if replaceable(track)}
    samples: dict[int, list[tuple[int, ImageRGB, FloatArray]]] = {i: [] for i in wanted}
    for frame in clip.frames():
        which, faces = faces_at(tracks, frame.index)
        rows = np.array([k for k, i in enumerate(which) if i in wanted], int)
        if len(rows):
            for source in anonymizer.analyse(frame.image_rgb, faces, rows):
                track = which[source.index]
                _note(measured.row(track, frame.index), source)
                if frame.index in wanted[track]:
                    x0, y0, x1, y1 = source.window
                    path = space.folder / f"sample-{track}-{frame.index}.npy"
                    np.save(path, frame.image_rgb[y0:y1, x0:x1])
                    patch = np.load(path, mmap_mode="r")
                    samples[track].append((frame.index, patch, np.array([x0, y0], np.float32)))
        if watch is not None:
            watch("measuring faces", frame.index + 1, scan.frames)
    measured.steady(scan.times_s, float(clip.info.rate))
    return measured, samples


def _note(row: Any, source: Source) -> None:
    row["landmarks"], row["wplus"] = source.before.landmarks, source.wplus
    row["attributes"], row["embedding"] = source.before.attributes, source.before.embedding


def _sample_frames(track: Track) -> set[int]:
    """Return frames spread over a track, of those that the detector saw."""
    seen = np.nonzero(track.seen)[0]
    places = seen if len(seen) else np.arange(len(track))
    picked = places[np.linspace(0, len(places) - 1, min(SAMPLES, len(places))).round().astype(int)]
    return {track.first + int(at) for at in picked}


def link(tracks: Sequence[Track], measured: Measurements, alike_from: float) -> list[int]:
    """Return each track's person, linked across cuts by embedding."""
    means, frames = [], []
    for index, track in enumerate(tracks):
        known = measured.of(index)["embedding"][track.seen] if replaceable(track) else np.zeros((0, 1), np.float32)
        mean = np.asarray(known, np.float64).mean(0) if len(known) else np.zeros(0)
        norm = float(np.linalg.norm(mean)) if len(mean) else 0.0
        means.append(mean / norm if norm > 0 else np.zeros(0))
        frames.append(set(track.frames))
    return link_people(means, frames, alike_from)


def steady(source: Source, row: Any) -> None:
    """Give a source the landmarks and W+ that were smoothed over its track."""
    source.before = replace(source.before, landmarks=np.asarray(row["steady_landmarks"]))
    source.wplus = np.asarray(row["steady_wplus"])


def cast(
    tracks: Sequence[Track],
    measured: Measurements,
    samples: Mapping[int, Sequence[tuple[int, ImageRGB, FloatArray]]],
    anonymizer: Anonymizer,
    name: str,
    watch: Watch | None = None,
) -> dict[int, Cast]:
    """Choose every person's target and strength: by what most of the samples pass with."""
    people = sorted({tracks[i].person for i in samples if samples[i] and not tracks[i].dropped})
    chosen = {}
    for done, person in enumerate(people):
        own = [i for i in samples if tracks[i].person == person and not tracks[i].dropped]
        takes = [(i, *sample) for i in own for sample in samples[i]]
        some = np.linspace(0, len(takes) - 1, min(SAMPLES, len(takes))).round().astype(int)
        sources = [
            _rehearsed(tracks[i], i, f, patch, at, measured, anonymizer) for i, f, patch, at in (takes[k] for k in some)
        ]
        rows = [measured.of(i)[tracks[i].seen] for i in own]
        rows = [r for r in rows if len(r)] or [measured.of(i) for i in own]
        mean = {n: np.mean([np.asarray(r[n]).mean(0) for r in rows], 0)[None] for n in ("attributes", "wplus")}
        chosen[person] = _best(person, sources, mean, anonymizer, name)
        if watch is not None:
            watch("choosing targets", done + 1, len(people))
    return chosen


def _rehearsed(
    track: Track,
    index: int,
    frame: int,
    patch: ImageRGB,
    at: FloatArray,
    measured: Measurements,
    anonymizer: Anonymizer,
) -> tuple[Source, ImageRGB]:
    _, faces = faces_at([track], frame)
    image = np.array(patch)
    source = anonymizer.analyse(image, faces.moved(1.0, (-float(at[0]), -float(at[1]))), np.array([0]))[0]
    steady(source, measured.row(index, frame))
    return source, image


def _best(
    person: int,
    takes: Sequence[tuple[Source, ImageRGB]],
    mean: Mapping[str, FloatArray],
    anonymizer: Anonymizer,
    name: str,
) -> Cast:
    bundle, way, step = anonymizer.bundle, anonymizer.way, 0
    sources, images = [s for s, _ in takes], [i for _, i in takes]
    own = np.stack([s.wplus for s in sources])
    best: tuple[tuple[float, ...], Cast] | None = None
    tries = 0
    for attempt in range(_PATIENCE * anonymizer.options.tries):
        if best is not None and attempt >= anonymizer.options.tries and best[0][0] == 0:
            break
        tries += 1
        z = anonymizer.targets.z(name, person, attempt, bundle.spec.z)[None]
        target = bundle.sample(z, mean["attributes"], mean["wplus"])
        wplus = way.swapped(bundle, own, np.repeat(target, len(own), 0), [step] * len(own))
        for source in sources:
            source.step = step
        verdicts = [made.verdict for made in anonymizer.attempt(sources, images, wplus)]
        failed, drifted = sum(not v.passed for v in verdicts), sum(bool(v.drifts) for v in verdicts)
        close = sum(v.figures["similarity"] > anonymizer.level.strangers.high - _MARGIN for v in verdicts)
        rank = (failed, close, drifted, float(np.mean([v.figures["landmark_error"] for v in verdicts])))
        if best is None or rank < best[0]:
            best = rank, Cast(target[0], step, attempt + 1)
        if not failed and not close and drifted <= _DRIFTS_ALLOWED * len(sources):
            break
        if close:
            step = min(step + 1, len(way.steps) - 1)
    assert best is not None
    return replace(best[1], tries=tries)
