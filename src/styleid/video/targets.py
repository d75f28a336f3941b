"""Give each person one target and one strength for the whole clip, tried on frames from all over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from styleid.core.analysis import pack_maps, unpack_maps
from styleid.core.attempt import FaceProgress
from styleid.core.face import SourceFace
from styleid.core.gate import GateVerdict
from styleid.core.observation import Observation
from styleid.core.pipeline import Anonymizer
from styleid.core.targets import FreshTargets
from styleid.faces.smooth import smooth
from styleid.media.video.clip import Clip, ClipFrame
from styleid.people.pseudonyms import ConsistentTargets
from styleid.people.targets import Sighting, TakenTarget, clearest, sightings_of
from styleid.types import Faces, ImageRGB
from styleid.video.ahead import ONE_BY_ONE, FramePool
from styleid.video.scan import Scan, Watch
from styleid.video.store import Workspace, measurement_type
from styleid.video.tracks import Track

SAMPLES = 10
_MARGIN = 0.08
"""How far below the threshold samples should stay, since other frames of the track will be harder."""
_LANDMARK_FRAMES, _WPLUS_FRAMES = 1.2, 2.0
_CHUNK = 2000
_DRIFTS_ALLOWED = 0.2
TAKEN_FMR = 1e-2
"""How alike somebody must be to a face of the photo that a clip belongs to: both were taken in the same seconds."""
_PATIENCE = 3
"""How many times as many targets are tried as for a photo, while samples fail: the choice stands for a whole clip."""

_HOPELESS = 4
"""After how many targets that all fail in a sample, that is put down to the sample."""


Take = tuple[SourceFace, ImageRGB]
Sample = tuple[int, ImageRGB, Float[np.ndarray, " 2"]]
"""A frame, the neighbourhood of a face in it, and where that lies in the frame, x and y."""


@dataclass(frozen=True)
class AssignedTarget:
    """A person's part.

    target: W+ (size,) of somebody who never lived. step: which of the method's steps. tries: made.
    """

    target: Float[np.ndarray, " size"]
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
        kind = measurement_type(spec.size, width)
        self.table: Any = space.table("measured", kind, int(self._starts[-1]))
        self._maps, self._side = space.shelf("maps"), spec.crop.size_px

    def row(self, track: int, frame: int) -> Any:
        """Return one face in one frame."""
        return self.table[self._starts[track] + frame - self._tracks[track].first]

    def note(self, track: int, frame: int, source: SourceFace, packed: bytes) -> None:
        """Keep what was measured of a face. packed: its maps, by `pack_maps`."""
        row, seen = self.row(track, frame), source.observation
        row["landmarks"], row["wplus"] = seen.landmarks, source.wplus
        row["attributes"], row["embedding"] = seen.attributes, seen.embedding
        row["shares"], row["maps"] = seen.face_shares, self._maps.put(packed)

    def recall(self, anonymizer: Anonymizer, image_rgb: ImageRGB, faces: Faces, index: int, row: Any) -> SourceFace:
        """Return a face as it was measured. faces: of the frame. index: which of them. row: see `row`."""
        shares = float(row["shares"][0]), float(row["shares"][1])
        landmarks, embedding, attributes = (np.array(row[name]) for name in ("landmarks", "embedding", "attributes"))
        seen = Observation(True, landmarks, embedding, attributes, shares)
        maps = unpack_maps(self._maps.take(*row["maps"].tolist()), self._side)
        return anonymizer.recall(image_rgb, faces, index, seen, maps, np.array(row["wplus"]))

    def of(self, track: int) -> Any:
        """Return a track's rows."""
        return self.table[self._starts[track] : self._starts[track + 1]]

    def steady(self, times_s: Float[np.ndarray, " frames"], rate: float) -> None:
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
    which = [i for i, t in enumerate(tracks) if t.first <= frame <= t.last and not t.left]
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
    pool: FramePool = ONE_BY_ONE,
) -> tuple[Measurements, dict[int, list[Sample]]]:
    """Measure every face of every track; return that, and by track what some of its frames showed.

    Attributes are measured in frames that are samples of a track; they are NaN in the others.
    """
    measured = Measurements(tracks, anonymizer, space)
    wanted = {i: _sample_frames(track) for i, track in enumerate(tracks) if replaceable(track)}
    samples: dict[int, list[Sample]] = {i: [] for i in wanted}

    def look(frame: ClipFrame) -> tuple[int, list[tuple[int, SourceFace, bytes]]]:
        which, faces = faces_at(tracks, frame.index)
        rows = np.array([k for k, i in enumerate(which) if i in wanted], int)
        if not len(rows):
            return frame.index, []
        sampled = any(frame.index in wanted[which[k]] for k in rows)
        sources = anonymizer.analyse(frame.image_rgb, faces, rows, attributes=sampled)
        return frame.index, [(which[source.index], source, pack_maps(source)) for source in sources]

    for index, seen in pool.in_order(look, clip.frames()):
        for track, source, packed in seen:
            measured.note(track, index, source, packed)
            if index in wanted[track]:
                samples[track].append(_sample(source, index, space.folder / f"sample-{track}-{index}.npy"))
        if watch is not None:
            watch("measuring faces", index + 1, scan.frames)
    measured.steady(scan.times_s, float(clip.info.rate))
    return measured, samples


