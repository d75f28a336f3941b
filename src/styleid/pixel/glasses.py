"""Draw the glasses of the original onto a new face.

In photos, frames are interrupted by brows, lashes and reflections; copied pixels look like scratches. Therefore frames
are redrawn in their own colours: a line around each lens with the position and thickness measured in the photo, a
bridge, and the arms if they are visible.

Convention
----------
All coordinates are pixels of one crop. Images are RGB, float32 (s, s, 3) in [0, 255]; masks are (s, s) in [0, 1];
landmarks are (68, 2). Lengths are in face widths unless a unit is given. A pair of thresholds is the value at which
something starts to count, and the value from which it counts fully.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Num, UInt8

from styleid.faces.align import fit_similarity
from styleid.faces.geometry import JAW, LEFT_EYE, RIGHT_EYE
from styleid.pixel.soft import blurred, depth_inside, ramp
from styleid.types import LUMA

_BROWS = slice(17, 22), slice(22, 27)
_NOSE_BRIDGE = 27
_DARK_LENS = 0.35
"""Brightness behind dark glasses, at most, as a share of the skin's brightness."""
_LENS, _TELLING_LENS, _ARM = (0.025, 0.03), (0.035, 0.045), 0.05
"""Area of a lens, in squared face widths; the same for a lens from which the other one is inferred; and the width below
which a part is not a lens but an arm."""
_HIDES_EYE = (0.35, 0.55)
"""Share of an eye that glasses cover."""
_NEAR, _THIN, _THICK = 0.035, 0.006, 0.022
"""Largest distance of a frame from the outline of its lens; least and largest half thickness of a frame."""
_RESIDUAL = (14.0, 34.0)
"""Difference of a frame's colour from the skin around it, on the scale of 0 to 255."""
_SHOWS, _ARM_SHOWS = (0.45, 0.6), 0.6
"""Share of a lens's outline along which a frame is visible, and share of an arm's length."""
_SMOOTH, _AROUND, _HALF_WAY = 0.02, 0.07, 0.42
"""Smoothing of lenses and of frames' colours; radius in which skin colour is averaged; and how far a lens may extend
towards the other eye, as a share of the distance between the eyes."""


@dataclass(frozen=True)
class FaceMaps:
    """Where the original shows bare face and glasses.

    bare: probability of bare face, (s, s), 0 to 1.
    glasses: probability of glasses, (s, s), 0 to 1.
    """

    bare: Float[np.ndarray, "s s"]
    glasses: Float[np.ndarray, "s s"]


def are_dark(source: Float[np.ndarray, "s s 3"], shows: FaceMaps) -> bool:
    """Return whether dark glasses are worn: most pixels that glasses cover are much darker than the skin.

    Args:
        source: The original crop, (s, s, 3).
        shows: Where it shows bare face and glasses.
    """
    luma = source @ LUMA
    lenses, skin = luma[shows.glasses > 0.6], luma[shows.bare > 0.8]
    if len(lenses) < 0.01 * luma.size or len(skin) == 0:
        return False
    return bool(np.quantile(lenses, 0.6) < _DARK_LENS * np.median(skin))


def draw_glasses_of_original(
    face: Float[np.ndarray, "s s 3"],
    landmarks: Float[np.ndarray, "68 2"],
    source: Float[np.ndarray, "s s 3"],
    source_landmarks: Float[np.ndarray, "68 2"],
    shows: FaceMaps,
) -> Float[np.ndarray, "s s 3"]:
    """Draw the frames of the original's glasses onto a new face.

    Frames are drawn with lower opacity if they are uncertain, so that they fade in and out in videos.

    Args:
        face: The new face, (s, s, 3).
        landmarks: Landmarks of the new face, (68, 2).
        source: The original crop, (s, s, 3).
        source_landmarks: Landmarks of the original, (68, 2).
        shows: Where the original shows bare face and glasses.

    Returns:
        (s, s, 3); the face unchanged if no frames were found.
    """
    drawn = _frames(source, source_landmarks, shows)
    if drawn is None:
        return face
    matrix = fit_similarity(_eyes(source_landmarks), _eyes(landmarks))
    line, colours = (cv2.warpAffine(layer, matrix, face.shape[:2], borderMode=cv2.BORDER_REPLICATE) for layer in drawn)
    return face + (colours - face) * line[..., None]


