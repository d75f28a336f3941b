"""Embed faces by several views of each, which is more accurate than one view.

An embedding depends on the alignment of the crop, and detector and parser make different errors in their landmarks.
Therefore a face is aligned by both, each view is also mirrored, and the embeddings are averaged.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jaxtyping import Float, UInt8

from styleid.faces.align import CropTemplate, invert, transform_points
from styleid.faces.geometry import five_points
from styleid.types import ImageRGB, ImagesRGB


class FaceReaderSpec(Protocol):
    """The crops that a face reader takes."""

    @property
    def crop(self) -> CropTemplate:
        """Template of the parser's crops."""
        ...

    @property
    def identity_crop(self) -> CropTemplate:
        """Template of the recogniser's crops."""
        ...


class FaceReader(Protocol):
    """A parser and a recogniser; `styleid.bundles.bundle.Bundle` is one."""

    @property
    def spec(self) -> FaceReaderSpec:
        """The crops that it takes."""
        ...

    def parse(self, crops: ImagesRGB) -> tuple[Float[np.ndarray, "n 19 h w"], Float[np.ndarray, "n 68 2"]]:
        """Return label logits (n, 19, h, w) and landmarks (n, 68, 2), pixels of the crops."""
        ...

    def embed(self, identity_crops: ImagesRGB) -> Float[np.ndarray, "n d"]:
        """Return unit embeddings, (n, d)."""
        ...


def matrix_by_parser(
    template: CropTemplate, matrix: Float[np.ndarray, "2 3"], landmarks: Float[np.ndarray, "68 2"]
) -> Float[np.ndarray, "2 3"]:
    """Return the transform that aligns a face by the parser's landmarks.

    Args:
        template: Template of the crop to align to.
        matrix: From the image to the parser's crop, (2, 3).
        landmarks: The parser's landmarks, (68, 2), pixels of its crop.

    Returns:
        From the image to the template's crop, (2, 3).
    """
    return template.matrix(five_points(transform_points(landmarks, invert(matrix))))


def embed_views(reader: FaceReader, views: UInt8[np.ndarray, "n k s s 3"]) -> Float[np.ndarray, "n d"]:
    """Return unit embeddings of faces, each the mean over views and their mirror images.

    Args:
        reader: The recogniser.
        views: k views of each face, uint8 (n, k, s, s, 3).

    Returns:
        (n, d).
    """
    both = np.concatenate([views, views[..., ::-1, :]], 1)
    embeddings = reader.embed(both.reshape(-1, *both.shape[2:]))
    means = embeddings.reshape(*both.shape[:2], -1).mean(1)
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-9), np.float32)


def embed_faces(
    reader: FaceReader, image_rgb: ImageRGB, landmarks_px: Float[np.ndarray, "n 5 2"]
) -> Float[np.ndarray, "n d"]:
    """Return unit embeddings of an image's faces.

    Args:
        reader: The parser and recogniser.
        image_rgb: The image, uint8 (height, width, 3).
        landmarks_px: The detector's landmarks, (n, 5, 2), pixels; at least one face.

    Returns:
        (n, d).
    """
    crop, template = reader.spec.crop, reader.spec.identity_crop
    matrices = [crop.matrix(points) for points in landmarks_px]
    _, parsed = reader.parse(np.stack([crop.crop(image_rgb, matrix) for matrix in matrices]))
    by_detector = [template.crop(image_rgb, template.matrix(points)) for points in landmarks_px]
    by_parser = [
        template.crop(image_rgb, matrix_by_parser(template, *one)) for one in zip(matrices, parsed, strict=True)
    ]
    return embed_views(reader, np.stack([by_detector, by_parser], 1))
