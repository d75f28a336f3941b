"""Regions of a face's crop: bare face, glasses, forehead, and the hull of the landmarks.

Convention
----------
Logits are (19, h, w) for CelebAMask-HQ's classes. Masks are float32 (s, s) in [0, 1], in pixels of the crop.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from styleid.faces.geometry import BROWS, FOREHEAD, with_forehead
from styleid.pixel.soft import depth_inside, ramp

SKIN, NOSE, GLASSES, HAIR = 1, 2, 3, 13
FACE = (1, 2, 4, 5, 6, 7, 10, 11, 12)
"""Classes of a bare face: skin, nose, eyes, brows, mouth, lips (StyleID's region "full")."""
_FACE_ODDS = 10.0
"""Prior odds of face inside the landmarks' hull."""
_SOFTNESS = 0.02
"""Usual width of the edge of a soft hull, in hull widths."""
FADES = (0.3, 1.0)
"""Heights on the forehead (see `forehead_height`) where a new face begins to fade into the photo, and where it ends."""


def class_probability(
    logits: Float[np.ndarray, "n 19 h w"], classes: tuple[int, ...], size_px: int
) -> Float[np.ndarray, "n s s"]:
    """Return the probability that each pixel belongs to one of some classes.

    Args:
        logits: The parser's logits, (n, 19, h, w).
        classes: Classes of CelebAMask-HQ.
        size_px: Side s of the result, pixels.

    Returns:
        (n, s, s), 0 to 1.
    """
    scores = np.exp(logits - logits.max(1, keepdims=True))
    share = scores[:, list(classes)].sum(1) / scores.sum(1)
    return np.stack([cv2.resize(m, (size_px, size_px), interpolation=cv2.INTER_LINEAR) for m in share])


def bare_face(
    logits: Float[np.ndarray, "n 19 h w"], landmarks: Float[np.ndarray, "n 68 2"], size_px: int
) -> Float[np.ndarray, "n s s"]:
    """Return the probability that each pixel shows bare face.

    Inside the landmarks' hull, a face is more likely a priori, so the parser must be confident to label anything else
    there. This matters because pixels labelled as hair or as a hand are not replaced.

    Args:
        logits: The parser's logits, (n, 19, h, w).
        landmarks: (n, 68, 2), pixels of a view of side size_px.
        size_px: Side s of the result, pixels.

    Returns:
        (n, s, s), 0 to 1.
    """
    found = class_probability(logits, FACE, size_px)
    prior = np.stack([1 + (_FACE_ODDS - 1) * face_hull(points, size_px) for points in landmarks])
    return (prior * found / (prior * found + 1 - found)).astype(np.float32)


def forehead_height(landmarks: Float[np.ndarray, "68 2"], size_px: int) -> Float[np.ndarray, "s s"]:
    """Return how high on the forehead each pixel lies: 0 at the middle of the brows, 1 at the end of the face's hull.

    Args:
        landmarks: (68, 2), pixels.
        size_px: Side s of the result, pixels.

    Returns:
        (s, s); negative below the brows, more than 1 above the hull.
    """
    points = with_forehead(landmarks)
    brows = points[BROWS].mean(0)
    up = points[FOREHEAD].mean(0) - brows
    along = up / max(float(up @ up), 1e-6)
    x, y = ((np.arange(size_px, dtype=np.float32) - brows[axis]) * along[axis] for axis in (0, 1))
    return y[:, None] + x


def forehead_fade(
    new: Float[np.ndarray, "68 2"], old: Float[np.ndarray, "68 2"], size_px: int, later: float = 0.0
) -> Float[np.ndarray, "s s"]:
    """Return how much a new face has faded into the original forehead at each pixel.

    Args:
        new: Landmarks of the new face, (68, 2), pixels.
        old: Landmarks of the original, (68, 2), pixels. At each pixel, the smaller of both faces' heights counts.
        size_px: Side s of the result, pixels.
        later: How much higher the fading begins, in units of `forehead_height`.

    Returns:
        (s, s), 0 to 1.
    """
    return ramp(np.minimum(*(forehead_height(points, size_px) for points in (new, old))) - later, *FADES)


def face_hull(
    landmarks: Float[np.ndarray, "68 2"], size_px: int, inset: float = 0.0, softness: float = _SOFTNESS
) -> Float[np.ndarray, "s s"]:
    """Return the soft mask of a face's hull, which includes the forehead.

    Args:
        landmarks: (68, 2), pixels.
        size_px: Side s of the result, pixels.
        inset: How far inside the hull the mask has the value 0.5, in hull widths; negative for outside.
        softness: Width of the edge, in hull widths.

    Returns:
        (s, s), 0 to 1; 0 at the border.
    """
    return FaceHull(landmarks, size_px).soft(inset, softness)


class FaceHull:
    """The hull of a face, which includes the forehead, for several soft masks of the same face."""

    def __init__(self, landmarks: Float[np.ndarray, "68 2"], size_px: int) -> None:
        """Compute the hull.

        Args:
            landmarks: (68, 2), pixels.
            size_px: Side of the masks, pixels.
        """
        points = with_forehead(landmarks)
        self._side = float(np.ptp(points[:, 0]))
        hull = np.zeros((size_px, size_px), np.uint8)
        cv2.fillConvexPoly(hull, cv2.convexHull((points * 16).round().astype(np.int32)), 255, shift=4)
        hull[[0, -1]] = 0
        hull[:, [0, -1]] = 0
        self._depth = depth_inside(hull)

    def soft(self, inset: float = 0.0, softness: float = _SOFTNESS) -> Float[np.ndarray, "s s"]:
        """Return a soft mask of the hull, (s, s); see `face_hull`."""
        ramp = (self._depth - inset * self._side) / max(softness * self._side, 1e-3)
        soft = (1 / (1 + np.exp(-np.clip(2 * ramp, -30, 30)))).astype(np.float32)
        soft[[0, -1]] = 0
        soft[:, [0, -1]] = 0
        return soft
