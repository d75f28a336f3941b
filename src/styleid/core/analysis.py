"""Measure the faces of the original photo, each stage on all of them at once.

What was measured of a face can be stored (`pack_maps` for its maps) and put together again without the networks.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from styleid.bundles.bundle import Bundle
from styleid.core.face import ShownAreas, SourceFace, face_shares, neighbourhood, shown_areas
from styleid.core.methods import LabelMap, Method
from styleid.core.observation import Observation
from styleid.core.timing import StageTimer
from styleid.faces.views import matrix_by_parser
from styleid.pixel.guides import PART_OF_CLASS
from styleid.pixel.obscure import ellipses_in_crop
from styleid.pixel.regions import GLASSES, bare_face, class_probability
from styleid.types import Faces, ImageRGB

PACKED_LEVELS = 63
"""Into how many steps `pack_maps` divides a probability."""
_NEARER_FROM = 1.2
"""Ratio of box areas from which the larger of two faces counts as nearer to the camera."""


def analyse_faces(
    bundle: Bundle,
    method: Method,
    timer: StageTimer,
    image_rgb: ImageRGB,
    faces: Faces,
    rows: Int[np.ndarray, " k"],
    kept: Bool[np.ndarray, " n"] | None,
    *,
    attributes: bool = True,
) -> list[SourceFace]:
    """Measure some faces of a photo; see `Anonymizer.analyse`.

    Args:
        bundle: The networks.
        method: The method, which determines how latent codes are found.
        timer: Adds up the seconds of each stage.
        image_rgb: The photo, uint8 (height, width, 3).
        faces: Its n faces.
        rows: Indices of the k faces to measure; their landmarks must be finite.
        kept: Faces that stay as they are, bool (n,); None for none.
        attributes: Whether to measure age, sex and group, which are NaN otherwise.

    Returns:
        The k measured faces.
    """
    spec = bundle.spec
    with timer("align"):
        matrices = [spec.crop.matrix(faces.landmarks_px[i]) for i in rows]
        crops = np.stack([spec.crop.crop(image_rgb, m) for m in matrices])
        identity_matrices = [spec.identity_crop.matrix(faces.landmarks_px[i]) for i in rows]
        identity_crops = np.stack([spec.identity_crop.crop(image_rgb, m) for m in identity_matrices])
    with timer("parse"):
        logits, landmarks = bundle.parse(crops)
        bare = bare_face(logits, landmarks, spec.crop.size_px)
        glasses = class_probability(logits, (GLASSES,), spec.crop.size_px)
    with timer("identity"):
        embeddings = bundle.embed(identity_crops)
    with timer("attributes"):
        described = bundle.describe(crops) if attributes else np.full((len(crops), 7), np.nan, np.float32)
    with timer("invert"):
        labels = method.labels(logits, spec.crop.size_px)
        wplus = method.invert(bundle, crops, landmarks, bare[:, None], labels, embeddings)
    sources: list[SourceFace] = []
    for k, index in enumerate(rows):
        shown = shown_areas(landmarks[k], bare[k])
        seen = Observation(True, landmarks[k], embeddings[k], described[k], face_shares(shown, logits[k]))
        maps = FaceMaps(bare[k], glasses[k], PART_OF_CLASS[logits[k].argmax(0)], labels[k])
        place = _FaceContext(image_rgb, faces, int(index), matrices[k], crops[k], kept)
        sources.append(_source(bundle, method, place, seen, maps, shown, wplus[k]))
    return sources


@dataclass(frozen=True, eq=False)
class FaceMaps:
    """The parser's maps of a face's crop, as in `SourceFace`.

    Attributes:
        bare: Probability of bare skin, (s, s).
        glasses: Probability of glasses, (s, s).
        parts: Values of `guides.Part`, uint8 (h, w).
        labels: The label map; None if the method does not use it.
    """

    bare: Float[np.ndarray, "s s"]
    glasses: Float[np.ndarray, "s s"]
    parts: UInt8[np.ndarray, "h w"]
    labels: LabelMap | None = None


def pack_maps(source: SourceFace) -> bytes:
    """Compress a face's maps, about 5 kB. Probabilities are rounded to 6 bits; labels are left out."""
    shares = [(one * PACKED_LEVELS).round().astype(np.uint8) for one in (source.bare, source.glasses)]
    return zlib.compress(b"".join(np.ascontiguousarray(one).data for one in (*shares, source.parts)), 1)


