"""Compute pose and expression from 68 landmarks, and add points of the forehead.

Convention
----------
Landmarks follow the 68-point scheme of iBUG 300-W: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, lips 48-67. Left is
the image's left. Arrays are (..., 68, 2), (x, y) in pixels. Lengths are given in inter-ocular distances, the distance
between the eyes' centres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from styleid.types import FloatArray

JAW, BROWS, NOSE_TIP, LEFT_EYE, RIGHT_EYE = slice(0, 17), slice(17, 27), 30, slice(36, 42), slice(42, 48)
POINTS_WITH_FOREHEAD = 78
"""Number of points that `with_forehead` returns."""
FOREHEAD = slice(68, POINTS_WITH_FOREHEAD)
FOREHEAD_RISE = 0.55
"""Height of the forehead's points above the brows, as a share of the brows' height above the nose tip."""
MOUTH_OPEN_FROM = 0.08
"""Distance of the inner lips above which a mouth counts as open, in inter-ocular distances."""

Numbers = FloatArray | np.floating
"""One number per face, or a single number for a single face."""


@dataclass(frozen=True)
class Expression:
    """Pose and expression. Every field has the leading shape of the landmarks.

    mouth_opening: mean distance of the inner lips, inter-ocular distances.
    smile: height of the mouth's corners above its middle, inter-ocular distances.
    eye_opening: mean distance of the eyelids, inter-ocular distances.
    brow_height: mean height of the brows above the eyes, inter-ocular distances.
    yaw: -1 to 1, positive if the face turns to the image's right.
    pitch: position of the nose tip between the eyes (0) and the mouth (1).
    roll: radians, positive if the head is tilted clockwise in the image.
    """

    mouth_opening: Numbers
    smile: Numbers
    eye_opening: Numbers
    brow_height: Numbers
    yaw: Numbers
    pitch: Numbers
    roll: Numbers

    @property
    def mouth_is_open(self) -> np.ndarray | np.bool_:
        """Whether the mouth is open, bool."""
        return self.mouth_opening > MOUTH_OPEN_FROM


def inter_ocular(landmarks: Float[np.ndarray, "... k 2"]) -> Numbers:
    """Return the distance between the eyes' centres.

    Args:
        landmarks: (..., k, 2), k at least 48, pixels.

    Returns:
        (...), pixels.
    """
    left, right = (landmarks[..., eye, :].mean(-2) for eye in (LEFT_EYE, RIGHT_EYE))
    return np.linalg.norm(right - left, axis=-1)


def five_points(landmarks: Float[np.ndarray, "... k 2"]) -> Float[np.ndarray, "... 5 2"]:
    """Return the five landmarks (eyes, nose tip, mouth corners) of 68 landmarks.

    Args:
        landmarks: (..., k, 2), k at least 55.

    Returns:
        (..., 5, 2), in the order of `styleid.types.Faces`.
    """
    eyes = [landmarks[..., eye, :].mean(-2) for eye in (LEFT_EYE, RIGHT_EYE)]
    return np.stack([*eyes, landmarks[..., 30, :], landmarks[..., 48, :], landmarks[..., 54, :]], -2)


def with_forehead(landmarks: Float[np.ndarray, "... 68 2"]) -> Float[np.ndarray, "... 78 2"]:
    """Append ten points of the forehead: the brows, raised by 0.55 of their height above the nose tip.

    Args:
        landmarks: (..., 68, 2).

    Returns:
        (..., 78, 2), float32.
    """
    brows, nose, chin = landmarks[..., BROWS, :], landmarks[..., NOSE_TIP, None, :], landmarks[..., 8, None, :]
    up = landmarks[..., 36:48, :].mean(-2, keepdims=True) - chin
    up = up / np.linalg.norm(up, axis=-1, keepdims=True)
    height = ((brows - nose) * up).sum(-1, keepdims=True)
    return np.concatenate([landmarks, brows + up * height * FOREHEAD_RISE], -2).astype(np.float32)


def landmark_error(found: Float[np.ndarray, "... k 2"], true: Float[np.ndarray, "... k 2"]) -> Numbers:
    """Return the mean distance of corresponding landmarks, in inter-ocular distances.

    Args:
        found: (..., k, 2).
        true: (..., k, 2); their inter-ocular distance is the unit.

    Returns:
        (...).
    """
    return np.linalg.norm(found - true, axis=-1).mean(-1) / np.maximum(inter_ocular(true), 1e-6)


def expression(landmarks: Float[np.ndarray, "... k 2"]) -> Expression:
    """Compute pose and expression from landmarks (..., 68, 2)."""
    unit = np.maximum(inter_ocular(landmarks), 1e-6)

    def between(a: int, b: int) -> Numbers:
        return np.linalg.norm(landmarks[..., a, :] - landmarks[..., b, :], axis=-1) / unit

    eyes = landmarks[..., 36:48, :].mean(-2)
    axis = landmarks[..., RIGHT_EYE, :].mean(-2) - landmarks[..., LEFT_EYE, :].mean(-2)
    along = axis / np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-6)
    down = np.stack([-along[..., 1], along[..., 0]], -1)

    def depth(point: FloatArray) -> Numbers:
        return ((point - eyes) * down).sum(-1) / unit

    corners = (landmarks[..., 48, :] + landmarks[..., 54, :]) / 2
    middle = (landmarks[..., 62, :] + landmarks[..., 66, :]) / 2
    to_left = np.linalg.norm(landmarks[..., 30, :] - landmarks[..., 2, :], axis=-1)
    to_right = np.linalg.norm(landmarks[..., 30, :] - landmarks[..., 14, :], axis=-1)
    mouth = np.maximum(depth(landmarks[..., 48:60, :].mean(-2)), 1e-3)
    return Expression(
        mouth_opening=(between(61, 67) + between(62, 66) + between(63, 65)) / 3,
        smile=depth(middle) - depth(corners),
        eye_opening=(between(37, 41) + between(38, 40) + between(43, 47) + between(44, 46)) / 4,
        brow_height=-depth(landmarks[..., BROWS, :].mean(-2)),
        yaw=(to_left - to_right) / np.maximum(to_left + to_right, 1e-6),
        pitch=depth(landmarks[..., 30, :]) / mouth,
        roll=np.arctan2(along[..., 1], along[..., 0]),
    )