def _frames(
    source: Float[np.ndarray, "s s 3"], landmarks: Float[np.ndarray, "68 2"], shows: FaceMaps
) -> tuple[Float[np.ndarray, "s s"], Float[np.ndarray, "s s 3"]] | None:
    """Return the opacity (s, s) and colours (s, s, 3) of the frames over the original; None if there are none."""
    unit = float(np.ptp(landmarks[:, 0]))
    left, right, sure = _lenses(shows.glasses, landmarks, unit)
    if sure == 0:
        return None
    depth = np.maximum(depth_inside(left), depth_inside(right)) / unit
    features = np.zeros(depth.shape, np.uint8)
    for part in (*_BROWS, LEFT_EYE, RIGHT_EYE):
        _fill(features, landmarks[part])
    wide = cv2.dilate(features, np.ones((2 * round(_NEAR * unit) + 1,) * 2, np.uint8))
    skin = _extrapolated(source, shows.bare * (depth < -_NEAR) * (wide == 0), _AROUND * unit)
    differs = ramp(np.abs(source - skin).max(-1), *_RESIDUAL)
    strong = differs * (np.abs(depth) < _NEAR) * (features == 0)
    border = (np.abs(depth) * unit < 1) & (features == 0)
    seen = cv2.dilate(strong, np.ones((2 * max(round(_NEAR * unit), 1) + 1,) * 2, np.uint8))[border]
    sure *= float(ramp(seen.mean(), *_SHOWS)) if seen.size else 0.0
    if sure == 0:
        return None
    total = float(strong.sum())
    middle = float((depth * strong).sum()) / total
    half = float(np.clip(np.sqrt((np.square(depth - middle) * strong).sum() / total), _THIN, _THICK))
    apart = np.minimum(np.abs(depth - middle), _joints((left, right), differs, landmarks, unit))
    line = sure * ramp(half + _THIN - apart, 0.0, 2 * _THIN)
    return line, _extrapolated(source, strong * (strong > 0.5), _SMOOTH * unit)


def _lenses(
    glasses: Float[np.ndarray, "s s"], landmarks: Float[np.ndarray, "68 2"], unit: float
) -> tuple[Bool[np.ndarray, "s s"], Bool[np.ndarray, "s s"], float]:
    """Return the masks of both lenses, bool (s, s), and their certainty; a lens that is not found is mirrored."""
    (left, left_sure), (right, right_sure) = (_lens(glasses, landmarks, eye, unit) for eye in (LEFT_EYE, RIGHT_EYE))
    if left_sure > 0 and right_sure > 0:
        return left, right, min(left_sure, right_sure)
    found = left if left_sure > 0 else right
    eyes = _eyes(landmarks)
    middle, across = eyes.mean(0), (eyes[1] - eyes[0]) / max(float(np.linalg.norm(eyes[1] - eyes[0])), 1e-6)
    mirror = np.eye(2) - 2 * np.outer(across, across)
    matrix = np.column_stack([mirror, middle - mirror @ middle])
    mirrored = cv2.warpAffine(found.astype(np.uint8), matrix, glasses.shape) > 0
    telling = float(ramp(min(found.sum(), mirrored.sum()) / unit**2, *_TELLING_LENS))
    sure = max(left_sure, right_sure) * telling
    return (found, mirrored, sure) if left_sure > 0 else (mirrored, found, sure)


def _lens(
    glasses: Float[np.ndarray, "s s"], landmarks: Float[np.ndarray, "68 2"], eye: slice, unit: float
) -> tuple[Bool[np.ndarray, "s s"], float]:
    """Return the mask of the lens in front of an eye, without holes, bool (s, s), and its certainty, 0 to 1."""
    size, here = len(glasses), landmarks[eye].mean(0)
    other = landmarks[RIGHT_EYE if eye == LEFT_EYE else LEFT_EYE].mean(0)
    distance = max(float(np.linalg.norm(other - here)), 1e-6)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    along = (np.stack([x, y], -1) - here) @ (other - here) / distance
    opening = _fill(np.zeros((size, size), np.uint8), landmarks[eye]) > 0
    part = ((glasses > 0.5) & (along < _HALF_WAY * distance)).astype(np.uint8)
    arm = 2 * max(round(_ARM * unit / 2), 1) + 1
    part = cv2.morphologyEx(part | opening, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (arm, arm)))
    if not opening.any() or not part.any():
        return part > 0, 0.0
    sure = float(ramp(part.sum() / unit**2, *_LENS) * ramp(glasses[opening].mean(), *_HIDES_EYE))
    hull = _fill(np.zeros((size, size), np.uint8), np.argwhere(part)[:, ::-1])
    return blurred(hull.astype(np.float32), _SMOOTH * unit) > 0.5, sure


