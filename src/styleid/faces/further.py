"""Look for further places where a face may be, for the setting `thorough`.

The image is shown to CenterFace at its own size, in tiles, and to YuNet at half, at its own and at twice its size, and
turned to either side; dark images are shown with their contrast stretched, too.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from styleid.faces.parts import Look, look_at_part, suppress_overlaps, tile_spans
from styleid.faces.second_look import stretched
from styleid.types import Faces, ImageRGB

_TILE_PX = 960
_OVERLAP_PX = 160
_TILTED_SIDE_PX = 1024
_TILTS = (60.0, -60.0)
_DARK = 60
_SAME = 0.4
_MOST = 0.5
_MUCH_SMALLER = 0.08
_CENTERFACE_FROM = 0.05
_YUNET_FROM = {0.5: 0.3, 1.0: 0.12, 2.0: 0.4}
_YUNET_TILTED_FROM = 0.3
_RANKS = (1.0, 0.5, 0.25)
"""Whose box and landmarks stay where several see a face: CenterFace's, YuNet's, YuNet's in the turned image."""


def further_places(
    image_rgb: ImageRGB, found: Faces, centerface: Look, yunet: Look
) -> tuple[Faces, Float[np.ndarray, "n 2"]]:
    """Return all places where a face may be, and CenterFace's and YuNet's best score for each, 0 where it saw none.

    Args:
        image_rgb: uint8 (height, width, 3).
        found: what CenterFace has found already.
        centerface: shows a view to CenterFace.
        yunet: shows a view to YuNet.
    """
    by_centerface = [found, in_tiles(image_rgb, centerface, 1.0, _CENTERFACE_FROM)]
    if image_rgb.mean() < _DARK:
        by_centerface.append(in_tiles(stretched(image_rgb), centerface, 1.0, 2 * _CENTERFACE_FROM))
    by_yunet = [in_tiles(image_rgb, yunet, scale, lowest) for scale, lowest in _YUNET_FROM.items()]
    lying = [tilted(image_rgb, yunet, degrees) for degrees in _TILTS]
    return merged(*(Faces.concatenate(seen) for seen in (by_centerface, by_yunet, lying)))


def in_tiles(image_rgb: ImageRGB, look: Look, scale: float, threshold: float) -> Faces:
    """Show an image at a scale, in overlapping tiles where it is large, and return what is seen in all of them."""
    height, width = image_rgb.shape[:2]
    side, overlap = round(_TILE_PX / scale), round(_OVERLAP_PX / scale)
    boxes = [
        (x0, y0, x1, y1) for y0, y1 in tile_spans(height, side, overlap) for x0, x1 in tile_spans(width, side, overlap)
    ]
    seen = [look_at_part(image_rgb, look, box, scale, threshold) for box in boxes]
    return suppress_overlaps(Faces.concatenate(seen))


def tilted(image_rgb: ImageRGB, look: Look, degrees: float) -> Faces:
    """Show an image turned about its middle, at most 1024 px long, and return what is seen, in pixels of the image."""
    height, width = image_rgb.shape[:2]
    scale = min(1.0, _TILTED_SIDE_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA) if scale < 1 else image_rgb
    matrix = cv2.getRotationMatrix2D((0, 0), degrees, 1.0)
    corners = np.array([[0, 0], [size[0], 0], [0, size[1]], size]) @ matrix[:, :2].T
    matrix[:, 2] = -corners.min(0)
    turned = cv2.warpAffine(small, matrix, tuple(np.ceil(np.ptp(corners, axis=0)).astype(int).tolist()))
    seen = suppress_overlaps(look(np.ascontiguousarray(turned, np.uint8), _YUNET_TILTED_FROM))
    return _turned_back(seen, cv2.invertAffineTransform(matrix)).moved(1 / scale, (0.0, 0.0))


def _turned_back(faces: Faces, matrix: np.ndarray) -> Faces:
    """Move faces by a rotation; boxes keep their size and stay upright."""
    corners = faces.boxes_xyxy.reshape(-1, 2, 2)
    centres = corners.mean(1) @ matrix[:, :2].T + matrix[:, 2]
    halves = np.ptp(corners, axis=1).max(-1, keepdims=True, initial=0) / 2
    points = faces.landmarks_px @ matrix[:, :2].T + matrix[:, 2]
    return Faces(np.concatenate([centres - halves, centres + halves], axis=1), faces.scores, points)


def merged(by_centerface: Faces, by_yunet: Faces, lying: Faces) -> tuple[Faces, Float[np.ndarray, "n 2"]]:
    """Join finds of the same face, and return one of each with both detectors' best scores for it, (n, 2).

    lying: what YuNet saw in the turned image.
    """
    finds = (by_centerface, by_yunet, lying)
    everything, first = Faces.concatenate(finds), len(by_centerface)
    rank = np.concatenate([faces.scores * weight for faces, weight in zip(finds, _RANKS, strict=True)])
    overlap = _overlaps(everything.boxes_xyxy.astype(np.float64))
    kept: list[int] = []
    for i in np.argsort(-rank, kind="stable"):
        if not (overlap[i, kept] > _SAME).any():
            kept.append(int(i))
    scores = np.where(overlap[kept] > _SAME, everything.scores[None].astype(np.float64), 0.0)
    best = np.stack([scores[:, :first].max(1, initial=0), scores[:, first:].max(1, initial=0)], axis=1)
    return everything[np.array(kept, np.int64)], best


def apart(faces: Faces) -> Faces:
    """Leave out each face whose greater part lies inside a better one, or that holds the greater part of a better one.

    Args:
        faces: best first. Much smaller faces within larger ones stay: somebody may stand in front of a poster.
    """
    boxes = faces.boxes_xyxy.astype(np.float64)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    smaller, larger = np.minimum(areas[:, None], areas[None]), np.maximum(areas[:, None], areas[None])
    same = (_intersections(boxes) > _MOST * smaller) & (smaller > _MUCH_SMALLER * larger)
    kept: list[int] = []
    for i in range(len(faces)):
        if not same[i, kept].any():
            kept.append(i)
    return faces[np.array(kept, np.int64)]


def _overlaps(boxes_xyxy: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n n"]:
    both = _intersections(boxes_xyxy)
    areas = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(1)
    return both / np.maximum(areas[:, None] + areas[None] - both, 1e-9)


def _intersections(boxes_xyxy: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n n"]:
    low = np.maximum(boxes_xyxy[:, None, :2], boxes_xyxy[None, :, :2])
    high = np.minimum(boxes_xyxy[:, None, 2:], boxes_xyxy[None, :, 2:])
    return np.clip(high - low, 0, None).prod(-1)