def _sample(source: SourceFace, frame: int, path: Path) -> Sample:
    """Keep a face's neighbourhood in a file."""
    x0, y0, x1, y1 = source.window
    np.save(path, source.photo_rgb[y0:y1, x0:x1])
    return frame, np.load(path, mmap_mode="r"), np.array([x0, y0], np.float32)


def _sample_frames(track: Track) -> set[int]:
    """Return frames spread over a track, of those that the detector saw."""
    seen = np.nonzero(track.seen)[0]
    places = seen if len(seen) else np.arange(len(track))
    picked = places[np.linspace(0, len(places) - 1, min(SAMPLES, len(places))).round().astype(int)]
    return {track.first + int(at) for at in picked}


def steady(source: SourceFace, row: Any) -> SourceFace:
    """Return a face with the landmarks and W+ that were smoothed over its track."""
    observation = replace(source.observation, landmarks=np.asarray(row["steady_landmarks"]))
    return replace(source, observation=observation, wplus=np.asarray(row["steady_wplus"]))


def assign_targets(
    tracks: Sequence[Track],
    measured: Measurements,
    samples: Mapping[int, Sequence[Sample]],
    anonymizer: Anonymizer,
    name: str,
    watch: Watch | None = None,
    taken: Sequence[TakenTarget] = (),
    pool: FramePool = ONE_BY_ONE,
) -> dict[int, AssignedTarget]:
    """Choose every person's target and strength: by what most of the samples pass with.

    Under a key the person's pseudonym is the target. What is written down of new people is written before this returns.
    taken: what people became elsewhere, as in the photo that a clip belongs to; who is one of them becomes the same.
    """
    people = sorted({tracks[i].person for i in samples if samples[i] and tracks[i].replaced})
    takes = {person: _takes(person, tracks, measured, samples, anonymizer) for person in people}
    given = _pseudonyms(takes, tracks, anonymizer) | _taken(takes, taken, anonymizer)

    def choose(person: int) -> AssignedTarget:
        rehearsal = _Rehearsal(anonymizer, takes[person])
        if person in given:
            return rehearsal.pseudonym(given[person])
        other = max(tracks[i].other for i in _tracks_of(person, tracks, samples))
        return rehearsal.stranger(name, person, _mean(person, tracks, measured, samples), other)

    chosen: dict[int, AssignedTarget] = {}
    for person, part in zip(people, pool.in_order(choose, people), strict=True):
        chosen[person] = part
        if watch is not None:
            watch("choosing targets", len(chosen), len(people))
    return chosen


def _takes(
    person: int,
    tracks: Sequence[Track],
    measured: Measurements,
    samples: Mapping[int, Sequence[Sample]],
    anonymizer: Anonymizer,
) -> list[Take]:
    """Return some of a person's samples from all over the clip, analysed."""
    takes = [(i, *sample) for i in _tracks_of(person, tracks, samples) for sample in samples[i]]
    some = np.linspace(0, len(takes) - 1, min(SAMPLES, len(takes))).round().astype(int)
    chosen = (takes[k] for k in some)
    return [_rehearsed(tracks[i], i, frame, patch, at, measured, anonymizer) for i, frame, patch, at in chosen]


