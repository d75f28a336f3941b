"""Recognise the people whose faces are kept.

In case of doubt a face is anonymised. It is kept only if its similarity to a kept person exceeds the threshold of the
bundle's lowest false-match rate, divided by the number of kept people, and clearly exceeds the similarity to every
other kept person.
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
"""Least difference of a face's similarities to the most similar and to the second kept person."""
_LARGEST_BY = 1.5
"""Least ratio of the sizes of the largest and the second largest face in a photo of a kept person."""


@dataclass(frozen=True)
class Match:
    """The kept person who is most similar to a face.

    person: position among the kept people.
    similarity: cosine similarity, -1 to 1.
    sure: whether the face is kept.
    """

    person: int
    similarity: float
    sure: bool


def keep_threshold(thresholds: Mapping[float, SimilarityRange], people: int) -> float:
    """Return the similarity above which a face counts as one of the kept people.

    Every kept person adds a chance of a false match. Therefore the lowest false-match rate of the bundle is divided by
    their number. The threshold at this rate is extrapolated from the bundle's two lowest rates, linearly in the
    logarithm of the rate.

    Args:
        thresholds: The bundle's similarity ranges of strangers by false-match rate.
        people: Number of kept people, at least 1.

    Returns:
        Cosine similarity.
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
    """Recognises the people whose faces are kept; implements `AllowList`.

    bundle: the networks.
    people: unit embeddings of each person's photos, (r, d), by name. Their mean is compared; more photos of a person
        make it more reliable.
    mark: digest of the photos, for the journal.
    """

    bundle: Bundle
    people: Mapping[str, Float[np.ndarray, "r d"]]
    mark: str

    @property
    def threshold(self) -> float:
        """Similarity above which a face is kept."""
        return keep_threshold(self.bundle.spec.thresholds, len(self.people))

    def similarities(self, embeddings: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n people"]:
        """Return the similarity of each face, (n, d), to each kept person, (n, people)."""
        return embeddings @ np.stack([_unit(own.mean(0)) for own in self.people.values()]).T

    def nearest(self, alike: Float[np.ndarray, " people"]) -> Match:
        """Return the most similar kept person, given a face's similarity to each, (people,)."""
        nearest, *others = np.argsort(-alike, kind="stable")
        clear = not others or alike[nearest] - alike[others[0]] >= MARGIN
        return Match(int(nearest), float(alike[nearest]), bool(clear and alike[nearest] > self.threshold))

    def match(self, embeddings: Float[np.ndarray, "n d"]) -> list[Match]:
        """Return the most similar kept person for each face of one photo.

        If several faces match the same person, none of them is sure.

        Args:
            embeddings: Unit embeddings of the photo's faces, (n, d).

        Returns:
            n matches.
        """
        found = [self.nearest(row) for row in self.similarities(embeddings)]
        claimed = [m.person for m in found if m.sure]
        return [Match(m.person, m.similarity, m.sure and claimed.count(m.person) == 1) for m in found]

    def among(self, image_rgb: ImageRGB, faces: Faces, rows: Int[np.ndarray, " k"]) -> dict[int, dict[str, float]]:
        """Return the faces of a photo that are kept, with their measurements for the journal; see `AllowList.among`."""
        found = zip(rows, self.match(embed_faces(self.bundle, image_rgb, faces.landmarks_px[rows])), strict=True)
        asked = self.threshold
        return {int(i): {"kept_similarity": m.similarity, "kept_from": asked} for i, m in found if m.sure}


def read_keep(folder: Path, bundle: Bundle, detector: FaceDetector) -> Keep:
    """Read the photos of the people whose faces are kept.

    Each subfolder is one person; so is each photo that lies directly in the folder.

    Args:
        folder: The folder.
        bundle: The networks that embed faces.
        detector: Finds the face in each photo.

    Raises:
        OptionError: If the folder does not exist or contains no photo.
        ImageError: If a photo cannot be read, shows no face, or shows several faces of which none is clearly the
            largest.
    """
    if not folder.is_dir():
        raise OptionError("keep", f"{folder} is not a folder. Give a folder with photos of the people to keep.")
    files = walk_inputs([folder])
    if not files:
        raise OptionError("keep", f"{folder} contains no photos. Give a folder with photos of the people to keep.")
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
        raise ImageError(path, "no face was found, and a photo of a person to keep must show one. Remove or replace it")
    order = np.argsort(-faces.min_sides_px, kind="stable")
    sides = faces.min_sides_px[order]
    if len(faces) > 1 and sides[0] < _LARGEST_BY * sides[1]:
        raise ImageError(path, f"it shows {len(faces)} faces, and none is clearly the largest, so it is not clear whom "
                         "to keep. Crop the photo to one person")  # fmt: skip
    return embed_faces(bundle, image_rgb, faces.landmarks_px[order[:1]])[0]


def _unit(vectors: FloatArray) -> FloatArray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-9)
