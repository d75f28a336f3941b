"""Follow a face where the detector does not see it, by how it looked when it was last seen.

The face's picture is looked for near where it should be, by normalised correlation; the picture is never renewed, so
that nothing drifts onto the background.

Convention
----------
Pictures are grey, uint8 (h, w). Boxes are in their pixels. Scores are correlations, -1 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from styleid.types import FloatArray

SEEN_FROM = 0.5
"""Correlation from which a face counts as still there."""
_SMALLEST_PX = 5
_SCALES = (1.0, 0.94, 1.06)
_REACH, _WIDER, _WIDEST = 0.5, 0.1, 1.0
_LEAST_REACH_PX = 4
_UNSURE_GROWTH, _MOST_GROWTH = 0.2, 1.0
_DISAGREE = 0.35
_MOST_OUTSIDE = 0.6


Look = tuple[np.ndarray, FloatArray]
"""A picture and the box in it where a face shows itself best, which need not be where it was seen last."""


def follow(
    pictures: Sequence[np.ndarray], box_xyxy: FloatArray, speed: FloatArray, look: Look | None = None
) -> tuple[FloatArray, FloatArray]:
    """Follow a box from the first picture through the others: boxes (n - 1, 4) and scores (n - 1,).

    speed: (2,) pixels from picture to picture. look: what to look for, by default what the box shows. Where nothing is
    alike the box goes on as it was going, with its score, and grows, since the face may be anywhere near.
    """
    look = look or (pictures[0], np.asarray(box_xyxy, np.float32))
    patch, aside = _patch(*look)
    middle, half = np.asarray(box_xyxy).reshape(2, 2).mean(0), (look[1][2:] - look[1][:2]) / 2
    box, speed = np.concatenate([middle - half, middle + half]).astype(np.float32), np.asarray(speed, np.float32)
    boxes, scores, scale, unseen = [], [], 1.0, 0
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
        boxes.append(_wider(box, min(_UNSURE_GROWTH * unseen, _MOST_GROWTH)))
        scores.append(score)
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32)


def fill_gap(
    pictures: Sequence[np.ndarray],
    before: FloatArray,
    after: FloatArray,
    speeds: tuple[FloatArray, FloatArray],
    looks: tuple[Look | None, Look | None] = (None, None),
) -> FloatArray:
    """Return the boxes between two that are known, (n - 2, 4): followed from both ends, else on a smooth path.

    pictures: from the one of `before` to the one of `after`. speeds, looks: at both ends, forwards
    in time.
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
    disagree = apart > _DISAGREE * (path[:, 2:] - path[:, :2]).max(
        1
    )  # then the face may be at either place, or between
    around = np.stack([boxes, there, back, path])
    union = np.concatenate([around[..., :2].min(0), around[..., 2:].max(0)], 1)
    return np.where(disagree[:, None], union, boxes).astype(np.float32)


def hermite(before: FloatArray, after: FloatArray, v0: FloatArray, v1: FloatArray, count: int) -> FloatArray:
    """Return count values between two on the cubic with the speeds given, (count, k); speeds are kept within reason."""
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
    """Return what a box shows inside the picture, and how far that's middle lies from the box's."""
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
    """Return the best place of a patch near a guess, its score and its scale; -1 where it cannot be looked for."""
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
    """Cut off what of a patch lies outside the picture, at most six tenths a side, and say how its middle moves."""
    size = np.array(small.shape[::-1])
    before = np.clip(-low, 0, _MOST_OUTSIDE * size).astype(int)
    after = np.clip(low + size - np.array(shape[1::-1]), 0, _MOST_OUTSIDE * size).astype(int)
    if (size - before - after < _SMALLEST_PX).any():
        return small, np.zeros(2)
    end = size - after
    return small[before[1] : end[1], before[0] : end[0]], (before - after) / 2


def _window(picture: np.ndarray, x0: int, y0: int, width: int, height: int) -> np.ndarray | None:
    """Cut a window out of a picture, whose border is repeated outside; None where it lies outside altogether."""
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
