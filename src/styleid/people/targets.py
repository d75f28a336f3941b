"""Targets that are assigned to people instead of to single faces."""

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
"""Number of candidates for the targets of a person or group."""
_REFERENCES = 3
"""Largest number of a person's faces that candidates are compared with."""
_STEADY = 0.6
"""Average similarity of a target's own renderings, over the person's photos, that counts as consistent."""
_STRANGE_WEIGHT = 2.0
"""Weight of being a stranger to the person, relative to being consistent."""


@dataclass(frozen=True)
class Sighting:
    """A face as it is stored between the first pass of a run, which measures all faces, and the second.

    photo: name of the photo.
    face: position of the face among the photo's faces.
    mark: digest of the face's crop, by which it is recognised in the second pass.
    embedding: unit embedding, the mean over several views, (d,).
    attributes: attributes from `Bundle.describe`, (7,).
    wplus: latent code, (size,).
    side_px: shorter side of its box, pixels.
    """

    photo: str
    face: int
    mark: bytes
    embedding: Float[np.ndarray, " d"]
    attributes: Float[np.ndarray, "7"]
    wplus: Float[np.ndarray, " size"]
    side_px: float


def sightings_of(bundle: Bundle, photo: str, sources: Sequence[SourceFace]) -> list[Sighting]:
    """Return the sightings of measured faces, with embeddings over several views.

    Args:
        bundle: The networks.
        photo: Name of the photo.
        sources: The measured faces; at least one.
    """
    template = bundle.spec.identity_crop
    embeddings = embed_views(bundle, np.stack([s.views(template) for s in sources]))
    return [
        Sighting(photo, s.index, mark_of(s), e, s.observation.attributes, s.wplus, float(s.detection.min_sides_px[0]))
        for s, e in zip(sources, embeddings, strict=True)
    ]


def mark_of(source: SourceFace) -> bytes:
    """Return a digest of a face's crop and its position, by which it is recognised in a second pass."""
    matrix = np.round(source.matrix.astype(np.float64), 3)
    return hashlib.sha256(np.ascontiguousarray(source.crop).tobytes() + matrix.tobytes()).digest()


@dataclass(frozen=True)
class PersonTargets:
    """The targets of one person.

    targets: W+ (t, size), in the order in which they are tried.
    group: number and size of the group of people that shares them; None without groups.
    """

    targets: Float[np.ndarray, "t size"]
    group: tuple[int, int] | None = None


@dataclass(frozen=True)
class TakenTarget:
    """An original face and the target of its new face.

    embedding: unit embedding of the original, (d,).
    target: the target, W+ (size,).
    """

    embedding: Float[np.ndarray, " d"]
    target: Float[np.ndarray, " size"]


class RecordedTargets:
    """Wraps other targets and records which target each face of a photo got; implements `Targets`."""

    def __init__(self, chosen_by: Targets) -> None:
        """Wrap the targets that choose."""
        self._by = chosen_by
        self._faces: list[FaceProgress] = []
        self._made: dict[int, list[Float[np.ndarray, " size"]]] = {}

    def admit(self, faces: Sequence[FaceProgress]) -> None:
        """Admit faces with the wrapped targets, and record the faces."""
        self._by.admit(faces)
        self._faces += faces

    def sample(self, bundle: Bundle, photo: str, faces: Sequence[FaceProgress], attempt: int) -> WPlusArray:
        """Return the wrapped targets' choice, and record it."""
        made = self._by.sample(bundle, photo, faces, attempt)
        for face, target in zip(faces, made, strict=True):
            self._made.setdefault(face.index, []).append(target)
        return made

    def plan_next(self, face: FaceProgress, verdict: GateVerdict, steps: int) -> bool:
        """Plan the next attempt with the wrapped targets."""
        return self._by.plan_next(face, verdict, steps)

    def taken(self) -> list[TakenTarget]:
        """Return the targets of the faces that got a new face."""
        best = [(face, one) for face in self._faces if (one := face.best) is not None and one.verdict.passed]
        return [
            TakenTarget(face.source.observation.embedding, self._made[face.index][face.attempts.index(one)])
            for face, one in best
        ]


class AssignedTargets:
    """Gives each face the targets of its person; implements `Targets`.

    A face that fails first gets the next swap step with the same target, then the person's next target. If only its
    pose fails, it gets the next target at once, because a stronger swap would not help. A face that passes gets no
    further attempt, even if it drifted: consistency is more important.
    """

    def __init__(self) -> None:
        self._given: dict[bytes, PersonTargets] = {}

    def give(self, marks: Iterable[bytes], given: PersonTargets) -> None:
        """Assign targets to the faces with some marks."""
        self._given |= dict.fromkeys(marks, given)

    def given(self, source: SourceFace) -> PersonTargets | None:
        """Return the targets of a face, or None if it has none."""
        return self.given_to(mark_of(source))

    def given_to(self, mark: bytes) -> PersonTargets | None:
        """Return the targets of the face with a mark, or None if it has none."""
        return self._given.get(mark)

    def admit(self, faces: Sequence[FaceProgress]) -> None:
        """Refuse faces without targets, and note the group of the others."""
        for face in faces:
            given = self.given(face.source)
            if given is None:
                face.refusal = "the face was not found in the first pass, which assigned the targets"
            else:
                face.group = given.group

    def sample(self, bundle: Bundle, photo: str, faces: Sequence[FaceProgress], attempt: int) -> WPlusArray:
        """Return the current target of each face, W+ (n, size); see `Targets.sample`."""
        chosen: list[np.ndarray] = []
        for face in faces:
            given = self.given(face.source)
            assert given is not None
            chosen.append(given.targets[face.target])
        return np.stack(chosen).astype(np.float32)

    def plan_next(self, face: FaceProgress, verdict: GateVerdict, steps: int) -> bool:
        """Set the face's next step or target; stop if the face passes or all were tried. See `Targets.plan_next`."""
        given = self.given(face.source)
        if verdict.passed or given is None:
            return False
        last = face.target == len(given.targets) - 1
        if face.step < steps - 1 and (last or verdict.too_alike or not verdict.displaced):
            face.step += 1
            return True
        if last:
            return False
        face.target, face.step = face.target + 1, 0
        return True


def clearest(sightings: Iterable[Sighting], enough_px: float) -> list[Sighting]:
    """Return a person's most representative faces.

    Faces are ordered by size, up to a sufficient size, then by similarity to their mean.

    Args:
        sightings: The person's faces.
        enough_px: Size above which a larger face is not better, pixels.

    Returns:
        At most three faces, the best first.
    """
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
    """Return candidates for targets in the order in which they should be tried.

    Each candidate is rendered with the pose and light of every reference. A good candidate is sufficiently consistent
    over these renderings and a stranger to all people who will share it. Candidates that change the sex of the first
    reference come last. Among equally good candidates, the earlier one comes first; preferring the *most* consistent
    ones would select the same few for every key.

    Args:
        bundle: The networks.
        method: The method that swaps.
        candidates: W+ (m, size).
        references: Faces of the people who will share the target.
        embeddings: Unit embeddings of these people, (p, d).

    Returns:
        W+ (m, size).
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
