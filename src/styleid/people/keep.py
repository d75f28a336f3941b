"""People to leave alone: who of a photo is surely one of them.

The doubt is on the side of hiding: a face is kept only where it is as like one kept person as the bundle's strictest
false-match rate asks, shared among all kept people, and clearly less like any other of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from styleid.bundles.bundle import Bundle
from styleid.bundles.spec import SimilarityRange
from styleid.errors import ImageError, OptionError
from styleid.faces.detect import FaceDetector
from styleid.faces.views import embed_faces
from styleid.media.image import read_photo
from styleid.media.storage.files import walk_inputs
from styleid.types import Faces, FloatArray, ImageRGB

MARGIN = 0.1
"""How much more like the nearest kept person than like the second a face must be."""
_LARGEST_BY = 1.5
"""How many times as wide as the next the face must be that a photo of a kept person is taken to show."""


@dataclass(frozen=True)
class Match:
    """Say whom a face is nearest to. person: place among the kept people; sure: whether it is to be left alone."""

    person: int
    similarity: float
    sure: bool


def keep_threshold(thresholds: Mapping[float, SimilarityRange], people: int) -> float:
    """Return the similarity from which a face is one of some kept people.

    Each more of them is one more chance of a false match, so that the strictest rate of the bundle is divided by their
    number; beyond the bundle's rates the bound goes on as it did between the last two, over the rate's logarithm.
    """
    rates = sorted(thresholds)
    strictest = thresholds[rates[0]].high
    if len(rates) == 1:
        return strictest if people == 1 else min(1.0, strictest + 0.05 * float(np.log10(people)))
    next_one = thresholds[rates[1]].high
    rise = max(strictest - next_one, 0.0) / float(np.log10(rates[1] / rates[0]))
    return strictest + rise * float(np.log10(people))


@dataclass(frozen=True)
class Keep:
    """Find people to leave alone.

    people: by name, the unit embeddings (r, d) of their photos, of which the mean direction counts: several photos know
    a person better than one. mark: of the folder's photos, for the journal.
    """

    bundle: Bundle
    people: Mapping[str, Float[np.ndarray, "r d"]]
    mark: str

    @property
    def threshold(self) -> float:
        """The similarity from which a face is left alone."""
        return keep_threshold(self.bundle.spec.thresholds, len(self.people))

    def similarities(self, embeddings: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n people"]:
        """Return how like each kept person each of some faces (n, d) is, (n, people)."""
        return embeddings @ np.stack([_unit(own.mean(0)) for own in self.people.values()]).T

    def nearest(self, alike: Float[np.ndarray, " people"]) -> Match:
        """Say whom a face is nearest to, by how like each kept person it is, (people,)."""
        nearest, *others = np.argsort(-alike, kind="stable")
        clear = not others or alike[nearest] - alike[others[0]] >= MARGIN
        return Match(int(nearest), float(alike[nearest]), bool(clear and alike[nearest] > self.threshold))

    def match(self, embeddings: Float[np.ndarray, "n d"]) -> list[Match]:
        """Say whom each of a photo's faces (n, d) is nearest to; of two that are one person's, neither is sure."""
        found = [self.nearest(row) for row in self.similarities(embeddings)]
        claimed = [m.person for m in found if m.sure]
        return [Match(m.person, m.similarity, m.sure and claimed.count(m.person) == 1) for m in found]

    def among(self, image_rgb: ImageRGB, faces: Faces, rows: Int[np.ndarray, " k"]) -> dict[int, dict[str, float]]:
        """Return which of some faces of a photo are to be left alone, each with its figures for the journal."""
        found = zip(rows, self.match(embed_faces(self.bundle, image_rgb, faces.landmarks_px[rows])), strict=True)
        asked = self.threshold
        return {int(i): {"kept_similarity": m.similarity, "kept_from": asked} for i, m in found if m.sure}


def read_keep(folder: Path, bundle: Bundle, detector: FaceDetector) -> Keep:
    """Read the photos of people to leave alone: one person for each subfolder, and for each photo outside of one.

    Raises OptionError where the folder holds no photo, and ImageError, which names the file, where a photo cannot be
    read, or does not show one face that is clearly its largest.
    """
    if not folder.is_dir():
        raise OptionError("keep", f"{folder} is no folder. Name one that holds photos of the people to leave alone.")
    files = walk_inputs([folder])
    if not files:
        raise OptionError("keep", f"{folder} holds no photo of anybody to leave alone.")
    people: dict[str, list[Float[np.ndarray, " d"]]] = {}
    digest = hashlib.sha256()
    for file in files:
        parts = file.relative.parts
        name = parts[0] if len(parts) > 1 else file.relative.stem + "\0" + file.relative.name
        photo = read_photo(folder / file.relative)
        digest.update(hashlib.sha256(photo.image_rgb.tobytes()).digest() + name.encode(errors="surrogatepass"))
        people.setdefault(name, []).append(_only_face(folder / file.relative, photo.image_rgb, bundle, detector))
    return Keep(bundle, {name: np.stack(own) for name, own in people.items()}, digest.hexdigest()[:16])


def _only_face(path: Path, image_rgb: ImageRGB, bundle: Bundle, detector: FaceDetector) -> Float[np.ndarray, " d"]:
    faces = detector.detect(image_rgb)
    if not len(faces):
        raise ImageError(path, "no face was found in it, and `keep` needs one. Take it out, or take another photo")
    order = np.argsort(-faces.min_sides_px, kind="stable")
    sides = faces.min_sides_px[order]
    if len(faces) > 1 and sides[0] < _LARGEST_BY * sides[1]:
        raise ImageError(path, f"it shows {len(faces)} faces and none is clearly the largest, so `keep` cannot tell "
                         "whom to leave alone. Cut the photo to one person")  # fmt: skip
    return embed_faces(bundle, image_rgb, faces.landmarks_px[order[:1]])[0]


def _unit(vectors: FloatArray) -> FloatArray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-9)
