"""Search tiles of an image in two steps: a fast detector says where faces may be, the accurate one looks there.

The fast detector's threshold is so low that it missed no face that the accurate one found (docs/performance.md). Only
the accurate detector decides. Where its score in a part of a tile is close to the threshold, it looks at the whole
tile.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from styleid.faces.parts import Look, placed, shown, suppress_overlaps, tile_spans, view_size
from styleid.types import Faces, FloatArray, ImageRGB

_FAINT = 2.3
"""How far below the threshold the fast detector's is, in log-odds: .05 for .35."""
_CLOSE = 0.7
"""A score is close to the threshold if it differs by less than this, in log-odds: .21 to .52 for .35."""
_LEAST = 0.2
"""Threshold from which searching in two steps saves time. Below, there are doubtful places in most tiles."""
_FEWEST_TILES = 4
"""Number of tiles from which searching in two steps saves time."""
_BLOCK_PX, _BLOCK_OVERLAP_PX = 1536, 128
"""Longest side and overlap of the blocks that the fast detector sees, in pixels of the view."""
_AROUND_PX = 128
"""How much of its surroundings the accurate detector sees about a place, in pixels of the view."""
_AROUND_LARGE_PX = 64
"""The same about places that are larger than `_AROUND_PX`, of which the place itself shows enough."""
_GRID_PX = 32
"""Parts begin at multiples of this, so that the network computes at the same places as in the whole tile."""
_MOST_STEPS = 64
"""Most pixels of the image between two places at which its pixels and those of a view begin together."""
_MOST_SHARE = 0.6
"""Share of a tile from which it is looked at as a whole."""

Tile = tuple[tuple[int, int, int, int], float]
"""A box (x0, y0, x1, y1) in pixels of the image, and pixels of the view per pixel of the image."""
Box = tuple[int, int, int, int]


def worthwhile(tiles: list[Tile], threshold: float) -> bool:
    """Return whether searching in two steps saves time."""
    return len(tiles) >= _FEWEST_TILES and threshold >= _LEAST


def look_in_tiles(image_rgb: ImageRGB, tiles: list[Tile], look: Look, fast: Look, threshold: float) -> list[Faces]:
    """Find the faces in tiles of an image.

    Args:
        image_rgb: The image, uint8 (height, width, 3).
        tiles: The tiles, all of one scale.
        look: The accurate detector.
        fast: The fast detector.
        threshold: Least score of a detection, between 0 and 1.

    Returns:
        The detections in each tile in which there may be faces, in pixels of the image.
    """
    scale = tiles[0][1]
    places = suspected(image_rgb, fast, scale, _shifted(threshold, -_FAINT))
    height, width = image_rgb.shape[:2]
    centres = ((places[:, :2] + places[:, 2:]) / 2).clip(0, [width - 1, height - 1])
    found: list[Faces] = []
    for box, _ in tiles:
        inside = ((centres >= box[:2]) & (centres < box[2:])).all(1)
        if inside.any():
            near = (places[inside] - np.array([*box[:2], *box[:2]])) * scale
            faces = look_near(TileView(image_rgb, box, scale), near, look, threshold)
            found.append(placed(faces, box, scale, image_rgb.shape))
    return found


