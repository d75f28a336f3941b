"""One face of a photo: a record of what was measured before anything is replaced."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, UInt8

from styleid.core.drawing import Drawing
from styleid.core.observation import Observation
from styleid.faces.align import CropTemplate, invert, transform_points
from styleid.pixel.composite import NewFace, composite
from styleid.pixel.fill import FilledFace, Surroundings, fill_in
from styleid.pixel.matched import MatchedFace
from styleid.pixel.regions import FACE, FADES, class_probability, face_hull, up_the_forehead
from styleid.types import Faces, ImageRGB, ImagesRGB, MaskArray

ShownAreas = tuple[Float[np.ndarray, "s s"], Float[np.ndarray, "s s"]]
"""What `shown_areas` returns."""
_NEIGHBOURHOOD = 0.6
"""How far about a face its window reaches, as a share of its crop's longer side."""


@dataclass(frozen=True)
class KnownFaces:
    """The faces that an earlier pass found in a photo. pixels: SHA-256 of the photo."""

    pixels: bytes
    faces: Faces

    @classmethod
    def of(cls, image_rgb: ImageRGB, faces: Faces) -> KnownFaces:
        """Note the faces of a photo."""
        return cls(_digest(image_rgb), faces)

    def belong_to(self, image_rgb: ImageRGB) -> bool:
        """Return whether a photo is the one in which the faces were found."""
        return self.pixels == _digest(image_rgb)


@dataclass(frozen=True, eq=False)
class SourceFace:
    """One face of the original photo, as it was measured.

    index: its place among the photo's faces. detection: its box and landmarks, one row. matrix: from the photo to the
    bundle's crop, (2, 3). identity_matrix, parser_matrix: from the photo to the identity network's crop, aligned by the
    detector's landmarks and by the parser's. photo_rgb: the photo as it was. window: the face's neighbourhood in the
    photo, x0 y0 x1 y1. crop: uint8 (s, s, 3). bare, glasses: (s, s) probabilities of bare face and of glasses.
    shown: see `shown_areas`. parts: uint8 (h, w), what the crop's pixels show, values of `guides.Part`. others: bool
    (s, s), where faces of other people lie in the crop. before: bool (s, s), where faces nearer to the camera lie.
    observation: its measurements. wplus: its codes. method: the method's name. by_labels: puts the new face into the
    photo by labels, for the method pixel.
    """

    index: int
    detection: Faces
    matrix: Float[np.ndarray, "2 3"]
    identity_matrix: Float[np.ndarray, "2 3"]
    parser_matrix: Float[np.ndarray, "2 3"]
    photo_rgb: ImageRGB
    window: tuple[int, int, int, int]
    crop: ImageRGB
    bare: Float[np.ndarray, "s s"]
    glasses: Float[np.ndarray, "s s"]
    shown: ShownAreas
    parts: UInt8[np.ndarray, "h w"]
    others: Bool[np.ndarray, "s s"]
    before: Bool[np.ndarray, "s s"]
    observation: Observation
    wplus: Float[np.ndarray, " size"]
    method: str
    by_labels: MatchedFace | None = None

    @cached_property
    def _offset(self) -> Float[np.ndarray, "2"]:
        return np.array(self.window[:2], np.float32)

    def views(self, template: CropTemplate) -> ImagesRGB:
        """Return the face as the identity network sees it, aligned by the detector and by the parser, (2, s, s, 3)."""
        return np.stack(
            [template.crop(self.photo_rgb, matrix) for matrix in (self.identity_matrix, self.parser_matrix)]
        )

    def local(self, matrix: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
        """Return an image-to-crop matrix for the neighbourhood instead of the photo."""
        return np.column_stack([matrix[:, :2], matrix[:, :2] @ self._offset + matrix[:, 2]]).astype(np.float32)

    @property
    def surroundings(self) -> Surroundings:
        """What a generator that fills faces in may know of the photo."""
        return Surroundings(self.crop, self.parts, self.observation.landmarks, self.others, self.before)

    def composite(
        self, image_rgb: ImageRGB, drawing: Drawing, *, as_sharp_as: ImageRGB | None = None
    ) -> tuple[ImageRGB, MaskArray]:
        """Return the neighbourhood with the generated face in it, and the mask of what changed there.

        as_sharp_as: the photo to take sharpness and grain from, image_rgb if None.
        """
        x0, y0, x1, y1 = self.window
        patch, matrix = image_rgb[y0:y1, x0:x1].copy(), self.local(self.matrix)
        sharp = patch if as_sharp_as is None else as_sharp_as[y0:y1, x0:x1]
        if drawing.region is not None:
            filled = FilledFace(drawing.image, drawing.region)
            return patch, fill_in(patch, filled, matrix, len(self.crop), sharp)
        if self.by_labels is not None:
            return patch, self.by_labels.put(patch, drawing.image, matrix, drawing.landmarks)
        face = NewFace(
            drawing.image,
            self.crop.astype(np.float32),
            drawing.landmarks,
            self.observation.landmarks,
            self.bare,
            self.glasses,
            drawing.cover,
        )
        return patch, composite(patch, face, matrix, sharp)


def shown_areas(landmarks: Float[np.ndarray, "68 2"], bare: Float[np.ndarray, "s s"]) -> ShownAreas:
    """Return where a face is bare, and which part of that lies below the fading forehead, (s, s) each.

    landmarks: (68, 2) pixels of the crop. bare: (s, s), the probability of bare face.
    """
    size = len(bare)
    shown = face_hull(landmarks, size) * (bare > 0.5)
    return shown, shown * (up_the_forehead(landmarks, size) < FADES[0])


def face_shares(shown: ShownAreas, logits: Float[np.ndarray, "19 h w"]) -> tuple[float, float]:
    """Return the share of the original's bare face that logits (19, h, w) label as face.

    First of all of it, then without the upper forehead, whose own skin may stay and would make up for what is no face.
    """
    found = class_probability(logits[None], FACE, len(shown[0]))[0]
    whole, below = (float((found * area).sum() / max(float(area.sum()), 1e-6)) for area in shown)
    return whole, below


def _digest(image_rgb: ImageRGB) -> bytes:
    digest = hashlib.sha256(repr(image_rgb.shape).encode())
    digest.update(np.ascontiguousarray(image_rgb).data)
    return digest.digest()


def xyxy(box: Float[np.ndarray, "4"]) -> tuple[float, float, float, float]:
    """Return a box's corners as plain numbers."""
    x0, y0, x1, y1 = (float(value) for value in box)
    return x0, y0, x1, y1


def neighbourhood(
    box_xyxy: Float[np.ndarray, "4"], matrix: Float[np.ndarray, "2 3"], size_px: int, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """Return the part of the photo that a face's crops show, x0 y0 x1 y1."""
    corners = np.array([[0, 0], [size_px, 0], [size_px, size_px], [0, size_px]], np.float32)
    quad = np.concatenate([transform_points(corners, invert(matrix)), box_xyxy.reshape(2, 2)])
    pad = _NEIGHBOURHOOD * float(np.ptp(quad, axis=0).max())
    low = np.maximum(np.floor(quad.min(0) - pad).astype(int), 0)
    high = np.minimum(np.ceil(quad.max(0) + pad).astype(int) + 1, [shape[1], shape[0]])
    low = np.minimum(low, np.array([shape[1], shape[0]]) - 1)
    high = np.maximum(high, low + 1)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
