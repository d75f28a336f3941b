"""Choose one target and one swap step per person for the whole clip, by trying targets on sampled frames.

The faces of all tracks are measured first. The measurements stay in the run's workspace until the second pass.
"""

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
"""Largest number of sampled frames per track, and of samples per person on which targets are tried."""
_MARGIN = 0.08
"""Least distance of the samples' similarity to the limit, because other frames of the track may be harder."""
_LANDMARK_FRAMES, _WPLUS_FRAMES = 1.2, 2.0
"""Standard deviations of the temporal smoothing of landmarks and W+, in frames."""
_CHUNK = 2000
"""Number of frames of a track that are smoothed at once, which bounds memory."""
_DRIFTS_ALLOWED = 0.2
"""Share of a person's samples in which a target may change sex or mouth and still be accepted at once."""
TAKEN_FMR = 1e-2
"""False-match rate at which a person of the clip is matched to a face of its photo. It can be high, because both were
taken within seconds."""
_PATIENCE = 3
"""Factor on the number of tries for a photo while samples fail, because one target serves the whole clip."""
_HOPELESS = 4
"""Number of targets that all fail on a sample after which no other target is expected to pass on it."""

Take = tuple[SourceFace, ImageRGB]
"""A measured face, and the image around it into which new faces are drawn."""
Sample = tuple[int, ImageRGB, Float[np.ndarray, " 2"]]
"""Number of a frame, the image around a face in it, and that image's top left corner in the frame, (2,), pixels."""


@dataclass(frozen=True)
class AssignedTarget:
    """The target of one person.

    Attributes:
        target: W+ of the generated face, (size,).
        step: Index of the method's swap step.
        tries: Number of trials made to find it.
    """

    target: Float[np.ndarray, " size"]
    step: int
    tries: int


class Measurements:
    """Measurements of every track in every frame, stored on disk as rows of `measurement_type`."""

    def __init__(self, tracks: Sequence[Track], anonymizer: Anonymizer, space: Workspace) -> None:
        """Create the empty table.

        Raises:
            OutputError: If the table cannot be created.
        """
        spec = anonymizer.bundle.spec
        side = spec.identity_crop.size_px
        width = anonymizer.bundle.embed(np.zeros((1, side, side, 3), np.uint8)).shape[1]
        self._starts = np.concatenate([[0], np.cumsum([len(t) for t in tracks])]).astype(int)
        self._tracks = tracks
        kind = measurement_type(spec.size, width)
        self.table: Any = space.table("measured", kind, int(self._starts[-1]))
        self._maps, self._side = space.shelf("maps"), spec.crop.size_px

    def row(self, track: int, frame: int) -> Any:
        """Return the row of a track, by index, in a frame."""
        return self.table[self._starts[track] + frame - self._tracks[track].first]

    def note(self, track: int, frame: int, source: SourceFace, packed: bytes) -> None:
        """Store the measurements of a face.

        Args:
            track: Index of the track.
            frame: Number of the frame.
            source: The measured face.
            packed: Its maps, from `pack_maps`.

        Raises:
            OutputError: If the maps cannot be written.
        """
        row, seen = self.row(track, frame), source.observation
        row["landmarks"], row["wplus"] = seen.landmarks, source.wplus
        row["attributes"], row["embedding"] = seen.attributes, seen.embedding
        row["shares"], row["maps"] = seen.face_shares, self._maps.put(packed)

    def recall(self, anonymizer: Anonymizer, image_rgb: ImageRGB, faces: Faces, index: int, row: Any) -> SourceFace:
        """Return a face as it was measured, without running a network.

        Args:
            anonymizer: The anonymiser that measured it.
            image_rgb: The frame, uint8 (h, w, 3).
            faces: All faces of the frame.
            index: Position of the face among them.
            row: The row of its measurements; see `row`.
        """
        shares = float(row["shares"][0]), float(row["shares"][1])
        landmarks, embedding, attributes = (np.array(row[name]) for name in ("landmarks", "embedding", "attributes"))
        seen = Observation(True, landmarks, embedding, attributes, shares)
        maps = unpack_maps(self._maps.take(*row["maps"].tolist()), self._side)
        return anonymizer.recall(image_rgb, faces, index, seen, maps, np.array(row["wplus"]))

    def of(self, track: int) -> Any:
        """Return all rows of a track, by index."""
        return self.table[self._starts[track] : self._starts[track + 1]]

    def steady(self, times_s: Float[np.ndarray, " frames"], rate: float) -> None:
        """Smooth landmarks and W+ of every track over time, into separate fields of the rows.

        Args:
            times_s: Times of all frames of the clip, (frames,), seconds.
            rate: Frames per second.
        """
        for index, track in enumerate(self._tracks):
            rows, times = self.of(index), np.asarray(times_s)[list(track.frames)]
            for begin in range(0, len(track), _CHUNK):
                a, b = max(begin - 64, 0), min(begin + _CHUNK + 64, len(track))
                inner = slice(begin - a, min(begin + _CHUNK, len(track)) - a)
                for name, span in (("landmarks", _LANDMARK_FRAMES), ("wplus", _WPLUS_FRAMES)):
                    made = smooth(times[a:b], rows[name][a:b], track.trust[a:b], span / rate)
                    rows[f"steady_{name}"][begin : begin + _CHUNK] = made[inner]


