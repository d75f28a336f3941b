"""Choose one target and one swap step per person for the whole clip, by trying targets on sampled frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from styleid.core.attempt import FaceProgress
from styleid.core.face import SourceFace
from styleid.core.gate import GateVerdict
from styleid.core.pipeline import Anonymizer
from styleid.core.targets import FreshTargets
from styleid.people.pseudonyms import ConsistentTargets
from styleid.people.targets import Sighting, TakenTarget, clearest, sightings_of
from styleid.types import ImageRGB
from styleid.video.ahead import ONE_BY_ONE, FramePool
from styleid.video.measurements import SAMPLES, Measurements, Sample, faces_at
from styleid.video.measuring import recall, steady
from styleid.video.scan import Watch
from styleid.video.tracks import Track

_MARGIN = 0.08
"""Least distance of the samples' similarity to the limit, because other frames of the track may be harder."""
_DRIFTS_ALLOWED = 0.2
"""Share of a person's samples in which a target may change sex or mouth and still be accepted at once."""
TAKEN_FMR = 1e-2
"""False-match rate at which a person of the clip is matched to a face of its photo. It can be high, because both were
taken within seconds."""
_PATIENCE = 3
"""Factor on the number of tries for a photo while samples fail, because one target serves the whole clip."""
_HOPELESS = 4
"""Number of targets that all fail on a sample after which no other target is expected to pass on it."""

TrialSample = tuple[SourceFace, ImageRGB]
"""A measured face, and the image around it into which new faces are drawn."""


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
    samples_of = {person: _trial_samples(person, tracks, measured, samples, anonymizer) for person in people}
    given = _pseudonyms(samples_of, tracks, anonymizer) | _taken(samples_of, taken, anonymizer)

    def choose(person: int) -> AssignedTarget:
        trials = _TargetTrials(anonymizer, samples_of[person])
        if person in given:
            return trials.first_passing(given[person])
        other = max(tracks[i].other for i in _tracks_of(person, tracks, samples))
        return trials.best_new_target(name, person, _mean(person, tracks, measured, samples), other)

    chosen: dict[int, AssignedTarget] = {}
    for person, part in zip(people, pool.in_order(choose, people), strict=True):
        chosen[person] = part
        if watch is not None:
            watch("choosing targets", len(chosen), len(people))
    return chosen


def _trial_samples(
    person: int,
    tracks: Sequence[Track],
    measured: Measurements,
    samples: Mapping[int, Sequence[Sample]],
    anonymizer: Anonymizer,
) -> list[TrialSample]:
    """Return up to SAMPLES of a person's samples, spread over their tracks, with the faces measured."""
    available = [(i, *sample) for i in _tracks_of(person, tracks, samples) for sample in samples[i]]
    some = np.linspace(0, len(available) - 1, min(SAMPLES, len(available))).round().astype(int)
    chosen = (available[k] for k in some)
    return [_trial_sample(tracks[i], i, frame, patch, at, measured, anonymizer) for i, frame, patch, at in chosen]


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
    samples_of: Mapping[int, Sequence[TrialSample]], tracks: Sequence[Track], anonymizer: Anonymizer
) -> dict[int, Float[np.ndarray, "t size"]]:
    """Return the targets, (t, size), that the key assigns to each person; empty without a key.

    A person is represented by the clearest sample with the mean embedding. People who appear in the same frame are
    treated as different.
    """
    if not isinstance(anonymizer.targets, ConsistentTargets):
        return {}
    bundle, sightings = anonymizer.bundle, dict[int, Sighting]()
    groups = _groups_in_one_frame(list(samples_of), tracks)
    for person, own in samples_of.items():
        some = sightings_of(bundle, f"clip {groups[person]}", [source for source, _ in own])
        mean = np.mean([s.embedding for s in some], 0)
        best = clearest(some, bundle.spec.resolution)[0]
        sightings[person] = replace(best, embedding=mean / max(float(np.linalg.norm(mean)), 1e-9))
    anonymizer.targets.assign(list(sightings.values()))
    given = {p: anonymizer.targets.given_to(sighting.mark) for p, sighting in sightings.items()}
    return {person: one.targets for person, one in given.items() if one is not None}


def _taken(
    samples_of: Mapping[int, Sequence[TrialSample]], taken: Sequence[TakenTarget], anonymizer: Anonymizer
) -> dict[int, Float[np.ndarray, "1 size"]]:
    """Return the target, (1, size), of each person who matches a face of `taken`, the most similar pairs first."""
    if not taken:
        return {}
    rates = anonymizer.bundle.spec.thresholds
    least = rates[min(rates, key=lambda rate: abs(np.log(rate / TAKEN_FMR)))].high
    alike = [
        (float(np.mean([source.observation.embedding for source, _ in own], 0) @ one.embedding), person, k)
        for person, own in samples_of.items()
        for k, one in enumerate(taken)
    ]
    given: dict[int, Float[np.ndarray, "1 size"]] = {}
    used: set[int] = set()
    for similarity, person, k in sorted(alike, reverse=True):
        if similarity > least and person not in given and k not in used:
            given[person] = taken[k].target[None]
            used.add(k)
    return given


def _groups_in_one_frame(people: Sequence[int], tracks: Sequence[Track]) -> dict[int, int]:
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


def _trial_sample(
    track: Track,
    index: int,
    frame: int,
    patch: ImageRGB,
    at: Float[np.ndarray, " 2"],
    measured: Measurements,
    anonymizer: Anonymizer,
) -> TrialSample:
    _, faces = faces_at([track], frame)
    image, row = np.array(patch), measured.row(index, frame)
    moved = faces.moved(1.0, (-float(at[0]), -float(at[1])))
    if anonymizer.method.pixel is None:
        source = recall(anonymizer, image, moved, 0, row, measured.maps(row))
    else:  # label maps are not stored
        source = anonymizer.analyse(image, moved, np.array([0]))[0]
    return steady(source, row), image


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


class _TargetTrials:
    """Tries targets on a person's samples.

    Samples in which most targets failed are tried first, and a trial ends as soon as it cannot become the best.
    """

    def __init__(self, anonymizer: Anonymizer, samples: Sequence[TrialSample]) -> None:
        self._anonymizer = anonymizer
        self._sources, self._images = [s for s, _ in samples], [i for _, i in samples]
        self._fresh = FreshTargets(anonymizer.options.seed)
        self._own = np.stack([s.wplus for s in self._sources])
        self._tried, self._failures = np.zeros((2, len(samples)), int)

    def best_new_target(
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
            drawn = self._fresh.draw(
                anonymizer.bundle, name, [(person, other)], attempt, mean["attributes"], mean["wplus"]
            )
            target = drawn[0]
            trial = self._try(target, step, None if best is None else best[0])
            if best is None or trial.rank < best[0].rank:
                best = trial, AssignedTarget(target, step, attempt + 1)
            if not trial.failed and not trial.close and trial.drifted <= _DRIFTS_ALLOWED * len(self._sources):
                break
            if trial.close:
                step = min(step + 1, steps - 1)
        assert best is not None
        return replace(best[1], tries=tries)

    def first_passing(self, targets: Float[np.ndarray, "t size"]) -> AssignedTarget:
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
