"""Draw and judge the faces of one live picture within a time limit. Faces that do not fit into it are obscured.

Each person keeps one target. A target is replaced when it fails, until it has passed in several pictures in a row. Then
a failure only obscures the face, unless it lasts for two seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from styleid.core.attempt import FaceProgress
from styleid.core.draft import PhotoDraft
from styleid.core.face import SourceFace
from styleid.core.gate import GateVerdict
from styleid.core.pipeline import Anonymizer
from styleid.core.targets import FreshTargets
from styleid.types import Action, FaceOutcome, Faces, ImageRGB
from styleid.video.live_tracks import LiveTrack

NO_TIME = "there was no time to judge it"
LOST = "it was not found in this picture"
NO_LANDMARKS = "no landmarks are known"
_SETTLED = 3
"""Number of consecutive pictures in which a target must pass before a failure no longer replaces it."""
_UNSETTLED_S = 2.0
"""Time of failure after which such a target is replaced, too, seconds."""
_HIDDEN_S = 0.3
"""Time for which a face stays obscured after a failure, so that it does not flicker, seconds."""
_FIRST_COST_S = 0.06
"""Initial estimate of the time per face, seconds."""
_NEWEST = 0.2
"""Weight of the newest picture in the estimate."""
_CHEAPER = 0.9
"""Factor on the estimate when not all faces fit; without it, too high an estimate would never be corrected."""
_MOST_PEOPLE = 1000
"""Number of people who are remembered."""


@dataclass
class LivePerson:
    """A person who was seen.

    Attributes:
        number: Number of the person, from 1.
        embedding: Unit embedding of the first measured face, (d,).
        target: W+ of the new face, (size,).
        step: Index of the method's swap step.
        attempt: Number of targets that were replaced.
        passes: Number of pictures in which the target has passed since it was chosen.
        failing_since_s: Time of the first of the latest consecutive failures, seconds; None after a pass.
        hidden_until_s: Time until which the face is obscured, seconds.
        tracks: Numbers of the person's current tracks.
    """

    number: int
    embedding: Float[np.ndarray, " d"]
    target: Float[np.ndarray, " size"]
    step: int = 0
    attempt: int = 0
    passes: int = 0
    failing_since_s: float | None = None
    hidden_until_s: float = -1.0
    tracks: set[int] = field(default_factory=set)


class LiveFaces:
    """Replaces the faces of live pictures.

    Attributes:
        people: Number of people who were seen.
    """

    def __init__(self, anonymizer: Anonymizer, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare to replace faces.

        Args:
            anonymizer: Draws and judges faces.
            name: Name of the source, on which a seed's targets depend.
            clock: Returns the time in seconds.
        """
        self._anonymizer, self._name, self._clock = anonymizer, name, clock
        self._fresh = FreshTargets(anonymizer.options.seed)
        self._replaces = anonymizer.options.method != "none"
        self._people: list[LivePerson] = []
        self._cost_s = _FIRST_COST_S
        self.people = 0

    def warm_up(self) -> None:
        """Run every network once, so that the first picture does not wait for them."""
        if not self._replaces:
            return
        image = np.full((256, 256, 3), 127, np.uint8)
        points = np.array([[100, 110], [156, 110], [128, 140], [105, 170], [151, 170]], np.float32)
        face = Faces(np.array([[70, 60, 186, 206]], np.float32), np.ones(1, np.float32), points[None])
        for _ in range(2):
            source = self._anonymizer.analyse(image, face, np.array([0]))[0]
            self._anonymizer.attempt_targets([FaceProgress(source)], image, self._met(source, 0.0).target[None])
            self._people.clear()
        self.people = 0

    def anonymize(
        self, image_rgb: ImageRGB, tracks: Sequence[LiveTrack], time_s: float, until: float
    ) -> tuple[PhotoDraft, list[FaceOutcome]]:
        """Replace or obscure every face of a picture.

        Args:
            image_rgb: The picture, uint8 (h, w, 3).
            tracks: The tracks in it, oldest first.
            time_s: Its time in the source, seconds.
            until: Time on the clock at which drawing should be finished, seconds.

        Returns:
            The new picture, and the outcome of each track.
        """
        faces = _faces(tracks)
        draft = PhotoDraft.of(image_rgb, len(tracks))
        rows = self._rows_in_time(tracks, faces, until)
        if len(rows):
            self._replace(image_rgb, tracks, faces, rows, draft, time_s)
        for k, outcome in enumerate(draft.outcomes):
            if outcome is None:
                reason = self._reason(tracks[k], faces, k)
                how = "solid" if self._replaces else None  # nobody measures whether blur would be enough
                self._anonymizer.obscure(draft, faces, k, reason, how=how)
        return draft, [outcome for outcome in draft.outcomes if outcome is not None]

    def _reason(self, track: LiveTrack, faces: Faces, k: int) -> str:
        if not self._replaces:
            return ""
        if track.lost:
            return LOST
        return NO_TIME if np.isfinite(faces.landmarks_px[k]).all() else NO_LANDMARKS

    def _rows_in_time(self, tracks: Sequence[LiveTrack], faces: Faces, until: float) -> Int[np.ndarray, " k"]:
        """Return the indices of the faces to replace. If time is short, the oldest tracks have priority."""
        fit = int(max(until - self._clock(), 0.0) / self._cost_s) if self._replaces else 0
        known = np.asarray(np.isfinite(faces.landmarks_px).all((1, 2)))
        rows = [k for k, track in enumerate(tracks) if known[k] and not track.lost]
        if fit < len(rows):
            self._cost_s *= _CHEAPER
        return np.array(rows[:fit], int)

    def _replace(
        self,
        image_rgb: ImageRGB,
        tracks: Sequence[LiveTrack],
        faces: Faces,
        rows: Int[np.ndarray, " k"],
        draft: PhotoDraft,
        time_s: float,
    ) -> None:
        begun = self._clock()
        sources = self._anonymizer.analyse(image_rgb, faces, rows)
        people = self._who(sources, tracks, time_s)
        progress = [
            FaceProgress(source, step=person.step, tries=person.attempt + 1)
            for source, person in zip(sources, people, strict=True)
        ]
        self._anonymizer.attempt_targets(progress, image_rgb, np.stack([person.target for person in people]))
        for face, person in zip(progress, people, strict=True):
            verdict = face.attempts[-1].verdict
            self._note(person, face, verdict, time_s)
            if verdict.passed and time_s < person.hidden_until_s:
                face.hide = self._anonymizer.options.obscure
        self._anonymizer.finish(progress, draft, faces)
        spent = (self._clock() - begun) / len(rows)
        self._cost_s = (1 - _NEWEST) * self._cost_s + _NEWEST * spent

    def _who(self, sources: Sequence[SourceFace], tracks: Sequence[LiveTrack], time_s: float) -> list[LivePerson]:
        """Return the person of each face: by the track, or else by the embedding."""
        numbers = [tracks[source.index].number for source in sources]
        by_track = {number: person for person in self._people for number in person.tracks}
        there = {id(by_track[track.number]) for track in tracks if track.number in by_track}
        people: list[LivePerson] = []
        for source, number in zip(sources, numbers, strict=True):
            person = by_track.get(number) or self._known(source, there) or self._met(source, time_s)
            person.tracks = {number} | (person.tracks & {track.number for track in tracks})
            there.add(id(person))
            people.append(person)
        return people

    def _known(self, source: SourceFace, there: set[int]) -> LivePerson | None:
        """Return the most similar known person who is not in the picture; None if the similarity does not suffice."""
        absent = [person for person in self._people if id(person) not in there]
        if not absent:
            return None
        alike = np.stack([person.embedding for person in absent]) @ source.observation.embedding
        thresholds = self._anonymizer.bundle.spec.thresholds
        return absent[int(alike.argmax())] if alike.max() > thresholds[min(thresholds)].high else None

    def _met(self, source: SourceFace, time_s: float) -> LivePerson:
        self.people += 1
        person = LivePerson(self.people, source.observation.embedding, np.zeros(0, np.float32))
        person.target = self._target(person, source)
        self._people = [*self._people[-_MOST_PEOPLE + 1 :], person]
        return person

    def _target(self, person: LivePerson, source: SourceFace) -> Float[np.ndarray, " size"]:
        attributes, own = source.observation.attributes[None], source.wplus[None]
        numbers = [(person.number, 0)]
        return self._fresh.draw(self._anonymizer.bundle, self._name, numbers, person.attempt, attributes, own)[0]

    def _note(self, person: LivePerson, face: FaceProgress, verdict: GateVerdict, time_s: float) -> None:
        """Update a person's state with the verdict on the new face, and choose another target if necessary."""
        steps = len(self._anonymizer.method.steps)
        if verdict.passed:
            person.passes, person.failing_since_s = person.passes + 1, None
            if person.passes < _SETTLED and verdict.near_limit:
                person.step = min(person.step + 1, steps - 1)
            return
        person.hidden_until_s = time_s + _HIDDEN_S
        person.failing_since_s = time_s if person.failing_since_s is None else person.failing_since_s
        if person.passes >= _SETTLED and time_s - person.failing_since_s < _UNSETTLED_S:
            return
        person.passes = 0
        person.attempt += 1
        if verdict.too_alike:
            person.step = min(person.step + 1, steps - 1)
        person.target = self._target(person, face.source)


def _faces(tracks: Sequence[LiveTrack]) -> Faces:
    if not tracks:
        return Faces.empty()
    boxes = np.stack([track.cover_xyxy for track in tracks])
    points = np.stack([track.landmarks_px for track in tracks])
    return Faces(boxes, np.ones(len(tracks), np.float32), points)


def hidden(outcome: FaceOutcome) -> bool:
    """Return whether a face was obscured."""
    return outcome.action is Action.OBSCURED
