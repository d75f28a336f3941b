"""Align faces by their five landmarks.

Convention
----------
A `CropTemplate` places the five landmarks in a square of ``size_px``. A crop is the image under the similarity
transform that brings a face's landmarks closest to the template (least squares, Umeyama 1991). Matrices are (2, 3) and
map points (x, y, 1) from **image to crop**, with pixel centres at integers. Outside the image, a crop shows reflected
pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from jaxtyping import Float

from styleid.types import FloatArray, ImageRGB

UTKFACE_POINTS = ((0.302, 0.297), (0.698, 0.297), (0.5, 0.513), (0.336, 0.686), (0.664, 0.686))
"""Five landmarks as fractions of a tight crop: means over UTKFace, made symmetric."""

ARCFACE_112_POINTS_PX = ((38.29, 51.70), (73.53, 51.50), (56.03, 71.74), (41.55, 92.37), (70.73, 92.20))
"""The usual template of face recognisers (ArcFace), in pixels of a 112 px crop."""

Rule = Literal["points", "ffhq"]
RULES: tuple[Rule, ...] = get_args(Rule)


@dataclass(frozen=True)
class CropTemplate:
    """Where the five landmarks lie in a square crop.

    Raises ValueError if the rule is unknown, the side is less than 8 px, or there are not five points.

    size_px: side of the crop, pixels.
    points_px: the five landmarks, (x, y), pixels of the crop.
    rule: points brings a face's landmarks as close as possible to points_px; ffhq places the crop by eyes and mouth as
        FFHQ does, and points_px are the landmarks of a typical face in it.
    """

    size_px: int
    points_px: tuple[tuple[float, float], ...]
    rule: Rule = "points"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"The alignment rule '{self.rule}' is unknown; the rules are {', '.join(RULES)}.")
        if self.size_px < 8:
            raise ValueError(f"A crop needs at least 8 px, not {self.size_px}.")
        if np.shape(self.points_px) != (5, 2):
            raise ValueError(f"A template needs five (x, y) points, not an array of {np.shape(self.points_px)}.")

    @classmethod
    def tight(cls, inner_px: int, margin_px: int = 0) -> CropTemplate:
        """Return the template of UTKFace's crops with a margin.

        Args:
            inner_px: Side of the crop without margin, pixels.
            margin_px: Margin on each side, pixels.
        """
        points = np.asarray(UTKFACE_POINTS) * inner_px - 0.5 + margin_px
        return cls(inner_px + 2 * margin_px, _as_points(points))

    @classmethod
    def ffhq(cls, size_px: int) -> CropTemplate:
        """Return the template of FFHQ's crops, with the landmarks of a typical face.

        Args:
            size_px: Side of the crop, pixels.
        """
        face = cls.tight(size_px)
        return cls(
            size_px,
            _as_points(transform_points(np.array(face.points_px), ffhq_matrix(face.points_px, size_px))),
            "ffhq",
        )

    @classmethod
    def arcface112(cls) -> CropTemplate:
        """Return the usual template of face recognisers, of side 112 px."""
        return cls(112, ARCFACE_112_POINTS_PX)

    def matrix(self, landmarks_px: Float[np.ndarray, "5 2"]) -> Float[np.ndarray, "2 3"]:
        """Return the similarity transform from the image to the crop of one face.

        Args:
            landmarks_px: The face's landmarks, (5, 2), pixels of the image.

        Returns:
            (2, 3).

        Raises:
            ValueError: If landmarks are not finite, or coincide.
        """
        if self.rule == "ffhq":
            return ffhq_matrix(landmarks_px, self.size_px)
        return fit_similarity(landmarks_px, np.asarray(self.points_px, np.float32))

    def crop(self, image_rgb: ImageRGB, matrix: Float[np.ndarray, "2 3"]) -> ImageRGB:
        """Cut one crop.

        Args:
            image_rgb: The image, uint8 (height, width, 3).
            matrix: From the image to the crop, (2, 3).

        Returns:
            uint8 (size_px, size_px, 3). A face that is larger than the crop is averaged down without aliasing.
        """
        return warp_to(image_rgb, matrix, self.size_px)


def ffhq_matrix(
    landmarks_px: Float[np.ndarray, "5 2"] | tuple[tuple[float, float], ...], size_px: int
) -> Float[np.ndarray, "2 3"]:
    """Return the similarity transform from the image to FFHQ's crop of one face.

    The oriented square of Karras et al. 2019 (`recreate_aligned_images`). Its horizontal axis is the mean of the line
    through the eyes and the normal of the line from eyes to mouth. Its side is 4 times the distance of the eyes or 3.6
    times the distance from eyes to mouth, whichever is larger. Its centre lies a tenth of the way from eyes to mouth.

    Args:
        landmarks_px: The face's landmarks, (5, 2), pixels of the image.
        size_px: Side of the crop, pixels.

    Returns:
        (2, 3).

    Raises:
        ValueError: If landmarks are not finite, or coincide.
    """
    points = np.asarray(landmarks_px, np.float64)
    if not np.isfinite(points).all():
        raise ValueError("Landmarks must be finite to align a face.")
    eyes, mouth = points[:2].mean(0), points[3:5].mean(0)
    across, down = points[1] - points[0], mouth - eyes
    x = across + np.array([down[1], -down[0]])
    length = np.hypot(*x)
    half = max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down))
    if length < 1e-6 or half < 1e-6:
        raise ValueError("Landmarks coincide: no similarity is defined.")
    x = x / length
    turn = np.array([x, [-x[1], x[0]]]) * (size_px / (2 * half))
    centre = eyes + 0.1 * down
    return np.column_stack([turn, (size_px - 1) / 2 - turn @ centre]).astype(np.float32)


def _as_points(points: Float[np.ndarray, "k 2"]) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in points)


def fit_similarity(points: Float[np.ndarray, "k 2"], onto: Float[np.ndarray, "k 2"]) -> Float[np.ndarray, "2 3"]:
    """Return the similarity transform that maps points as close as possible to others (least squares, Umeyama 1991).

    Args:
        points: (k, 2).
        onto: The corresponding points, (k, 2).

    Returns:
        (2, 3).

    Raises:
        ValueError: If points are not finite, or coincide.
    """
    source, target = np.asarray(points, np.float64), np.asarray(onto, np.float64)
    if not np.isfinite(source).all():
        raise ValueError("Landmarks must be finite to align a face.")
    source_mean, target_mean = source.mean(0), target.mean(0)
    z = (source - source_mean) @ np.array([1, 1j])
    u = (target - target_mean) @ np.array([1, 1j])
    energy = float((np.abs(z) ** 2).sum())
    if energy < 1e-9:
        raise ValueError("Landmarks coincide: no similarity is defined.")
    turn = (np.conj(z) * u).sum() / energy
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, target_mean - linear @ source_mean]).astype(np.float32)


def invert(matrix: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
    """Return the inverse of a similarity transform, both (2, 3)."""
    return np.asarray(cv2.invertAffineTransform(np.asarray(matrix, np.float64)), np.float32)


def scale_of(matrix: Float[np.ndarray, "2 3"]) -> float:
    """Return the scale of a similarity transform: crop pixels per image pixel."""
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))


def transform_points(
    points: Float[np.ndarray, "... k 2"], matrix: Float[np.ndarray, "2 3"]
) -> Float[np.ndarray, "... k 2"]:
    """Apply a transform (2, 3) to points (..., 2)."""
    return (np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def warp_to(image: np.ndarray, matrix: FloatArray, size_px: int) -> np.ndarray:
    """Resample an image into a square crop.

    If the crop has a much lower resolution than the image, the image is averaged down first to avoid aliasing.

    Args:
        image: (height, width) or (height, width, channels).
        matrix: From the image to the crop, (2, 3).
        size_px: Side of the crop, pixels.

    Returns:
        (size_px, size_px) or (size_px, size_px, channels), with the dtype of image.
    """
    shrink = 1.0 / scale_of(matrix)
    if shrink > 1.5:
        image, matrix = _averaged_down(image, matrix, shrink, size_px)
    return cv2.warpAffine(
        image,
        np.asarray(matrix, np.float64),
        (size_px, size_px),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def _averaged_down(image: np.ndarray, matrix: FloatArray, shrink: float, size_px: int) -> tuple[np.ndarray, FloatArray]:
    """Average down the part of the image that the crop shows by about `shrink`; return it and its crop matrix."""
    height, width = image.shape[:2]
    corners = np.array([[-1, -1], [size_px, -1], [-1, size_px], [size_px, size_px]], np.float32)
    quad = transform_points(corners, invert(matrix))
    pad = int(np.ceil(2 * shrink))
    x0, y0 = np.maximum(np.floor(quad.min(0)).astype(int) - pad, 0)
    x1, y1 = np.minimum(np.ceil(quad.max(0)).astype(int) + pad, [width, height])
    if x1 - x0 < 2 or y1 - y0 < 2:
        return image, matrix
    part = image[y0:y1, x0:x1]
    size = (max(2, round((x1 - x0) / shrink)), max(2, round((y1 - y0) / shrink)))
    fx, fy = size[0] / (x1 - x0), size[1] / (y1 - y0)
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    # crop point = matrix @ image point, and image point = (small point + 0.5) / f - 0.5 + corner
    linear = matrix[:, :2] / np.array([fx, fy], np.float32)
    shift = matrix[:, :2] @ np.array([0.5 / fx - 0.5 + x0, 0.5 / fy - 0.5 + y0], np.float32) + matrix[:, 2]
    return small, np.column_stack([linear, shift]).astype(np.float32)


def shown_window(
    matrix: Float[np.ndarray, "2 3"], size: int, shape: tuple[int, ...]
) -> tuple[int, int, int, int] | None:
    """Return the part of the photo that a crop shows.

    Args:
        matrix: From the photo to the crop, (2, 3).
        size: Side of the crop, pixels.
        shape: Shape of the photo, beginning with height and width.

    Returns:
        (x0, y0, x1, y1), pixels; None if the crop lies outside the photo.
    """
    corners = np.array([[0, 0], [size - 1, 0], [size - 1, size - 1], [0, size - 1]], np.float32)
    quad = transform_points(corners, invert(matrix))
    low = np.maximum(np.floor(quad.min(0)).astype(int), 0)
    high = np.minimum(np.ceil(quad.max(0)).astype(int) + 1, [shape[1], shape[0]])
    if (high - low < 1).any():
        return None
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
