"""Attack the faces of a run with every recogniser, each figure beside its floor.

Kept faces are left out. If there are more faces than wanted, whole people are drawn by seed. Named people come first,
because several attacks need several photos of a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from styleid.bundles.spec import BundleSpec
from styleid.errors import ImageError
from styleid.evaluate.battery import Battery, Case, Figure, Thresholds, figures
from styleid.evaluate.certificate.examine import ExaminedFace, ExaminedPhoto
from styleid.evaluate.certificate.runs import Item
from styleid.evaluate.instruments import Instruments, fill
from styleid.evaluate.originals import match_people
from styleid.evaluate.outputs import fitted
from styleid.evaluate.protocol import Named
from styleid.evaluate.recognisers import Recogniser
from styleid.faces.align import invert, transform_points
from styleid.faces.geometry import with_forehead
from styleid.media.image import read_photo
from styleid.types import Faces, FloatArray, ImageRGB

VIEWS = ("clear", "filled", "shown")
ALIGNMENT = "original"
PUBLISHED = {"dlib": (1e-2, 0.915), "sface": (1e-3, 0.363)}
"""Thresholds of the authors of recognisers, as nominal false-match rate and cosine similarity: dlib's distance of 0.6
between raw vectors, whose length is about 1.455, and OpenCV's 0.363."""
FROM_RUN, FROM_BUNDLE, FROM_MAKER = "clear faces of the run", "the bundle", "the recogniser's makers"


@dataclass(frozen=True)
class Target:
    """A face to attack. face: its number in the photo. label: of its person. named: whether the user named the person.

    lost: whether its output could not be measured.
    """

    photo: str
    face: int
    label: str
    named: bool
    lost: bool


@dataclass(frozen=True)
class EmbedTask:
    """The faces of a photo to embed. faces: all faces, which are filled for the floor. wanted: their numbers."""

    item: Item
    faces: tuple[ExaminedFace, ...]
    wanted: tuple[int, ...]


@dataclass
class Attacked:
    """The results of the attacks.

    Attributes:
        figures: All results.
        thresholds: Thresholds by recogniser.
        sources: Where the thresholds come from, by recogniser.
        faces: Number of faces that were attacked.
        of: Number of faces that could be attacked.
        people: Number of named people among the attacked faces.
        problems: What could not be measured, and why.
    """

    figures: list[Figure] = field(default_factory=list)
    thresholds: dict[str, Thresholds] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    faces: int = 0
    of: int = 0
    people: int = 0
    problems: list[str] = field(default_factory=list)


Embeddings = dict[tuple[str, str], FloatArray]


def choose_targets(
    examined: Sequence[ExaminedPhoto], people: Mapping[str, tuple[Named, ...]], most: int, seed: int
) -> tuple[list[Target], int]:
    """Choose the faces to attack.

    Args:
        examined: The photos.
        people: Named people by photo.
        most: Maximum number of faces.
        seed: Seed of the random choice.

    Returns:
        The faces to attack, and the number of all faces that could be attacked.
    """
    every = [target for look in examined for target in _targets_of(look, people.get(look.name, ()))]
    if len(every) <= most:
        return every, len(every)
    labels = np.array([target.label for target in every])
    named = {target.label for target in every if target.named}
    names = np.unique(labels)
    order = np.random.default_rng(seed).permutation(len(names))
    chosen: set[str] = set()
    counts = dict(zip(*np.unique(labels, return_counts=True), strict=True))
    left = most
    for name in sorted(names[order], key=lambda one: str(one) not in named):
        if counts[name] <= left:
            chosen.add(str(name))
            left -= int(counts[name])
    return [target for target in every if target.label in chosen], len(every)


def _targets_of(look: ExaminedPhoto, named: tuple[Named, ...]) -> list[Target]:
    if not look.faces:
        return []
    boxes = np.stack([face.box_xyxy for face in look.faces]).astype(np.float32)
    points = np.stack([face.landmarks_px for face in look.faces])
    faces = Faces(boxes, np.ones(len(boxes), np.float32), points)
    size = boxes.reshape(-1, 2, 2).max((0, 1))
    people = match_people(faces, named, (int(size[1]), int(size[0]), 3))[1] if named else [""] * len(boxes)
    return [
        Target(look.name, number, people[number] or f"{look.name}#{number}", bool(people[number]), look.status.lost)
        for number, face in enumerate(look.faces)
        if not face.is_left
    ]


def embed_faces(task: EmbedTask, tools: Instruments) -> list[Embeddings]:
    """Return the embeddings of the wanted faces of a photo by recogniser and view: original, filled and output."""
    assert task.item.original is not None, "faces are found in originals"
    original = read_photo(task.item.original)
    outlines = _outlines(tools, original.image_rgb, task.faces)
    hidden = _filled(original.image_rgb, outlines)
    images = {"clear": original.image_rgb, "filled": hidden}
    if task.item.output is not None and (shown := _shown(task.item.output, original)) is not None:
        images["shown"] = shown
    return [
        {
            (recogniser.name, view): tools.embed(recogniser, image, task.faces[number].landmarks_px, outlines[number])
            for recogniser in tools.recognisers
            for view, image in images.items()
        }
        for number in task.wanted
    ]


