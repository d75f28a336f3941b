"""Say which pixels of a crop are bare face, and which lie before it.

Convention
----------
Label logits are (19, h, w) over CelebAMask-HQ's classes; masks are float32 (s, s) in [0, 1] over the crop.
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
_SOFTNESS = 0.02
FADES = (0.3, 1.0)
"""How far up the forehead a new face begins to fade into the photo's own skin, and is gone."""


def class_probability(
    logits: Float[np.ndarray, "n 19 h w"], classes: tuple[int, ...], size_px: int
) -> Float[np.ndarray, "n s s"]:
    """Return the probability that a pixel belongs to one of the classes, (n, s, s), of logits (n, 19, h, w)."""
    scores = np.exp(logits - logits.max(1, keepdims=True))
    share = scores[:, list(classes)].sum(1) / scores.sum(1)
    return np.stack([cv2.resize(m, (size_px, size_px), interpolation=cv2.INTER_LINEAR) for m in share])


def bare_face(
    logits: Float[np.ndarray, "n 19 h w"], landmarks: Float[np.ndarray, "n 68 2"], size_px: int
) -> Float[np.ndarray, "n s s"]:
    """Return how likely a pixel shows bare face, (n, s, s), of logits (n, 19, h, w) and landmarks (n, 68, 2).

    Inside the landmarks' hull a face is what to expect, so the parser must be sure of anything else there: what it
    takes for hair or a hand keeps the original's pixels.
    """
    found = class_probability(logits, FACE, size_px)
    prior = np.stack([1 + (_FACE_ODDS - 1) * face_hull(points, size_px) for points in landmarks])
    return (prior * found / (prior * found + 1 - found)).astype(np.float32)


def up_the_forehead(landmarks: Float[np.ndarray, "68 2"], size_px: int) -> Float[np.ndarray, "s s"]:
    """Return how far up one face's forehead each pixel lies, (s, s): 0 at the brows' middle, 1 where its hull ends."""
    points = with_forehead(landmarks)
    brows = points[BROWS].mean(0)
    up = points[FOREHEAD].mean(0) - brows
    along = up / max(float(up @ up), 1e-6)
    x, y = ((np.arange(size_px, dtype=np.float32) - brows[axis]) * along[axis] for axis in (0, 1))
    return y[:, None] + x


def gone_up_the_forehead(
    new: Float[np.ndarray, "68 2"], old: Float[np.ndarray, "68 2"], size_px: int, later: float = 0.0
) -> Float[np.ndarray, "s s"]:
    """Return how much of a new face has faded into the old one's forehead at each pixel, (s, s) in [0, 1].

    new, old: their landmarks, (68, 2); the face of the higher brows tells. later: how much further up it fades.
    """
    return ramp(np.minimum(*(up_the_forehead(points, size_px) for points in (new, old))) - later, *FADES)


def face_hull(
    landmarks: Float[np.ndarray, "68 2"], size_px: int, inset: float = 0.0, softness: float = _SOFTNESS
) -> Float[np.ndarray, "s s"]:
    """Return the soft hull of one face's 68 landmarks with the forehead closed, (s, s).

    inset: how far the half-way line lies inside the hull; softness: deviation of the edge; both in hull widths.
    """
    return FaceHull(landmarks, size_px).soft(inset, softness)


class FaceHull:
    """The hull of one face's 68 landmarks with the forehead closed, for soft hulls of several sizes."""

    def __init__(self, landmarks: Float[np.ndarray, "68 2"], size_px: int) -> None:
        points = with_forehead(landmarks)
        self._side = float(np.ptp(points[:, 0]))
        hull = np.zeros((size_px, size_px), np.uint8)
        cv2.fillConvexPoly(hull, cv2.convexHull((points * 16).round().astype(np.int32)), 255, shift=4)
        hull[[0, -1]] = 0
        hull[:, [0, -1]] = 0
        self._depth = depth_inside(hull)

    def soft(self, inset: float = 0.0, softness: float = _SOFTNESS) -> Float[np.ndarray, "s s"]:
        """Return the soft hull as `face_hull` does."""
        ramp = (self._depth - inset * self._side) / max(softness * self._side, 1e-3)
        soft = (1 / (1 + np.exp(-np.clip(2 * ramp, -30, 30)))).astype(np.float32)
        soft[[0, -1]] = 0
        soft[:, [0, -1]] = 0
        return soft