def replaceable(track: Track) -> bool:
    """Return whether all landmarks of a track are known. Without them, its face cannot be aligned."""
    return bool(np.isfinite(track.landmarks_px).all())


def faces_at(tracks: Sequence[Track], frame: int) -> tuple[list[int], Faces]:
    """Return the faces that the tracks show in a frame.

    Args:
        tracks: The tracks; those that are kept or dropped are left out.
        frame: Number of the frame.

    Returns:
        Indices of the n tracks that show a face, and the n faces. Their scores are the tracks' trust.
    """
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
    """Measure every face of every track that has landmarks.

    Attributes are measured only in frames that are sampled for one of their tracks; in other frames they are NaN.

    Args:
        clip: The clip.
        scan: The scan of the clip.
        tracks: The tracks.
        anonymizer: Measures faces.
        space: Stores the measurements and samples.
        watch: Called with the stage, the number of finished frames, and their total.
        pool: Runs the work on frames.

    Returns:
        The measurements, and the samples of each track that has landmarks, by its index.

    Raises:
        VideoError: If a frame cannot be read.
        OutputError: If the measurements cannot be stored.
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
    """Return a sample whose image is stored in a file and read from there on use."""
    x0, y0, x1, y1 = source.window
    np.save(path, source.photo_rgb[y0:y1, x0:x1])
    return frame, np.load(path, mmap_mode="r"), np.array([x0, y0], np.float32)


def _sample_frames(track: Track) -> set[int]:
    """Return up to SAMPLES frames spread over a track, preferring those in which the face was detected."""
    seen = np.nonzero(track.seen)[0]
    places = seen if len(seen) else np.arange(len(track))
    picked = places[np.linspace(0, len(places) - 1, min(SAMPLES, len(places))).round().astype(int)]
    return {track.first + int(at) for at in picked}


def steady(source: SourceFace, row: Any) -> SourceFace:
    """Return a face with the landmarks and W+ that were smoothed over its track.

    Args:
        source: The face.
        row: Its row in `Measurements`, after `Measurements.steady`.
    """
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
    """Choose each person's target and swap step, by how they do on the person's samples.

    If the anonymiser assigns targets under a key, the people file is saved before this returns.

    Args:
        tracks: The tracks, with their people set.
        measured: Their measurements.
        samples: Samples by track index, from `measure`.
        anonymizer: Draws and judges faces.
        name: Name of the clip, on which a seed's targets depend.
        watch: Called with the stage, the number of finished people, and their total.
        taken: Targets from elsewhere, such as the photo that a clip belongs to. A person who matches one of the faces
            gets that face's target.
        pool: Runs the work on people.

    Returns:
        The targets by person, for all people with samples who are to be replaced.

    Raises:
        OutputError: If the people file cannot be written.
        PeopleFileError: If the people file cannot be read, or another run changed it at the same time.
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
    """Return up to SAMPLES of a person's samples, spread over their tracks, with the faces measured."""
    takes = [(i, *sample) for i in _tracks_of(person, tracks, samples) for sample in samples[i]]
    some = np.linspace(0, len(takes) - 1, min(SAMPLES, len(takes))).round().astype(int)
    chosen = (takes[k] for k in some)
    return [_rehearsed(tracks[i], i, frame, patch, at, measured, anonymizer) for i, frame, patch, at in chosen]


