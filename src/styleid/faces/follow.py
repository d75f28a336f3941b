"""Follow a face through frames in which the detector does not find it.

An image of the face, the patch, is searched for near the expected position by normalised correlation. The patch is
never updated, so that the search cannot drift onto the background.

Convention
----------
Frames are grey, uint8 (h, w). Boxes are (x0, y0, x1, y1) in their pixels. Scores are correlations, -1 to 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from jaxtyping import Float

from styleid.types import FloatArray

ACROSS_CUTS = 0.7
"""Least correlation with which a track that is not detected continues across a cut."""
_INSIDE = 0.1
"""Least share of a box that must lie inside the picture."""
SEEN_FROM = 0.5
"""Correlation from which a face counts as found."""
_SMALLEST_PX = 5
"""Shortest side of a patch that can be searched for."""
_SCALES = (1.0, 0.94, 1.06)
"""Changes of scale from frame to frame that are tried."""
_REACH, _WIDER, _WIDEST = 0.5, 0.1, 1.0
"""Search radius in sides of the box, its growth per frame without the face, and its largest growth."""
_LEAST_REACH_PX = 4
"""Smallest search radius, pixels."""
_UNSURE_GROWTH, _MOST_GROWTH = 0.2, 1.0
"""Growth of the box per frame without the face, as a share of its size, and its largest growth."""
_DISAGREE = 0.35
"""Distance of the positions found from both ends, in sides of the box, above which both are covered."""
_MOST_OUTSIDE = 0.6
"""Largest share of a patch's side that may lie outside the frame."""

Look = tuple[np.ndarray, FloatArray]
"""A frame and a box in it that shows the face well; it need not be the frame in which the face was last found."""


def is_inside(box_xyxy: Float[np.ndarray, " 4"], width: int, height: int) -> bool:
    """Return whether enough of a box lies inside a picture of this size in pixels to show a face."""
    size = np.clip(box_xyxy[2:] - box_xyxy[:2], 1e-3, None)
    low, high = np.maximum(box_xyxy[:2], 0), np.minimum(box_xyxy[2:], [width, height])
    return bool((high > low).all()) and float(((high - low) / size).prod()) > _INSIDE


def follow(
    pictures: Sequence[np.ndarray], box_xyxy: FloatArray, speed: FloatArray, look: Look | None = None
) -> tuple[FloatArray, FloatArray]:
    """Follow a face from the first frame through the others.

    While the face is not found, the box continues with its last speed and grows, because the position is uncertain.

    Args:
        pictures: n grey frames.
        box_xyxy: The face's box in the first frame, (4,).
        speed: The face's motion, (2,), pixels per frame.
        look: The frame and box from which the patch is cut; None for the first frame and box_xyxy.

    Returns:
        Boxes, (n - 1, 4), and scores, (n - 1,).
    """
    found = list(followed(pictures, box_xyxy, speed, look))
    boxes, scores = [box for box, _ in found], [score for _, score in found]
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32)


def followed(
    pictures: Sequence[np.ndarray], box_xyxy: FloatArray, speed: FloatArray, look: Look | None = None
) -> Iterator[tuple[FloatArray, float]]:
    """Yield the box, (4,), and the score in each frame after the first; see `follow`. Each is searched when asked for.

    Args:
        pictures: n grey frames.
        box_xyxy: The face's box in the first frame, (4,).
        speed: The face's motion, (2,), pixels per frame.
        look: The frame and box from which the patch is cut; None for the first frame and box_xyxy.
    """
    look = look or (pictures[0], np.asarray(box_xyxy, np.float32))
    patch, aside = _patch(*look)
    middle, half = np.asarray(box_xyxy).reshape(2, 2).mean(0), (look[1][2:] - look[1][:2]) / 2
    box, speed = np.concatenate([middle - half, middle + half]).astype(np.float32), np.asarray(speed, np.float32)
    scale, unseen = 1.0, 0
    for picture in pictures[1:]:
        guess = box + np.tile(speed, 2)
        found, score, scale_found = _search(picture, patch, guess, speed, scale, aside, unseen)
        unseen = 0 if score >= SEEN_FROM else unseen + 1
        if not unseen:
            moved = found.reshape(2, 2).mean(0) - box.reshape(2, 2).mean(0)
            speed, scale = (0.6 * speed + 0.4 * moved).astype(np.float32), scale_found
            box = found
        else:
            box = guess
        yield _wider(box, min(_UNSURE_GROWTH * unseen, _MOST_GROWTH)), score


