"""Figures of generated faces: the Fréchet distance to real faces, and the share in which a face is detected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from styleid.faces.detect import FaceDetector
from styleid.types import ImageRGB

Features = Callable[[torch.Tensor], torch.Tensor]
"""Maps images, float (n, 3, side, side) in [-1, 1], to feature vectors (n, d)."""

_SURROUND = 0.25


def pixels8(images: torch.Tensor) -> torch.Tensor:
    """Return the images averaged down to 8 x 8 px, (n, 192), a feature that needs no network."""
    return functional.adaptive_avg_pool2d(images.float(), 8).flatten(1)


def describe(images: torch.Tensor, features: Features, batch: int = 64) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the features of images, float64 (n, d).

    Args:
        images: float (n, 3, side, side) in [-1, 1].
        features: The feature function.
        batch: Images per call.
    """
    with torch.no_grad():
        return torch.cat([features(part).float().cpu() for part in images.split(batch)]).double().numpy()


def frechet_distance(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Return the Fréchet distance of Gaussians fitted to two sets of features.

    The formula is that of FID (Heusel et al. 2017). The distance is biased upwards for small sets, so compare only
    figures from equally many images.

    Args:
        one: (n, d), features.
        other: (m, d), features.
    """
    covariances = [np.atleast_2d(np.cov(part, rowvar=False)) for part in (one, other)]
    root = _square_root(covariances[0])
    cross = np.linalg.eigvalsh(root @ covariances[1] @ root).clip(min=0)
    gap = one.mean(0) - other.mean(0)
    return float(gap @ gap + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.sqrt(cross).sum())


def _square_root(covariance: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


def share_with_face(images_rgb: ImageRGB, detector: FaceDetector | None = None) -> float:
    """Return the share of tight crops in which a face is detected.

    The detector expects surroundings, so each crop is padded with its own edge pixels.

    Args:
        images_rgb: uint8 (n, side, side, 3).
        detector: None uses the default detector.
    """
    detector = detector or FaceDetector()
    around = round(images_rgb.shape[1] * _SURROUND)
    padded = np.pad(images_rgb, ((0, 0), (around, around), (around, around), (0, 0)), mode="edge")
    return float(np.mean([len(detector.detect(image)) > 0 for image in padded]))