def _tracks_of(person: int, tracks: Sequence[Track], samples: Mapping[int, Any]) -> list[int]:
    return [i for i in samples if tracks[i].person == person and tracks[i].replaced]


def _mean(
    person: int, tracks: Sequence[Track], measured: Measurements, samples: Mapping[int, Any]
) -> dict[str, Float[np.ndarray, "1 ..."]]:
    """Return a person's mean attributes, (1, 7), and W+, (1, size).

    Only frames in which the face was detected and the values were measured count; if it was detected in none, all
    frames do. Each track has the same weight.
    """
    own = _tracks_of(person, tracks, samples)
    rows = [measured.of(i)[tracks[i].seen] for i in own]
    rows = [r for r in rows if len(r)] or [measured.of(i) for i in own]
    known = {n: [np.asarray(r[n]) for r in rows] for n in ("attributes", "wplus")}
    finite = {n: [some[np.isfinite(some).all(1)] for some in all_rows] for n, all_rows in known.items()}
    return {n: np.mean([some.mean(0) for some in all_rows if len(some)], 0)[None] for n, all_rows in finite.items()}


def _pseudonyms(
    takes: Mapping[int, Sequence[Take]], tracks: Sequence[Track], anonymizer: Anonymizer
) -> dict[int, Float[np.ndarray, "t size"]]:
    """Return the targets, (t, size), that the key assigns to each person; empty without a key.

    A person is represented by the clearest sample with the mean embedding. People who appear in the same frame are
    treated as different.
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
    """Return the target, (1, size), of each person who matches a face of `taken`, the most similar pairs first."""
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
    """Return a group number for each person.

    People who appear in the same frame share a group, also through other people.
    """
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
    """Result of trying one target on a person's samples.

    Attributes:
        failed: Indices of the samples that failed.
        close: Number of samples whose similarity is within the margin of the limit or above it.
        drifted: Number of samples in which sex or mouth changed; see `GateVerdict.drifts`.
        landmark_error: Mean landmark error of the samples that were tried.
    """

    failed: frozenset[int]
    close: int
    drifted: int
    landmark_error: float

    @property
    def rank(self) -> tuple[float, ...]:
        """Sort key, best first."""
        return len(self.failed), self.close, self.drifted, self.landmark_error


class _Rehearsal:
    """Tries targets on a person's samples.

    Samples in which most targets failed are tried first, and a trial ends as soon as it cannot become the best.
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
        """Return the best of several newly sampled targets.

        Args:
            name: Name of the clip.
            person: Number of the person.
            mean: The person's mean attributes, (1, 7), and W+, (1, size).
            other: Number of the alternative new face that was requested, 0 for the first.
        """
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
        """Return the first target and swap step that pass on every sample, or else the best.

        All steps of one target are tried before the next target.

        Args:
            targets: The person's targets in order of preference, (t, size).
        """
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
        """Return whether another target may pass on one of these samples; see `_HOPELESS`."""
        return any(self._failures[k] < self._tried[k] or self._tried[k] < _HOPELESS for k in failed)

    def _try(self, target: Float[np.ndarray, " size"], step: int, best: _Trial | None) -> _Trial:
        """Return the result of a target on the samples.

        The trial ends early once more samples failed than with the best target so far.
        """
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