def unpack_maps(packed: bytes, side: int) -> FaceMaps:
    """Return the maps that `pack_maps` compressed. side: side of the face's crop, pixels."""
    content = np.frombuffer(zlib.decompress(packed), np.uint8)
    bare, glasses = (content[: 2 * side**2].reshape(2, side, side) / np.float32(PACKED_LEVELS)).astype(np.float32)
    parts = content[2 * side**2 :]
    return FaceMaps(bare, glasses, parts.reshape(round(len(parts) ** 0.5), -1))


def recall_face(
    bundle: Bundle,
    method: Method,
    image_rgb: ImageRGB,
    faces: Faces,
    index: int,
    seen: Observation,
    maps: FaceMaps,
    wplus: Float[np.ndarray, " size"],
) -> SourceFace:
    """Return a face from measurements that were made before. No network runs.

    Args:
        bundle: The bundle that measured it.
        method: The method; if it uses label maps, `maps` must have them.
        image_rgb: The photo, uint8 (h, w, 3).
        faces: All faces of the photo.
        index: Position of the face among them.
        seen: The measurements.
        maps: The maps.
        wplus: The latent code, (size,).
    """
    template = bundle.spec.crop
    matrix = template.matrix(faces.landmarks_px[index])
    place = _FaceContext(image_rgb, faces, index, matrix, template.crop(image_rgb, matrix), None)
    return _source(bundle, method, place, seen, maps, shown_areas(seen.landmarks, maps.bare), wplus)


@dataclass(frozen=True, eq=False)
class _FaceContext:
    """A face in its photo: all faces of the photo, its index among them, its crop, and which faces are kept."""

    image_rgb: ImageRGB
    faces: Faces
    index: int
    matrix: Float[np.ndarray, "2 3"]
    crop: ImageRGB
    kept: Bool[np.ndarray, " n"] | None

    @property
    def others_hidden(self) -> Bool[np.ndarray, " n"]:
        """The other faces that are not kept, bool (n,)."""
        hidden = np.ones(len(self.faces), bool) if self.kept is None else ~self.kept
        hidden[self.index] = False
        return hidden


def _source(
    bundle: Bundle,
    method: Method,
    place: _FaceContext,
    seen: Observation,
    maps: FaceMaps,
    shown: ShownAreas,
    wplus: Float[np.ndarray, " size"],
) -> SourceFace:
    spec, size, index, boxes = bundle.spec, bundle.spec.crop.size_px, place.index, place.faces.boxes_xyxy
    return SourceFace(
        index=index,
        detection=place.faces[index],
        matrix=place.matrix,
        identity_matrix=spec.identity_crop.matrix(place.faces.landmarks_px[index]),
        parser_matrix=matrix_by_parser(spec.identity_crop, place.matrix, seen.landmarks),
        photo_rgb=place.image_rgb,
        window=neighbourhood(boxes[index], place.matrix, size, place.image_rgb.shape),
        crop=place.crop,
        bare=maps.bare,
        glasses=maps.glasses,
        shown=shown,
        parts=maps.parts,
        others=ellipses_in_crop(boxes[place.others_hidden], place.matrix, size),
        before=ellipses_in_crop(boxes[_nearer(place.faces, index)], place.matrix, size, 1.0),
        observation=seen,
        wplus=wplus,
        method=method.name,
        by_labels=method.matched(place.crop, maps.labels),
    )


def _nearer(faces: Faces, index: int) -> Bool[np.ndarray, " n"]:
    """Return which faces are nearer to the camera than the one at index, bool (n,): those that are clearly larger.

    An exception is a larger face that contains the centre of this one, such as an adult behind a child.
    """
    low, high = faces.boxes_xyxy[:, :2], faces.boxes_xyxy[:, 2:]
    sides = high - low
    area = sides.prod(1)
    middle = faces.boxes_xyxy[index].reshape(2, 2).mean(0)
    on_it = (np.square((middle - (low + high) / 2) / (sides / 2)).sum(1)) < 1
    return np.asarray((area > _NEARER_FROM * area[index]) & ~on_it)