def _shown(output: Path, original: Any) -> ImageRGB | None:
    """Return an output in the size of its original; None if it cannot be read or has another shape."""
    try:
        return fitted(read_photo(output).seen_like(original), original.image_rgb)
    except ImageError:
        return None


def _outlines(tools: Instruments, image_rgb: ImageRGB, faces: Sequence[ExaminedFace]) -> list[FloatArray]:
    template = tools.bundle.spec.crop
    matrices = [template.matrix(face.landmarks_px) for face in faces]
    landmarks = tools.bundle.parse(np.stack([template.crop(image_rgb, matrix) for matrix in matrices]))[1]
    pairs = zip(landmarks, matrices, strict=True)
    return [transform_points(with_forehead(points), invert(matrix)) for points, matrix in pairs]


def _filled(image_rgb: ImageRGB, outlines: Sequence[FloatArray]) -> ImageRGB:
    hidden = image_rgb.copy()
    for outline in outlines:
        inside = fill((hidden.shape[0], hidden.shape[1]), outline)
        if inside.any():
            hidden[inside] = hidden[inside].mean(0).round()
    return hidden


def embed_tasks(
    examined: Sequence[ExaminedPhoto], items: Mapping[str, Item], targets: Sequence[Target]
) -> list[EmbedTask]:
    """Return the faces to embed, by photo, in the order of the targets."""
    wanted: dict[str, list[int]] = {}
    for target in targets:
        wanted.setdefault(target.photo, []).append(target.face)
    faces = {look.name: tuple(look.faces) for look in examined}
    return [EmbedTask(items[name], faces[name], tuple(numbers)) for name, numbers in wanted.items()]


def attack(
    targets: Sequence[Target],
    embeddings: Sequence[Embeddings],
    recognisers: Sequence[Recogniser],
    spec: BundleSpec,
    battery: Battery,
) -> Attacked:
    """Run the attacks with every recogniser.

    Args:
        targets: The faces.
        embeddings: Their embeddings.
        recognisers: The recognisers.
        spec: Of the bundle, whose thresholds are used without named people.
        battery: The attacks.
    """
    labels = np.array([target.label for target in targets], str)
    named, lost = (np.array([getattr(target, name) for target in targets], bool) for name in ("named", "lost"))
    found = Attacked(faces=len(targets), people=len(set(labels[named])) if len(labels) else 0)
    if not targets:
        found.problems.append("there is no face to attack.")
        return found
    found.problems += battery.not_measured(labels[named])
    for recogniser in recognisers:
        clear, filled, shown = (_stacked(embeddings, recogniser.name, view) for view in VIEWS)
        placed, source = thresholds_of(recogniser, clear, labels, named, spec)
        found.thresholds[recogniser.name], found.sources[recogniser.name] = placed, source
        found.problems += [f"{recogniser.name}: {why}" for why in placed.missing]
        nobody = np.zeros(len(targets), bool)
        floor = battery.run(Case(clear, filled, labels, named, nobody, placed))
        seen = battery.run(Case(clear, shown, labels, named, lost, placed))
        found.figures += figures(seen, floor, recogniser.name, ALIGNMENT)
    return found


def _stacked(embeddings: Sequence[Embeddings], name: str, view: str) -> FloatArray:
    width = next(len(one[name, "clear"]) for one in embeddings)
    nothing = np.full(width, np.nan, np.float32)
    return np.stack([one.get((name, view), nothing) for one in embeddings])


def thresholds_of(
    recogniser: Recogniser, clear: FloatArray, labels: FloatArray, named: FloatArray, spec: BundleSpec
) -> tuple[Thresholds, str]:
    """Return the thresholds of a recogniser, and where they come from.

    Named people give pairs of strangers, from which thresholds are computed. Without names, two photos of one person
    could count as strangers, so the thresholds of the bundle or of the authors of the recogniser are used.
    """
    if named.any() and len(np.unique(labels[named])) > 1:
        placed = Thresholds.of(clear[named], labels[named])
        if placed.values:
            return placed, FROM_RUN
    if recogniser.in_gate:
        return Thresholds({rate: one.high for rate, one in spec.thresholds.items()}, 0), FROM_BUNDLE
    if recogniser.name in PUBLISHED:
        rate, similarity = PUBLISHED[recogniser.name]
        return Thresholds({rate: similarity}, 0), FROM_MAKER
    return Thresholds({}, 0, ("no threshold: give `identities`, so that pairs of strangers are known.",)), ""