def fill_gap(
    pictures: Sequence[np.ndarray],
    before: FloatArray,
    after: FloatArray,
    speeds: tuple[FloatArray, FloatArray],
    looks: tuple[Look | None, Look | None] = (None, None),
) -> FloatArray:
    """Return the boxes of a face between two frames in which it was detected.

    The face is followed from both ends. Where it is not found, boxes lie on a smooth path and grow. Where the two
    directions disagree, the box covers both positions.

    Args:
        pictures: n grey frames; the face was detected in the first and the last.
        before: The box in the first frame, (4,).
        after: The box in the last frame, (4,).
        speeds: The motion at both ends, (2,) each, pixels per frame, forwards in time.
        looks: The frames and boxes from which patches are cut for both directions; None for the detected box.

    Returns:
        (n - 2, 4).
    """
    count = len(pictures) - 2
    path = hermite(before, after, np.tile(speeds[0], 2), np.tile(speeds[1], 2), count)
    if count < 1:
        return path
    there, there_score = follow(pictures[:-1], before, speeds[0], looks[0])
    back, back_score = follow(list(reversed(pictures))[:-1], after, -np.asarray(speeds[1]), looks[1])
    back, back_score = back[::-1], back_score[::-1]
    u = (np.arange(1, count + 1) / (count + 1)).astype(np.float32)
    weights = np.stack([(1 - u) * _trust(there_score), u * _trust(back_score), np.full(count, 0.02, np.float32)])
    boxes = (np.stack([there, back, path]) * (weights / weights.sum(0))[..., None]).sum(0).astype(np.float32)
    lost = 1 - np.maximum(_trust(there_score), _trust(back_score))
    from_end = np.minimum(np.arange(1, count + 1), np.arange(count, 0, -1))
    growth = np.minimum(_UNSURE_GROWTH * from_end, _MOST_GROWTH) * lost
    boxes = np.stack([_wider(box, by) for box, by in zip(boxes, growth, strict=True)])
    apart = np.linalg.norm((there - back).reshape(-1, 2, 2).mean(1), axis=1)
    disagree = apart > _DISAGREE * (path[:, 2:] - path[:, :2]).max(1)
    around = np.stack([boxes, there, back, path])
    union = np.concatenate([around[..., :2].min(0), around[..., 2:].max(0)], 1)
    return np.where(disagree[:, None], union, boxes).astype(np.float32)


def hermite(before: FloatArray, after: FloatArray, v0: FloatArray, v1: FloatArray, count: int) -> FloatArray:
    """Interpolate between two values with a cubic Hermite curve.

    Args:
        before: First value, (k,).
        after: Last value, (k,).
        v0: Speed at the first value, (k,), per frame. It is limited to about three times the mean speed.
        v1: Speed at the last value, (k,), limited in the same way.
        count: Number of values in between.

    Returns:
        (count, k).
    """
    t = (np.arange(1, count + 1, dtype=np.float32) / (count + 1))[:, None]
    span = np.float32(count + 1)
    straight = (after - before) / span
    most = 3 * np.abs(straight) + 0.02 * np.abs(before[2] - before[0])
    m0, m1 = (np.clip(v, straight - most, straight + most) * span for v in (v0, v1))
    h00, h10 = 2 * t**3 - 3 * t**2 + 1, t**3 - 2 * t**2 + t
    return (h00 * before + h10 * m0 + (1 - h00) * after + (t**3 - t**2) * m1).astype(np.float32)


def _wider(box: FloatArray, by: float) -> FloatArray:
    """Return a box enlarged about its centre by a share of its size."""
    more = (box[2:] - box[:2]) * by / 2
    return np.concatenate([box[:2] - more, box[2:] + more]).astype(np.float32)