def _tracks_of(person: int, tracks: Sequence[Track], samples: Mapping[int, Any]) -> list[int]:
    return [i for i in samples if tracks[i].person == person and tracks[i].replaced]


def _mean(
    person: int, tracks: Sequence[Track], measured: Measurements, samples: Mapping[int, Any]
) -> dict[str, Float[np.ndarray, "1 ..."]]:
    """Return a person's attributes and W+ over all frames in which they were seen and these measured."""
    own = _tracks_of(person, tracks, samples)
    rows = [measured.of(i)[tracks[i].seen] for i in own]
    rows = [r for r in rows if len(r)] or [measured.of(i) for i in own]
    known = {n: [np.asarray(r[n]) for r in rows] for n in ("attributes", "wplus")}
    finite = {n: [some[np.isfinite(some).all(1)] for some in all_rows] for n, all_rows in known.items()}
    return {n: np.mean([some.mean(0) for some in all_rows if len(some)], 0)[None] for n, all_rows in finite.items()}


def _pseudonyms(
    takes: Mapping[int, Sequence[Take]], tracks: Sequence[Track], anonymizer: Anonymizer
) -> dict[int, Float[np.ndarray, "t size"]]:
    """Return each person's targets (t, size) under the key, nothing where there is none.

    A person is one sighting, the clearest sample with the average embedding; people who are in one frame with each
    other are different ones.
    """
    if not isinstance(anonymizer.targets, ConsistentTargets):
        return {}
    bundle, sightings = anonymizer.bundle, dict[int, Sighting]()
    meeting = _meeting(list(takes), tracks)
    for person, own in takes.items():
        some = sightings_of(bundle, f"clip {meeting[person]}", [source for source, _ in own])
        mean = np.mean([s.embedding for s in some], 0)
        best = clearest(some, bundle.spec.resolution)[0]
        sightings[person] = replace(best, embedding=mean / max(float(np.linalg.norm(mean)), 1e-9))
    anonymizer.targets.assign(list(sightings.values()))
    given = {p: anonymizer.targets.given_to(sighting.mark) for p, sighting in sightings.items()}
    return {person: one.targets for person, one in given.items() if one is not None}


def _taken(
    takes: Mapping[int, Sequence[Take]], taken: Sequence[TakenTarget], anonymizer: Anonymizer
) -> dict[int, Float[np.ndarray, "1 size"]]:
    """Return the target (1, size) of each person who is one of those that took some; the most alike pairs first."""
    if not taken:
        return {}
    rates = anonymizer.bundle.spec.thresholds
    least = rates[min(rates, key=lambda rate: abs(np.log(rate / TAKEN_FMR)))].high
    alike = [
        (float(np.mean([source.observation.embedding for source, _ in own], 0) @ one.embedding), person, k)
        for person, own in takes.items()
        for k, one in enumerate(taken)
    ]
    given: dict[int, Float[np.ndarray, "1 size"]] = {}
    used: set[int] = set()
    for similarity, person, k in sorted(alike, reverse=True):
        if similarity > least and person not in given and k not in used:
            given[person] = taken[k].target[None]
            used.add(k)
    return given


def _meeting(people: Sequence[int], tracks: Sequence[Track]) -> dict[int, int]:
    """Return a number for each person that those share who are in frames together, over however many others."""
    spans = {p: [t for t in tracks if t.person == p and not t.left] for p in people}
    group = {p: p for p in people}
    for a in people:
        for b in people:
            if any(s.first <= t.last and t.first <= s.last for s in spans[a] for t in spans[b]):
                old, new = group[b], group[a]
                group = {p: new if g == old else g for p, g in group.items()}
    return group


def _rehearsed(
    track: Track,
    index: int,
    frame: int,
    patch: ImageRGB,
    at: Float[np.ndarray, " 2"],
    measured: Measurements,
    anonymizer: Anonymizer,
) -> Take:
    _, faces = faces_at([track], frame)
    image = np.array(patch)
    source = anonymizer.analyse(image, faces.moved(1.0, (-float(at[0]), -float(at[1]))), np.array([0]))[0]
    return steady(source, measured.row(index, frame)), image


