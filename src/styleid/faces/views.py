"""Several views of a face say better whose it is than one.

A recogniser goes by where eyes, nose and mouth come to lie in its crop, and each way of finding them errs in its own
way. So a face is aligned by the detector's landmarks and by the parser's, each view is mirrored too, and their mean
counts.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jaxtyping import Float, UInt8

from styleid.faces.align import CropTemplate, invert, transform_points
from styleid.faces.geometry import five_points
from styleid.types import ImageRGB, ImagesRGB


class FaceReaderSpec(Protocol):
    """The crops that a reader of faces takes."""

    @property
    def crop(self) -> CropTemplate:
        """The parser's crop."""
        ...

    @property
    def identity_crop(self) -> CropTemplate:
        """The recogniser's crop."""
        ...


class FaceReader(Protocol):
    """Parse and recognise faces; a bundle does."""

    @property
    def spec(self) -> FaceReaderSpec:
        """Its crops."""
        ...

    def parse(self, crops: ImagesRGB) -> tuple[Float[np.ndarray, "n 19 h w"], Float[np.ndarray, "n 68 2"]]:
        """Return label logits (n, 19, h, w) and landmarks (n, 68, 2) in pixels of the crops."""
        ...

    def embed(self, identity_crops: ImagesRGB) -> Float[np.ndarray, "n d"]:
        """Return unit embeddings, (n, d), of crops under the identity template."""
        ...


def matrix_by_parser(
    template: CropTemplate, matrix: Float[np.ndarray, "2 3"], landmarks: Float[np.ndarray, "68 2"]
) -> Float[np.ndarray, "2 3"]:
    """Return the image-to-template matrix (2, 3) that aligns a face by the parser's landmarks (68, 2).

    landmarks: in pixels of the crop that matrix (2, 3) takes the image to.
    """
    return template.matrix(five_points(transform_points(landmarks, invert(matrix))))


def embed_views(reader: FaceReader, views: UInt8[np.ndarray, "n k s s 3"]) -> Float[np.ndarray, "n d"]:
    """Return unit embeddings (n, d) of faces by some views of each (n, k, s, s, 3) and their mirror images."""
    both = np.concatenate([views, views[..., ::-1, :]], 1)
    embeddings = reader.embed(both.reshape(-1, *both.shape[2:]))
    means = embeddings.reshape(*both.shape[:2], -1).mean(1)
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-9), np.float32)


def embed_faces(
    reader: FaceReader, image_rgb: ImageRGB, landmarks_px: Float[np.ndarray, "n 5 2"]
) -> Float[np.ndarray, "n d"]:
    """Return unit embeddings (n, d) of an image's faces by the detector's landmarks (n, 5, 2)."""
    crop, template = reader.spec.crop, reader.spec.identity_crop
    matrices = [crop.matrix(points) for points in landmarks_px]
    _, parsed = reader.parse(np.stack([crop.crop(image_rgb, matrix) for matrix in matrices]))
    by_detector = [template.crop(image_rgb, template.matrix(points)) for points in landmarks_px]
    by_parser = [
        template.crop(image_rgb, matrix_by_parser(template, *one)) for one in zip(matrices, parsed, strict=True)
    ]
    return embed_views(reader, np.stack([by_detector, by_parser], 1))