class TileView:
    """The view of a tile, of which parts can be scaled alone.

    image_rgb: The image, uint8 (height, width, 3).
    box: The tile, (x0, y0, x1, y1), pixels of the image.
    scale: Pixels of the view per pixel of the image.
    width, height: Size of the view, pixels.
    """

    def __init__(self, image_rgb: ImageRGB, box: Box, scale: float) -> None:
        """Scale nothing yet."""
        self.image_rgb, self.box, self.scale = image_rgb, box, scale
        self.width, self.height = view_size(box, scale)

    @cached_property
    def whole(self) -> ImageRGB:
        """The view."""
        return shown(self.image_rgb, self.box, self.scale)

    def part(self, part: Box) -> ImageRGB:
        """Return the pixels of a part, given in pixels of the view.

        If a few pixels of the view are whole pixels of the image (5 are 8, at the usual scale), only the part is
        scaled.
        """
        x0, y0, x1, y1 = self.box
        ratio = Fraction(self.scale).limit_denominator(_MOST_STEPS)
        seen, taken = ratio.numerator, ratio.denominator
        if abs(seen / taken - self.scale) > 1e-9 or (x1 - x0) % taken or (y1 - y0) % taken:
            return np.ascontiguousarray(self.whole[part[1] : part[3], part[0] : part[2]])
        low, high = [edge // seen for edge in part[:2]], [-(-edge // seen) for edge in part[2:]]
        left, top, right, bottom = (corner * taken for corner in (*low, *high))
        around = shown(self.image_rgb, (x0 + left, y0 + top, x0 + right, y0 + bottom), self.scale)
        left, top = (corner * seen for corner in low)
        return np.ascontiguousarray(around[part[1] - top : part[3] - top, part[0] - left : part[2] - left])


def suspected(image_rgb: ImageRGB, fast: Look, scale: float, threshold: float) -> Float[np.ndarray, "n 4"]:
    """Return where there may be faces.

    Args:
        image_rgb: The image, uint8 (height, width, 3).
        fast: The fast detector.
        scale: Pixels of its view per pixel of the image.
        threshold: Least score, between 0 and 1.

    Returns:
        Boxes (n, 4), pixels of the image; a face may have several.
    """
    height, width = image_rgb.shape[:2]
    found = [np.empty((0, 4))]
    for y0, y1 in _even_spans(height, scale):
        for x0, x1 in _even_spans(width, scale):
            size = view_size((x0, y0, x1, y1), scale)
            view = cv2.resize(image_rgb[y0:y1, x0:x1], size, interpolation=_quick_filter(scale))
            seen = fast(np.ascontiguousarray(view, np.uint8), threshold)
            found.append(seen.boxes_xyxy / scale + np.array([x0, y0, x0, y0]))
    return np.concatenate(found)


def look_near(view: TileView, places_xyxy: FloatArray, look: Look, threshold: float) -> Faces:
    """Run a detector on the surroundings of places in a view, or on the whole view if that decides more safely.

    Args:
        view: The view.
        places_xyxy: The places, (n, 4), pixels of the view.
        look: The detector.
        threshold: Least score, between 0 and 1.

    Returns:
        The detections, in pixels of the view.
    """
    size = view.width, view.height
    parts = _joined([_around(place, size) for place in places_xyxy.round().astype(int)])
    if sum(_area(part) for part in parts) > _MOST_SHARE * view.width * view.height:
        return look(view.whole, threshold)
    found: list[Faces] = []
    for part in parts:
        faces = look(view.part(part), _shifted(threshold, -_CLOSE)).moved(1.0, part[:2])
        faces = faces[_within(faces, part, size)]
        if (faces.scores < _shifted(threshold, _CLOSE)).any():
            return look(view.whole, threshold)
        found.append(faces)
    return suppress_overlaps(Faces.concatenate(found))


def _shifted(score: float, by: float) -> float:
    """Return a score whose log-odds are higher by a number."""
    odds = score / (1 - score) * float(np.exp(by))
    return odds / (1 + odds)


def _quick_filter(scale: float) -> int:
    """Return how to scale for the fast detector: from half the size on, linearly, which takes a fifth of the time."""
    return cv2.INTER_LINEAR if scale >= 0.5 else cv2.INTER_AREA


def _even_spans(length: int, scale: float) -> list[tuple[int, int]]:
    """Divide a length into the fewest blocks, which overlap only as much as needed."""
    side, overlap = round(_BLOCK_PX / scale), round(_BLOCK_OVERLAP_PX / scale)
    count = max(1, -(-(length - overlap) // (side - overlap)))
    return tile_spans(length, -(-(length + (count - 1) * overlap) // count), overlap)


def _around(place: Int[np.ndarray, "4"], size: tuple[int, int]) -> Box:
    """Return the box that is looked at about a place; it is not empty."""
    reach = _AROUND_PX if (place[2:] - place[:2]).max() <= _AROUND_PX else _AROUND_LARGE_PX
    x0, y0 = (max(0, low - reach) // _GRID_PX * _GRID_PX for low in place[:2].tolist())
    x1, y1 = (
        min(length, -(-(high + reach) // _GRID_PX) * _GRID_PX)
        for high, length in zip(place[2:].tolist(), size, strict=True)
    )
    return x0, y0, x1, y1


def _joined(parts: list[Box]) -> list[Box]:
    """Replace boxes that overlap by the box around both if that is no larger than they are together."""
    joined: list[Box] = []
    for part in parts:
        grown = part
        while (other := next((one for one in joined if _worth_joining(one, grown)), None)) is not None:
            joined.remove(other)
            grown = _both(other, grown)
        joined.append(grown)
    return joined


def _worth_joining(one: Box, other: Box) -> bool:
    return _area(_both(one, other)) <= _area(one) + _area(other)


def _both(one: Box, other: Box) -> Box:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _within(faces: Faces, part: Box, size: tuple[int, int]) -> Bool[np.ndarray, " n"]:
    """Return which faces have their centre far from the borders of a part that are not the view's borders."""
    centres = faces.boxes_xyxy.reshape(-1, 2, 2).mean(1)
    low = [-np.inf if edge == 0 else edge + _AROUND_PX / 2 for edge in part[:2]]
    high = [np.inf if edge == length else edge - _AROUND_PX / 2 for edge, length in zip(part[2:], size, strict=True)]
    return ((centres > low) & (centres < high)).all(1)