@dataclass(frozen=True)
class _Trial:
    """How a target did on a person's samples.

    failed: which samples failed. close: how many came close to it. drifted: how many changed what should have stayed.
    landmark_error: the mean.
    """

    failed: frozenset[int]
    close: int
    drifted: int
    landmark_error: float

    @property
    def rank(self) -> tuple[float, ...]:
        """The lower, the better."""
        return len(self.failed), self.close, self.drifted, self.landmark_error


class _Rehearsal:
    """Try targets on a person's samples; each take is a face and the neighbourhood that it is drawn into.

    Samples in which most targets failed come first, and a trial ends when it cannot be the best any more.
    """

    def __init__(self, anonymizer: Anonymizer, takes: Sequence[Take]) -> None:
        self._anonymizer = anonymizer
        self._sources, self._images = [s for s, _ in takes], [i for _, i in takes]
        self._fresh = FreshTargets(anonymizer.options.seed)
        self._own = np.stack([s.wplus for s in self._sources])
        self._tried, self._failures = np.zeros((2, len(takes)), int)

    def stranger(
        self, name: str, person: int, mean: Mapping[str, Float[np.ndarray, "1 ..."]], other: int = 0
    ) -> AssignedTarget:
        """Return the best of some new targets. other: which other new face, 0 for the first."""
        anonymizer, step, steps = self._anonymizer, 0, len(self._anonymizer.method.steps)
        best: tuple[_Trial, AssignedTarget] | None = None
        tries = 0
        for attempt in range(_PATIENCE * anonymizer.options.tries):
            if best is not None and attempt >= anonymizer.options.tries and not self._may_pass(best[0].failed):
                break
            tries += 1
            z = self._fresh.z(name, person, attempt, anonymizer.bundle.spec.z, other)[None]
            target = anonymizer.bundle.sample(z, mean["attributes"], mean["wplus"])[0]
            trial = self._try(target, step, None if best is None else best[0])
            if best is None or trial.rank < best[0].rank:
                best = trial, AssignedTarget(target, step, attempt + 1)
            if not trial.failed and not trial.close and trial.drifted <= _DRIFTS_ALLOWED * len(self._sources):
                break
            if trial.close:
                step = min(step + 1, steps - 1)
        assert best is not None
        return replace(best[1], tries=tries)

    def pseudonym(self, targets: Float[np.ndarray, "t size"]) -> AssignedTarget:
        """Return the first of a person's targets that passes in every sample: more of one before the next."""
        best: tuple[_Trial, AssignedTarget] | None = None
        tries = 0
        for target in targets:
            for step in range(len(self._anonymizer.method.steps)):
                tries += 1
                trial = self._try(target, step, None if best is None else best[0])
                if best is None or len(trial.failed) < len(best[0].failed):
                    best = trial, AssignedTarget(target, step, tries)
                if not trial.failed:
                    return replace(best[1], tries=tries)
        assert best is not None
        return replace(best[1], tries=tries)

    def _may_pass(self, failed: frozenset[int]) -> bool:
        """Say whether another target may pass in some of these samples: not where a row of targets all failed."""
        return any(self._failures[k] < self._tried[k] or self._tried[k] < _HOPELESS for k in failed)

    def _try(self, target: Float[np.ndarray, " size"], step: int, best: _Trial | None) -> _Trial:
        """Return how a target does, or how far it came until more samples failed than with the best so far."""
        anonymizer, count = self._anonymizer, len(self._own)
        wplus = anonymizer.method.swap(anonymizer.bundle, self._own, np.repeat(target[None], count, 0), [step] * count)
        failed, verdicts = set[int](), list[GateVerdict]()
        for k in np.argsort(-self._failures, kind="stable").tolist():
            face = FaceProgress(self._sources[k], step=step)
            (made,) = anonymizer.attempt([face], [self._images[k]], wplus[k : k + 1])
            verdicts.append(made.verdict)
            self._tried[k] += 1
            if not made.verdict.passed:
                self._failures[k] += 1
                failed.add(k)
                if best is not None and len(failed) > len(best.failed):
                    break
        limit = anonymizer.level.strangers.high - _MARGIN
        close = sum(v.similarity > limit for v in verdicts)
        drifted = sum(bool(v.drifts) for v in verdicts)
        return _Trial(frozenset(failed), close, drifted, float(np.mean([v.landmark_error for v in verdicts])))
