"""The faces on which a ranking is measured, sampled from the bundle or taken from photos, and their targets."""

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
"""Youngest and oldest age of sampled people, years."""
_GROUPS = 5
Watch = Callable[[int, int, str], None]
"""Called with the progress: the number done, the number in total, and a description."""


@dataclass(frozen=True)
class Subjects:
    """One face of each of n people, with a target.

    wplus: latent codes of the faces, (n, size).
    targets: latent codes of the targets, (n, size).
    embeddings: unit embeddings of the original faces, (n, d).
    skipped: photos that were not used, each with the reason.
    """

    wplus: WPlusArray
    targets: WPlusArray
    embeddings: Float[np.ndarray, "n d"]
    skipped: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.wplus)


def sampled_people(bundle: Bundle, identity: Identity, count: int, seed: int) -> Subjects:
    """Sample people from the bundle, with ages, sexes and groups in equal shares.

    Args:
        bundle: The networks.
        identity: The recogniser.
        count: Number of people.
        seed: Seed of the samples.
    """
    spec, draw = bundle.spec, np.random.default_rng(seed)
    asked = np.zeros((count, 2 + _GROUPS), np.float32)
    asked[:, 0] = draw.uniform(*_AGES, count)
    asked[:, 1] = draw.integers(0, 2, count)
    asked[np.arange(count), 2 + draw.integers(0, _GROUPS, count)] = 1
    wplus = bundle.sample(
        _random_inputs(seed, "source", count, spec.z), asked, np.zeros((count, spec.size), np.float32)
    )
    images, landmarks = render(bundle, wplus)
    described = bundle.describe(images.round().astype(np.uint8))
    targets = bundle.sample(_random_inputs(seed, "target", count, spec.z), described, wplus)
    return Subjects(wplus, targets, identity.of_faces(images, landmarks))


def people_of_photos(
    bundle: Bundle, identity: Identity, folder: Path, count: int, seed: int, watch: Watch | None = None
) -> Subjects:
    """Take people from a folder of photos.

    Each subfolder is one person, of whom one photo is used; so is each photo that lies directly in the folder. The
    largest face of a photo counts.

    Args:
        bundle: The networks.
        identity: The recogniser.
        folder: The folder.
        count: Largest number of people.
        seed: Seed of the random order in which people and photos are taken.
        watch: Called with the progress; None for no calls.

    Raises:
        OptionError: If the folder does not exist or contains no photo with a face.
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
        raise OptionError("faces", f"{folder} contains no photo with a face.")
    wplus, described, embeddings = (np.stack(column) for column in zip(*parts, strict=True))
    targets = bundle.sample(_random_inputs(seed, "target", len(wplus), bundle.spec.z), described, wplus)
    return Subjects(wplus, targets, embeddings, tuple(skipped))


def _random_inputs(seed: int, role: str, count: int, length: int) -> Float[np.ndarray, "n z"]:
    draw = FreshTargets(seed)
    return np.stack([draw.z(role, k, 0, length) for k in range(count)])


def _one_of_each(folder: Path, seed: int) -> list[Path]:
    """Return one random photo of each person, in random order."""
    if not folder.is_dir():
        raise OptionError("faces", f"{folder} is not a folder.")
    photos: dict[str, list[Path]] = {}
    for file in walk_inputs([folder]):
        person = file.relative.parent.as_posix()
        photos.setdefault(file.relative.as_posix() if person == "." else person, []).append(folder / file.relative)
    draw = np.random.default_rng(seed)
    return [draw.choice(np.array(photos[person], object)) for person in draw.permutation(sorted(photos))]
