"""One face of the original photo and its measurements."""

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
from styleid.pixel.regions import FACE, FADES, class_probability, face_hull, forehead_height
from styleid.types import Faces, ImageRGB, ImagesRGB, MaskArray

ShownAreas = tuple[Float[np.ndarray, "s s"], Float[np.ndarray, "s s"]]
"""The two areas that `shown_areas` returns."""
_NEIGHBOURHOOD = 0.6
"""Margin of a face's window around its crop and box, as a share of their longer side."""


@dataclass(frozen=True)
class KnownFaces:
    """The faces that an earlier pass found in a photo.

    pixels: SHA-256 of the photo's shape and pixels.
    faces: the faces.
    """

    pixels: bytes
    faces: Faces

    @classmethod
    def of(cls, image_rgb: ImageRGB, faces: Faces) -> KnownFaces:
        """Record the faces of a photo."""
        return cls(_digest(image_rgb), faces)

    def belong_to(self, image_rgb: ImageRGB) -> bool:
        """Return whether the faces were found in exactly this photo."""
        return self.pixels == _digest(image_rgb)


@dataclass(frozen=True, eq=False)
class SourceFace:
    """One face of the original photo and its measurements.

    The bundle's crop has the side s. The parser's label map may have another size, (h, w).

    index: position of the face among the photo's faces.
    detection: its box, score and landmarks, one row.
    matrix: from the photo to the bundle's crop, (2, 3).
    identity_matrix: from the photo to the identity network's crop, aligned by the detector's landmarks, (2, 3).
    parser_matrix: the same, aligned by the parser's landmarks, (2, 3).
    photo_rgb: the original photo.
    window: the face's neighbourhood in the photo, (x0, y0, x1, y1), pixels.
    crop: the face's crop, uint8 (s, s, 3).
    bare: probability of bare face, (s, s), 0 to 1.
    glasses: probability of glasses, (s, s), 0 to 1.
    shown: where the face is bare; see `shown_areas`.
    parts: part shown by each pixel, uint8 (h, w), values of `guides.Part`.
    others: where faces of other people lie in the crop, bool (s, s).
    before: where faces that are nearer to the camera lie, bool (s, s).
    observation: measurements of the face.
    wplus: latent code, (size,).
    method: name of the method.
    by_labels: composites the new face by its label map, for the method pixel with a bundle of format 1; else None.
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
        """Return the identity network's crops, aligned by the detector's and by the parser's landmarks.

        Args:
            template: The identity network's crop template, of side c.

        Returns:
            uint8 (2, c, c, 3).
        """
        return np.stack(
            [template.crop(self.photo_rgb, matrix) for matrix in (self.identity_matrix, self.parser_matrix)]
        )

    def local(self, matrix: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
        """Convert a matrix from the photo to a crop into one from the face's window to the same crop, (2, 3)."""
        return np.column_stack([matrix[:, :2], matrix[:, :2] @ self._offset + matrix[:, 2]]).astype(np.float32)

    @property
    def surroundings(self) -> Surroundings:
        """The parts of the photo from which a generator of format 2 gets its inputs."""
        return Surroundings(self.crop, self.parts, self.observation.landmarks, self.others, self.before)

    def composite(
        self, image_rgb: ImageRGB, drawing: Drawing, *, as_sharp_as: ImageRGB | None = None
    ) -> tuple[ImageRGB, MaskArray]:
        """Composite a generated face into a copy of the face's window.

        Args:
            image_rgb: The photo, uint8 (height, width, 3); it is not changed.
            drawing: The generated face.
            as_sharp_as: The photo whose sharpness and grain the face gets; None for image_rgb.

        Returns:
            The window, uint8 (h, w, 3), and the mask of its changed pixels, bool (h, w).
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
    """Return where a face is bare.

    Args:
        landmarks: (68, 2), pixels of the crop.
        bare: Probability of bare face, (s, s), 0 to 1.

    Returns:
        Where the face is bare, and the same without the forehead, into which a new face fades; (s, s) each, 0 to 1.
    """
    size = len(bare)
    shown = face_hull(landmarks, size) * (bare > 0.5)
    return shown, shown * (forehead_height(landmarks, size) < FADES[0])


def face_shares(shown: ShownAreas, logits: Float[np.ndarray, "19 h w"]) -> tuple[float, float]:
    """Return the share of the original's bare face that the parser labels as face.

    The upper forehead may keep its original skin, which is labelled as face even if the rest is not. Therefore the
    share is also measured without it.

    Args:
        shown: Where the original face is bare, as `shown_areas` returns it.
        logits: The parser's logits, (19, h, w).

    Returns:
        The share in the whole face, and the share without the upper forehead, 0 to 1.
    """
    found = class_probability(logits[None], FACE, len(shown[0]))[0]
    whole, below = (float((found * area).sum() / max(float(area.sum()), 1e-6)) for area in shown)
    return whole, below


def _digest(image_rgb: ImageRGB) -> bytes:
    digest = hashlib.sha256(repr(image_rgb.shape).encode())
    digest.update(np.ascontiguousarray(image_rgb).data)
    return digest.digest()


def xyxy(box: Float[np.ndarray, "4"]) -> tuple[float, float, float, float]:
    """Return a box as a tuple of Python floats."""
    x0, y0, x1, y1 = (float(value) for value in box)
    return x0, y0, x1, y1


def neighbourhood(
    box_xyxy: Float[np.ndarray, "4"], matrix: Float[np.ndarray, "2 3"], size_px: int, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """Return the window of the photo in which a face is processed: its crop and box with a margin.

    Args:
        box_xyxy: The face's box, (4,), pixels.
        matrix: From the photo to the crop, (2, 3).
        size_px: Side of the crop, pixels.
        shape: Shape of the photo, beginning with height and width.

    Returns:
        (x0, y0, x1, y1), pixels, inside the photo and at least one pixel wide and high.
    """
    corners = np.array([[0, 0], [size_px, 0], [size_px, size_px], [0, size_px]], np.float32)
    quad = np.concatenate([transform_points(corners, invert(matrix)), box_xyxy.reshape(2, 2)])
    pad = _NEIGHBOURHOOD * float(np.ptp(quad, axis=0).max())
    low = np.maximum(np.floor(quad.min(0) - pad).astype(int), 0)
    high = np.minimum(np.ceil(quad.max(0) + pad).astype(int) + 1, [shape[1], shape[0]])
    low = np.minimum(low, np.array([shape[1], shape[0]]) - 1)
    high = np.maximum(high, low + 1)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
