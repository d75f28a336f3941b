"""The additional searches of the setting `thorough`.

CenterFace searches the image in tiles at full size, and dark images also with stretched contrast. YuNet searches at
half, full and double size, and in the image rotated by 60 degrees to either side.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from styleid.faces.parts import Look, look_at_part, suppress_overlaps, tile_spans
from styleid.faces.second_look import stretched
from styleid.types import Faces, ImageRGB

_TILE_PX = 960
"""Side of a tile's view."""
_OVERLAP_PX = 160
"""Overlap of neighbouring tiles, pixels of the view."""
_TILTED_SIDE_PX = 1024
"""Largest longer side of an image before it is rotated."""
_TILTS = (60.0, -60.0)
"""Rotations, degrees."""
_DARK = 60
"""Mean value, of 255, below which an image counts as dark."""
_SAME = 0.4
"""Intersection over union above which two detections are of the same face."""
_MOST = 0.5
"""Share of the smaller box inside the larger one above which two detections are of the same face; see `apart`."""
_MUCH_SMALLER = 0.08
"""Ratio of areas up to which a face inside a larger one is kept all the same."""
_CENTERFACE_FROM = 0.05
"""Least score of CenterFace."""
_YUNET_FROM = {0.5: 0.3, 1.0: 0.12, 2.0: 0.4}
"""Least score of YuNet, by scale."""
_YUNET_TILTED_FROM = 0.3
"""Least score of YuNet in rotated images."""
_RANKS = (1.0, 0.5, 0.25)
"""Weights of the scores of CenterFace, YuNet, and YuNet in rotated images. Of several detections of a face, the one
with the highest weighted score gives box and landmarks."""


def further_places(
    image_rgb: ImageRGB, found: Faces, centerface: Look, yunet: Look
) -> tuple[Faces, Float[np.ndarray, "n 2"]]:
    """Search an image again with both detectors.

    Args:
        image_rgb: The image, uint8 (height, width, 3).
        found: Detections of CenterFace so far.
        centerface: Runs CenterFace on a view.
        yunet: Runs YuNet on a view.

    Returns:
        All n possible faces, and the best scores of CenterFace and of YuNet for each, (n, 2), 0 to 1; 0 if a detector
        did not find it.
    """
    by_centerface = [found, in_tiles(image_rgb, centerface, 1.0, _CENTERFACE_FROM)]
    if image_rgb.mean() < _DARK:
        by_centerface.append(in_tiles(stretched(image_rgb), centerface, 1.0, 2 * _CENTERFACE_FROM))
    by_yunet = [in_tiles(image_rgb, yunet, scale, lowest) for scale, lowest in _YUNET_FROM.items()]
    lying = [tilted(image_rgb, yunet, degrees) for degrees in _TILTS]
    return merged(*(Faces.concatenate(seen) for seen in (by_centerface, by_yunet, lying)))


def in_tiles(image_rgb: ImageRGB, look: Look, scale: float, threshold: float) -> Faces:
    """Run a detector on a scaled image, in overlapping tiles if it is large.

    Args:
        image_rgb: The image, uint8 (height, width, 3).
        look: The detector.
        scale: Pixels of the views per pixel of the image.
        threshold: Least score, between 0 and 1.

    Returns:
        The detections, in pixels of the image, in descending order of their scores.
    """
    height, width = image_rgb.shape[:2]
    side, overlap = round(_TILE_PX / scale), round(_OVERLAP_PX / scale)
    boxes = [
        (x0, y0, x1, y1) for y0, y1 in tile_spans(height, side, overlap) for x0, x1 in tile_spans(width, side, overlap)
    ]
    seen = [look_at_part(image_rgb, look, box, scale, threshold) for box in boxes]
    return suppress_overlaps(Faces.concatenate(seen))


def tilted(image_rgb: ImageRGB, look: Look, degrees: float) -> Faces:
    """Run a detector on a rotated image, which is scaled down to at most 1024 px first.

    Args:
        image_rgb: The image, uint8 (height, width, 3).
        look: The detector.
        degrees: The rotation, as in `cv2.getRotationMatrix2D`.

    Returns:
        The detections, in pixels of the image, in descending order of their scores. Their boxes are upright squares.
    """
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
    """Move faces by a rotation. Boxes become upright squares of their longer side."""
    corners = faces.boxes_xyxy.reshape(-1, 2, 2)
    centres = corners.mean(1) @ matrix[:, :2].T + matrix[:, 2]
    halves = np.ptp(corners, axis=1).max(-1, keepdims=True, initial=0) / 2
    points = faces.landmarks_px @ matrix[:, :2].T + matrix[:, 2]
    return Faces(np.concatenate([centres - halves, centres + halves], axis=1), faces.scores, points)


def merged(by_centerface: Faces, by_yunet: Faces, lying: Faces) -> tuple[Faces, Float[np.ndarray, "n 2"]]:
    """Merge detections of the same face.

    Args:
        by_centerface: Detections of CenterFace.
        by_yunet: Detections of YuNet.
        lying: Detections of YuNet in rotated images.

    Returns:
        One detection per face, and the best scores of CenterFace and of YuNet for each, (n, 2), 0 to 1.
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
    """Remove faces that share more than half of the smaller box with a better face.

    A face that is much smaller than the other stays: a person may stand in front of a poster with a face.

    Args:
        faces: The faces, in descending order of their scores.

    Returns:
        The faces that are kept, in the same order.
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