def _eyes(landmarks: Float[np.ndarray, "68 2"]) -> Float[np.ndarray, "2 2"]:
    """Return the eyes' centres, (2, 2)."""
    return np.stack([landmarks[eye].mean(0) for eye in (LEFT_EYE, RIGHT_EYE)])


def _fill(mask: UInt8[np.ndarray, "s s"], points: Num[np.ndarray, "k 2"]) -> UInt8[np.ndarray, "s s"]:
    """Set a mask (s, s) to 1 inside the convex hull of points (k, 2), in place, and return it."""
    return np.asarray(cv2.fillConvexPoly(mask, cv2.convexHull(points.round().astype(np.int32)), 1))


def _joints(
    lenses: tuple[Bool[np.ndarray, "s s"], Bool[np.ndarray, "s s"]],
    differs: Float[np.ndarray, "s s"],
    landmarks: Float[np.ndarray, "68 2"],
    unit: float,
) -> Float[np.ndarray, "s s"]:
    """Return the distance of each pixel from the bridge and from the visible arms, (s, s)."""
    ends, around = [], np.ones((3, 3), np.uint8)
    for lens, temple in zip(lenses, (JAW.start, JAW.stop - 1), strict=True):
        outline = np.argwhere(lens & (cv2.erode(lens.astype(np.uint8), around) == 0))[:, ::-1]
        upper = outline[outline[:, 1] <= np.quantile(outline[:, 1], 0.5)]  # arms and bridge are attached here
        inner = upper[np.linalg.norm(upper - landmarks[_NOSE_BRIDGE], axis=1).argmin()]
        outer = upper[np.linalg.norm(upper - landmarks[temple], axis=1).argmin()]
        ends.append((inner, outer, landmarks[temple]))
    apart, seen = _distance(ends[0][0], ends[1][0], differs.shape), cv2.dilate(differs, around)
    for _, outer, temple in ends:
        arm = _distance(outer, temple, differs.shape)
        if seen[arm < 1].mean() > _ARM_SHOWS:
            apart = np.minimum(apart, arm)
    return apart / unit


def _distance(
    start: Num[np.ndarray, " 2"], end: Num[np.ndarray, " 2"], shape: tuple[int, ...]
) -> Float[np.ndarray, "s s"]:
    """Return the distance of each pixel from a line segment, (s, s), pixels."""
    x, y = np.meshgrid(np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32))
    start, end = np.asarray(start, np.float32), np.asarray(end, np.float32)
    way = end - start
    share = ((np.stack([x, y], -1) - start) @ way / max(float(way @ way), 1e-6)).clip(0, 1)
    return np.hypot(x - start[0] - share * way[0], y - start[1] - share * way[1])


def _extrapolated(
    image: Float[np.ndarray, "s s 3"], weight: Float[np.ndarray, "s s"], sigma: float
) -> Float[np.ndarray, "s s 3"]:
    """Return the weighted blur of an image, (s, s, 3), extrapolated to pixels without weight."""
    size, sums, counts = len(image), np.zeros((*weight.shape, 4), np.float32), 1.0
    weighed = np.dstack([image, np.ones_like(weight)]) * weight[..., None]
    for coarser in (1, 4, 16):  # coarser scales count only where the finer ones have no weight
        small = np.asarray(cv2.resize(weighed, (-(-size // coarser),) * 2, interpolation=cv2.INTER_AREA), np.float32)
        sums += counts * cv2.resize(blurred(small, sigma), (size, size))
        counts *= 1e-2
    return np.asarray(sums[..., :3] / (sums[..., 3:] + 1e-9))
