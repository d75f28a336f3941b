"""Targets that are given to people and not to faces: what a face needs to be known by, and how its attempts go on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from styleid.bundles.bundle import Bundle
from styleid.core.attempt import FaceProgress
from styleid.core.face import SourceFace
from styleid.core.gate import GateVerdict
from styleid.core.methods import Method
from styleid.core.protocols import Targets
from styleid.core.rendering import render
from styleid.faces.geometry import five_points
from styleid.faces.views import embed_views
from styleid.types import WPlusArray

CANDIDATES = 8
"""How many targets are drawn for somebody, of which the best are taken."""
_REFERENCES = 3
_STEADY = 0.6
"""How alike a target must stay on average, as it is drawn with the poses of a person's photos."""
_STRANGE_WEIGHT = 2.0
"""How much more it matters to be a stranger than to stay alike from photo to photo."""


@dataclass(frozen=True)
class Sighting:
    """What is kept of a face between a run's first pass and its second.

    photo, face: where it was seen, and its place among the photo's faces. mark: SHA-256 of its crop, by which it is
    found again. embedding (d,), attributes (7,) and wplus (size,) as measured. side_px: the shorter side of its
    box.
    """

    photo: str
    face: int
    mark: bytes
    embedding: Float[np.ndarray, " d"]
    attributes: Float[np.ndarray, "7"]
    wplus: Float[np.ndarray, " size"]
    side_px: float


def sightings_of(bundle: Bundle, photo: str, sources: Sequence[SourceFace]) -> list[Sighting]:
    """Note faces that were analysed, with embeddings of several views of each."""
    template = bundle.spec.identity_crop
    embeddings = embed_views(bundle, np.stack([s.views(template) for s in sources]))
    return [
        Sighting(photo, s.index, mark_of(s), e, s.observation.attributes, s.wplus, float(s.detection.min_sides_px[0]))
        for s, e in zip(sources, embeddings, strict=True)
    ]


def mark_of(source: SourceFace) -> bytes:
    """Return what a face is found again by: nothing else has the same crop of the same photo."""
    matrix = np.round(source.matrix.astype(np.float64), 3)
    return hashlib.sha256(np.ascontiguousarray(source.crop).tobytes() + matrix.tobytes()).digest()


@dataclass(frozen=True)
class PersonTargets:
    """A person's targets, W+ (t, size), in the order in which they are tried; group: see `FaceOutcome`."""

    targets: Float[np.ndarray, "t size"]
    group: tuple[int, int] | None = None


@dataclass(frozen=True)
class TakenTarget:
    """What somebody became: the embedding (d,) of their face, unit length, and the target W+ (size,) that it took."""

    embedding: Float[np.ndarray, " d"]
    target: Float[np.ndarray, " size"]


class RecordedTargets:
    """Choose as other targets do, and remember what each face of a photo took."""

    def __init__(self, chosen_by: Targets) -> None:
        self._by = chosen_by
        self._faces: list[FaceProgress] = []
        self._made: dict[int, list[Float[np.ndarray, " size"]]] = {}

    def admit(self, faces: Sequence[FaceProgress]) -> None:
        """Look at the faces as the others do."""
        self._by.admit(faces)
        self._faces += faces

    def sample(self, bundle: Bundle, photo: str, faces: Sequence[FaceProgress], attempt: int) -> WPlusArray:
        """Return the others' targets."""
        made = self._by.sample(bundle, photo, faces, attempt)
        for face, target in zip(faces, made, strict=True):
            self._made.setdefault(face.index, []).append(target)
        return made

    def plan_next(self, face: FaceProgress, verdict: GateVerdict, steps: int) -> bool:
        """Go on as the others do."""
        return self._by.plan_next(face, verdict, steps)

    def taken(self) -> list[TakenTarget]:
        """Return what the faces took that have a new one."""
        best = [(face, one) for face in self._faces if (one := face.best) is not None and one.verdict.passed]
        return [
            TakenTarget(face.source.observation.embedding, self._made[face.index][face.attempts.index(one)])
            for face, one in best
        ]


