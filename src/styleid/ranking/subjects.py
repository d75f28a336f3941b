"""Whose faces a ranking is measured on, people sampled from the bundle or those of photos, and their targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from styleid.bundles.bundle import Bundle
from styleid.core.options import AnonymizeOptions
from styleid.core.pipeline import Anonymizer
from styleid.core.rendering import render
from styleid.core.targets import FreshTargets
from styleid.errors import ImageError, OptionError
from styleid.faces.detect import FaceDetector
from styleid.media.image import read_photo
from styleid.media.storage.files import walk_inputs
from styleid.ranking.probe import Identity
from styleid.types import WPlusArray

_AGES = (18.0, 70.0)
_GROUPS = 5
Watch = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Subjects:
    """Hold one face each of n people, and a target for it.

    wplus, targets: (n, size). embeddings: (n, d), of the faces before they became codes. skipped: photos that
    show no usable face, each with the reason.
    """

    wplus: WPlusArray
    targets: WPlusArray
    embeddings: Float[np.ndarray, "n d"]
    skipped: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.wplus)


def sampled_people(bundle: Bundle, identity: Identity, count: int, seed: int) -> Subjects:
    """Draw people from the bundle itself.

    Where its mapping asks what a target should be like, ages, sexes and groups are drawn evenly.
    """
    spec, draw = bundle.spec, np.random.default_rng(seed)
    asked = np.zeros((count, 2 + _GROUPS), np.float32)
    asked[:, 0] = draw.uniform(*_AGES, count)
    asked[:, 1] = draw.integers(0, 2, count)
    asked[np.arange(count), 2 + draw.integers(0, _GROUPS, count)] = 1
    wplus = bundle.sample(_luck(seed, "source", count, spec.z), asked, np.zeros((count, spec.size), np.float32))
    images, landmarks = render(bundle, wplus)
    described = bundle.describe(images.round().astype(np.uint8))
    targets = bundle.sample(_luck(seed, "target", count, spec.z), described, wplus)
    return Subjects(wplus, targets, identity.of_faces(images, landmarks))


def people_of_photos(
    bundle: Bundle, identity: Identity, folder: Path, count: int, seed: int, watch: Watch | None = None
) -> Subjects:
    """Take people from a folder of photos: the largest face of a photo, one photo of each folder below it.

    Photos directly in the folder show a person each. Subjects are taken in an order drawn by the seed until there are
    `count`. Raises OptionError where the folder holds no photo with a face.
    """
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=seed))
    detector, parts, skipped = FaceDetector(), [], []
    chosen = _one_of_each(folder, seed)
    for path in chosen:
        if len(parts) == count:
            break
        try:
            image = read_photo(path).image_rgb
            faces = detector.detect(image)
            if not len(faces):
                raise ImageError(path, "no face is found")
        except ImageError as error:
            skipped.append((str(path.relative_to(folder)), error.reason))
            continue
        largest = int(np.argmax(faces.min_sides_px))
        source = anonymizer.analyse(image, faces, np.array([largest]))[0]
        matrix = identity.template.matrix(faces.landmarks_px[largest])
        embedding = identity.embed(identity.template.crop(image, matrix)[None])[0]
        parts.append((source.wplus, source.observation.attributes, embedding))
        if watch is not None:
            watch(len(parts), min(count, len(chosen)), f"reading {path.name}")
    if not parts:
        raise OptionError("faces", f"{folder} holds no photo with a face.")
    wplus, described, embeddings = (np.stack(column) for column in zip(*parts, strict=True))
    targets = bundle.sample(_luck(seed, "target", len(wplus), bundle.spec.z), described, wplus)
    return Subjects(wplus, targets, embeddings, tuple(skipped))


def _luck(seed: int, role: str, count: int, length: int) -> Float[np.ndarray, "n z"]:
    draw = FreshTargets(seed)
    return np.stack([draw.z(role, k, 0, length) for k in range(count)])


def _one_of_each(folder: Path, seed: int) -> list[Path]:
    """Return one photo of each person, in an order that the seed draws."""
    if not folder.is_dir():
        raise OptionError("faces", f"{folder} is not a folder.")
    photos: dict[str, list[Path]] = {}
    for file in walk_inputs([folder]):
        person = file.relative.parent.as_posix()
        photos.setdefault(file.relative.as_posix() if person == "." else person, []).append(folder / file.relative)
    draw = np.random.default_rng(seed)
    return [draw.choice(np.array(photos[person], object)) for person in draw.permutation(sorted(photos))]