def _trust(scores: FloatArray) -> FloatArray:
    return np.clip((scores - 0.35) / 0.4, 0, 1) ** 2


def _patch(picture: np.ndarray, box: FloatArray) -> tuple[np.ndarray, FloatArray]:
    """Cut out the part of a box inside the frame; return it and the offset of its centre from the box's centre."""
    x0, y0, x1, y1 = _inner(box)
    height, width = picture.shape
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    aside = np.array([left + right - 1, top + bottom - 1], np.float32) / 2 - np.asarray(box).reshape(2, 2).mean(0)
    return picture[top : max(bottom, top), left : max(right, left)], aside


def _inner(box: FloatArray) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def _search(
    picture: np.ndarray,
    patch: np.ndarray,
    guess: FloatArray,
    speed: FloatArray,
    scale: float,
    aside: FloatArray,
    unseen: int,
) -> tuple[FloatArray, float, float]:
    """Return the best box for a patch near a guess, its score (-1 if it cannot be searched for), and its scale."""
    best = guess, -1.0, scale
    if patch.size == 0 or min(patch.shape) < _SMALLEST_PX or float(patch.std()) < 1.0:
        return best
    side = float((guess[2:] - guess[:2]).max())
    far = _REACH + min(_WIDER * unseen, _WIDEST)
    reach = round(max(far * side, _LEAST_REACH_PX) + 0.5 * float(np.abs(speed).max()))
    centre = guess.reshape(2, 2).mean(0) + aside * scale
    for factor in _SCALES:
        size = np.maximum(np.round(np.array(patch.shape[::-1]) * scale * factor), _SMALLEST_PX).astype(int)
        small = cv2.resize(patch, (int(size[0]), int(size[1])), interpolation=cv2.INTER_LINEAR)
        small, shift = _still_inside(small, centre - size / 2, picture.shape)
        size = np.array(small.shape[::-1])
        x0, y0 = (np.round(centre + shift - size / 2) - reach).astype(int).tolist()
        area = _window(picture, x0, y0, int(size[0]) + 2 * reach, int(size[1]) + 2 * reach)
        if area is None:
            continue
        found = cv2.matchTemplate(area, small, cv2.TM_CCOEFF_NORMED)
        _, score, _, at = cv2.minMaxLoc(np.nan_to_num(found, nan=-1.0, posinf=-1.0, neginf=-1.0))
        if score > best[1] + (0.02 if factor != 1.0 else 0.0):
            middle = np.array([x0 + at[0], y0 + at[1]]) + (size - 1) / 2 - aside * scale * factor - shift
            half = (guess[2:] - guess[:2]) / 2 * factor
            best = np.concatenate([middle - half, middle + half]).astype(np.float32), float(score), scale * factor
    return best


def _still_inside(small: np.ndarray, low: FloatArray, shape: tuple[int, ...]) -> tuple[np.ndarray, FloatArray]:
    """Cut off the part of a patch outside the frame, at most 0.6 of a side; return it and the shift of its centre."""
    size = np.array(small.shape[::-1])
    before = np.clip(-low, 0, _MOST_OUTSIDE * size).astype(int)
    after = np.clip(low + size - np.array(shape[1::-1]), 0, _MOST_OUTSIDE * size).astype(int)
    if (size - before - after < _SMALLEST_PX).any():
        return small, np.zeros(2)
    end = size - after
    return small[before[1] : end[1], before[0] : end[0]], (before - after) / 2


def _window(picture: np.ndarray, x0: int, y0: int, width: int, height: int) -> np.ndarray | None:
    """Cut a window out of a frame, repeating border pixels outside it; None if the window lies outside entirely."""
    h, w = picture.shape
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x0 + width, w), min(y0 + height, h)
    if right - left < 2 or bottom - top < 2:
        return None
    return cv2.copyMakeBorder(
        picture[top:bottom, left:right],
        top - y0,
        y0 + height - bottom,
        left - x0,
        x0 + width - right,
        cv2.BORDER_REPLICATE,
    )