class AssignedTargets:
    """Give each face what was given to its person.

    A face that fails takes more of the same target before it takes the person's next one, unless it fails by its pose
    alone, which more of a target does not mend; and no face goes on once it has passed: to stay the same matters more
    than a closed mouth.
    """

    def __init__(self) -> None:
        self._given: dict[bytes, PersonTargets] = {}

    def give(self, marks: Iterable[bytes], given: PersonTargets) -> None:
        """Give the faces of some sightings the targets of their person."""
        self._given |= dict.fromkeys(marks, given)

    def given(self, source: SourceFace) -> PersonTargets | None:
        """Return what a face was given, None where it is unknown."""
        return self.given_to(mark_of(source))

    def given_to(self, mark: bytes) -> PersonTargets | None:
        """Return what the face of a sighting was given."""
        return self._given.get(mark)

    def admit(self, faces: Sequence[FaceProgress]) -> None:
        """Refuse faces that were given nothing."""
        for face in faces:
            given = self.given(face.source)
            if given is None:
                face.refusal = "the face was not there when targets were given"
            else:
                face.group = given.group

    def sample(self, bundle: Bundle, photo: str, faces: Sequence[FaceProgress], attempt: int) -> WPlusArray:
        """Return the target that each face is at."""
        chosen: list[np.ndarray] = []
        for face in faces:
            given = self.given(face.source)
            assert given is not None
            chosen.append(given.targets[face.target])
        return np.stack(chosen).astype(np.float32)

    def plan_next(self, face: FaceProgress, verdict: GateVerdict, steps: int) -> bool:
        """Take more of the target, then the next one; stop where the face passes or nothing is left to try."""
        given = self.given(face.source)
        if verdict.passed or given is None:
            return False
        last = face.target == len(given.targets) - 1
        if face.step < steps - 1 and (last or verdict.too_alike or not verdict.astray):
            face.step += 1
            return True
        if last:
            return False
        face.target, face.step = face.target + 1, 0
        return True


def clearest(sightings: Iterable[Sighting], enough_px: float) -> list[Sighting]:
    """Return the faces that say most of a person, at most three, best first: large enough, then near their average."""
    own = list(sightings)
    mean = np.mean([s.embedding for s in own], 0)
    own.sort(key=lambda s: (min(s.side_px, enough_px), float(s.embedding @ mean), s.mark), reverse=True)
    return own[:_REFERENCES]


def best_targets(
    bundle: Bundle,
    method: Method,
    candidates: WPlusArray,
    references: Sequence[Sighting],
    embeddings: Float[np.ndarray, "p d"],
) -> WPlusArray:
    """Return candidates W+ (m, size) in the order in which they should be tried.

    Each is drawn with the pose and light of every reference. Best is who stays alike enough over these and is a
    stranger to all people who will have it, embeddings (p, d); who changes the first reference's sex comes last. Of
    equals the first drawn is best: those who stay *most* alike are the same few whatever the key.
    """
    spec, count = bundle.spec, len(candidates)
    own = np.repeat(np.stack([r.wplus for r in references]), count, 0)
    many = np.tile(candidates, (len(references), 1))
    images, landmarks = render(bundle, method.swap(bundle, own, many, [0] * len(many)))
    drawn = images.round().astype(np.uint8)
    crops = [
        spec.identity_crop.crop(image, spec.identity_crop.matrix(five_points(points)))
        for image, points in zip(drawn, landmarks, strict=True)
    ]
    faces = bundle.embed(np.stack(crops)).reshape(len(references), count, -1)
    steady = np.einsum("rcd,scd->crs", faces, faces).mean((1, 2))
    alike, strangers = faces @ embeddings.T, spec.thresholds[max(spec.thresholds)]
    beyond = np.maximum(alike - strangers.high, strangers.low - alike).max((0, 2)).clip(0)
    changed = (bundle.describe(drawn[:count])[:, 1] > 0.5) != (references[0].attributes[1] > 0.5)
    lack = _STRANGE_WEIGHT * beyond + (_STEADY - steady).clip(0)
    return candidates[np.lexsort((np.arange(count), lack, changed))]
