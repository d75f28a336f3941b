"""The maps that guide a generator of bundle format 2: region, lines, glasses and light.

Training and runtime use the same functions, so that the generator gets the same kind of inputs in both.

Convention
----------
Landmarks are (68, 2), pixels of the maps, with pixel centres at integers; `old` are those of the original face, `new`
those of the face to be drawn. Maps are float32 (s, s) in [0, 1]. Label maps contain values of `Part` and may have any
size.
"""

from __future__ import annotations

from enum import IntEnum

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int32, UInt8

from styleid.faces.geometry import with_forehead
from styleid.pixel.soft import blurred


class Part(IntEnum):
    """What a pixel of a crop shows. HAIR includes hats; BELOW is ears, neck, jewellery and clothes."""

    OTHER = 0
    FACE = 1
    GLASSES = 2
    HAIR = 3
    BELOW = 4


PART_OF_CLASS = np.zeros(19, np.uint8)
"""Part of each class of CelebAMask-HQ."""
PART_OF_CLASS[[1, 2, 4, 5, 6, 7, 10, 11, 12]] = Part.FACE
PART_OF_CLASS[3] = Part.GLASSES
PART_OF_CLASS[[13, 14]] = Part.HAIR
PART_OF_CLASS[[8, 9, 15, 16, 17, 18]] = Part.BELOW

CUT_FROM = 0.02
"""Value of the region above which the photo's pixels are cut out of the context."""
FILL = 0.02
"""Weight of the whole face's mean colour in each cell of the light, as a share of the cell's area."""
_SHIFT = 4
"""Fractional bits of OpenCV's fixed-point coordinates."""
_REFERENCE_PX = 128
"""Side at which the three following lengths are given."""
_SOFTNESS_PX = 0.8
"""Standard deviation of the blur of the region's edge."""
_OUTLINE_BLUR_PX = 1.2
"""Standard deviation of the blur of the outline."""
_SOFT_EDGE_PX = 2.0
"""Margin around frames that covers the soft edge of the region."""
_BROWS_AND_NOSE = ((17, 22), (22, 27), (27, 31), (31, 36))
_EYES_AND_LIPS = ((36, 42), (42, 48), (48, 60), (60, 68))
_LOWER_FACE = (*range(3, 14), 35, 33, 31)
_CHIN = (*range(5, 12), 54, 48)
"""Landmarks around the lower face, where hair is a beard, and around the chin, below which a beard may hang."""
_RIM, _FRAME, _TEMPLE, _BEARD_REACH, _SPECK, _LIP = 0.05, 0.04, 0.08, 0.08, 0.02, 0.02
"""Lengths in face widths: error of the parser's edges at the outline; extent of glasses' frames around their label, and
of their arms beyond the face's outline; extent of a beard below the chin; size up to which an object in front of the
face counts as noise; extent of the lips around their landmarks."""
_END_PIECE = 0.2
"""Extent of frames beyond the outer corner of an eye, in the direction of the line through the eyes, in face widths."""
_MOSTLY, _HALF = 0.7, 0.5
_ISLAND = 0.02
"""Share of the face's area up to which an object that is surrounded by the face is drawn over."""
_FADE = 0.1
"""Length over which a new face fades into a forehead that continues above its region, in face widths."""


def draw_lines(new: Float[np.ndarray, "68 2"], region: Float[np.ndarray, "s s"]) -> Float[np.ndarray, "2 s s"]:
    """Draw the landmarks as lines.

    Args:
        new: Landmarks of the new face, (68, 2).
        region: Where to draw the face, (s, s). The outline is blurred and cut off where the region ends.

    Returns:
        (2, s, s): outline, brows and nose in the first map, eyes and lips in the second.
    """
    size = region.shape[0]
    thickness = max(1, round(size / _REFERENCE_PX))
    outline, inner, features = (np.zeros((size, size), np.uint8) for _ in range(3))
    fixed = _fixed_point(new)
    cv2.polylines(outline, [fixed[:17]], False, 255, 2 * thickness, cv2.LINE_AA, _SHIFT)
    cv2.polylines(inner, [fixed[a:b] for a, b in _BROWS_AND_NOSE], False, 255, thickness, cv2.LINE_AA, _SHIFT)
    cv2.polylines(features, [fixed[a:b] for a, b in _EYES_AND_LIPS], True, 255, thickness, cv2.LINE_AA, _SHIFT)
    soft = blurred(outline.astype(np.float32), _OUTLINE_BLUR_PX * size / _REFERENCE_PX) * region
    return np.stack([np.maximum(soft, inner), features]).astype(np.float32) / 255


def face_region(
    labels: UInt8[np.ndarray, "h w"],
    old: Float[np.ndarray, "68 2"],
    new: Float[np.ndarray, "68 2"],
    size_px: int,
    cover: float | None = None,
) -> Float[np.ndarray, "s s"]:
    """Return where to draw the new face: the hulls of both faces, without objects in front of the original.

    The region includes glasses and beards. An object inside the original outline that the parser does not label as face
    (a hand, a microphone) is in front of the face; outside the outline, it is background that the new face may cover.

    Args:
        labels: Part shown by each pixel, (h, w).
        old: Landmarks of the original face, (68, 2).
        new: Landmarks of the new face, (68, 2).
        size_px: Side s of the result, pixels.
        cover: None to leave out objects in front of the face. Otherwise the region includes them and extends this far
            beyond the outlines, in face widths; for faces that the parser does not recognise.

    Returns:
        (s, s), 0 to 1.
    """
    parts = cv2.resize(labels, (size_px, size_px), interpolation=cv2.INTER_NEAREST)
    width = float(np.ptp(old[:, 0]))
    region = _bare_region(parts, old, new, width, cover) | _with_temples(parts == Part.GLASSES, old, width)
    return blurred(region.astype(np.float32), _SOFTNESS_PX * size_px / _REFERENCE_PX)


def frames_beside(
    labels: UInt8[np.ndarray, "h w"],
    old: Float[np.ndarray, "68 2"],
    new: Float[np.ndarray, "68 2"],
    size_px: int,
    cover: float | None = None,
) -> Bool[np.ndarray, "s s"]:
    """Return where frames of glasses lie beside the face: over hair, ears or the background.

    The region of `face_region` includes these pixels.

    Args:
        labels: Part shown by each pixel, (h, w).
        old: Landmarks of the original face, (68, 2).
        new: Landmarks of the new face, (68, 2).
        size_px: Side s of the result, pixels.
        cover: See `face_region`.

    Returns:
        bool (s, s).
    """
    parts = cv2.resize(labels, (size_px, size_px), interpolation=cv2.INTER_NEAREST)
    if not (parts == Part.GLASSES).any():
        return np.zeros(parts.shape, bool)
    width = float(np.ptp(old[:, 0]))
    frames = _grown(_with_temples(parts == Part.GLASSES, old, width), _SOFT_EDGE_PX * size_px / _REFERENCE_PX)
    return frames & ~_bare_region(parts, old, new, width, cover)


def _bare_region(
    parts: UInt8[np.ndarray, "s s"],
    old: Float[np.ndarray, "68 2"],
    new: Float[np.ndarray, "68 2"],
    width: float,
    cover: float | None,
) -> Bool[np.ndarray, "s s"]:
    """Return the region of a face without its glasses."""
    size_px = parts.shape[0]
    old_hull, new_hull = (filled(with_forehead(points), size_px) for points in (old, new))
    lower, chin = (filled(old[list(part)], size_px) for part in (_LOWER_FACE, _CHIN))
    below = _grown(chin, _BEARD_REACH * width)
    beard = (parts == Part.HAIR) & (lower | below) | (parts == Part.FACE) & below
    # the parser may label the inside of a wide open mouth as an object in front of the face
    mouth = _grown(filled(old[48:60], size_px), _LIP * width)
    other = _not_mostly_in((parts == Part.OTHER) & old_hull, mouth)
    deep = other & _shrunk(old_hull, _RIM * width)
    # an area that extends well inside the face is an object; one near the outline only is the parser's error
    before = other & _grown(deep, 2 * _RIM * width) if deep.any() else deep
    before |= (parts == Part.HAIR) & ~beard
    before = _without_islands(_without_specks(before, _SPECK * width), old_hull)
    hulls = old_hull | new_hull
    region = _grown(hulls, cover * width) if cover is not None else hulls & ~before
    return region | beard


def opacity(
    labels: UInt8[np.ndarray, "h w"], new: Float[np.ndarray, "68 2"], region: Float[np.ndarray, "s s"]
) -> Float[np.ndarray, "s s"]:
    """Return the opacity of the new face: its region, fading towards skin that continues above the region.

    A high forehead extends beyond the region, and an edge across it would be visible.

    Args:
        labels: Part shown by each pixel, (h, w).
        new: Landmarks of the new face, (68, 2).
        region: Where the face was drawn, (s, s).

    Returns:
        (s, s), 0 to 1.
    """
    parts = cv2.resize(labels, region.shape[::-1], interpolation=cv2.INTER_NEAREST)
    above = (parts == Part.FACE) & (region < _HALF)
    above[max(0, round(float(new[17:27, 1].min()))) :] = False
    width = float(np.ptp(new[:, 0]))
    above = _without_specks(above, _SPECK * width)
    if not above.any():
        return region
    away = cv2.distanceTransform((~above).astype(np.uint8), cv2.DIST_L2, 5)
    return region * np.clip(away / max(_FADE * width, 1.0), 0, 1)


def glasses_map(labels: UInt8[np.ndarray, "h w"], region: Float[np.ndarray, "s s"]) -> Float[np.ndarray, "s s"]:
    """Return where glasses are worn inside the region.

    Args:
        labels: Part shown by each pixel, (h, w).
        region: Where to draw the face, (s, s).

    Returns:
        (s, s), 0 to 1.
    """
    worn = (labels == Part.GLASSES).astype(np.float32)
    return cv2.resize(worn, region.shape[::-1], interpolation=cv2.INTER_LINEAR) * region


def fine_features(new: Float[np.ndarray, "68 2"], size_px: int) -> Float[np.ndarray, "s s"]:
    """Return the mask of the eyes and the inside of the mouth, (s, s); training gives these more weight."""
    mask = np.zeros((size_px, size_px), np.uint8)
    fixed = _fixed_point(new)
    for a, b in ((36, 42), (42, 48), (60, 68)):
        cv2.fillConvexPoly(mask, cv2.convexHull(fixed[a:b]), 255, cv2.LINE_AA, _SHIFT)
    return blurred(mask.astype(np.float32) / 255, size_px / _REFERENCE_PX)


def coarse_light(
    image: Float[np.ndarray, "s s 3"], shown: Float[np.ndarray, "s s"], cells: int
) -> Float[np.ndarray, "s s 3"]:
    """Return the coarse colours of a face: means over the cells of a grid, interpolated.

    Args:
        image: (s, s, 3), in any range.
        shown: Where the face is visible, (s, s), 0 to 1. A cell without face gets the mean of the whole face.
        cells: Number of cells per side.

    Returns:
        (s, s, 3), in the range of image.
    """
    size = image.shape[0]
    weighed = np.concatenate([image * shown[..., None], shown[..., None]], 2)
    whole = weighed.sum((0, 1))
    mean = whole[:3] / max(float(whole[3]), 1e-3)
    spans = [(i * size // cells, -(-(i + 1) * size // cells)) for i in range(cells)]
    pooled = np.array([[weighed[y0:y1, x0:x1].mean((0, 1)) for x0, x1 in spans] for y0, y1 in spans])
    light = (pooled[..., :3] + FILL * mean) / (pooled[..., 3:] + FILL)
    enlarged = cv2.resize(light.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(enlarged, np.float32)


def _fixed_point(points: Float[np.ndarray, "k 2"]) -> Int32[np.ndarray, "k 2"]:
    return (np.clip(points, -1e4, 1e4) * 2**_SHIFT).round().astype(np.int32)


def filled(points: Float[np.ndarray, "k 2"], size_px: int) -> Bool[np.ndarray, "s s"]:
    """Return the mask of the convex hull of points (k, 2), bool (size_px, size_px)."""
    mask = np.zeros((size_px, size_px), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(_fixed_point(points)), 1, shift=_SHIFT)
    return mask > 0


def _without_islands(mask: Bool[np.ndarray, "s s"], hull: Bool[np.ndarray, "s s"]) -> Bool[np.ndarray, "s s"]:
    """Return the mask without small pieces that the hull surrounds, such as a strand of hair or a mark on the skin."""
    count, pieces = _pieces(mask)
    size = np.bincount(pieces.ravel(), minlength=count)
    inner = np.bincount(pieces[_shrunk(hull, 1)], minlength=count)
    return np.asarray(((inner < size) | (size > _ISLAND * hull.sum()))[pieces] & mask)


def _with_temples(
    glasses: Bool[np.ndarray, "s s"], old: Float[np.ndarray, "68 2"], width: float
) -> Bool[np.ndarray, "s s"]:
    """Return where frames may be: around their label, and along the temples, where the parser misses the arms."""
    if not glasses.any():
        return glasses
    strips = np.zeros(glasses.shape, np.uint8)
    for corner, ear in ((36, 0), (45, 16)):
        towards, along = old[ear] - old[corner], old[corner] - old[81 - corner]
        temple = towards * (1 + _TEMPLE * width / max(float(np.linalg.norm(towards)), 1.0))
        end_piece = along * (_END_PIECE * width / max(float(np.linalg.norm(along)), 1.0))
        start, *ends = _fixed_point(old[corner] + np.stack([np.zeros(2), temple, end_piece])).tolist()
        for end in ends:
            cv2.line(strips, start, end, 1, max(1, round(2 * _FRAME * width)), shift=_SHIFT)
    return _grown(glasses, _FRAME * width) | (strips > 0)


def _not_mostly_in(mask: Bool[np.ndarray, "s s"], area: Bool[np.ndarray, "s s"]) -> Bool[np.ndarray, "s s"]:
    """Return the mask without the connected pieces of which more than 70 % lie in an area."""
    count, pieces = _pieces(mask)
    whole, within = (np.bincount(pieces[where], minlength=count) for where in (mask, mask & area))
    return np.asarray((within <= _MOSTLY * whole)[pieces] & mask)


def _pieces(mask: Bool[np.ndarray, "s s"]) -> tuple[int, Int32[np.ndarray, "s s"]]:
    """Return the number of labels, and the label of each pixel's connected piece; 0 is outside the mask."""
    count, pieces = cv2.connectedComponents(mask.astype(np.uint8))
    return count, np.asarray(pieces, np.int32)


def disc(radius_px: float) -> UInt8[np.ndarray, "d d"]:
    """Return a disc for morphological operations; its side is odd and at least 3 px."""
    side = 2 * max(1, round(radius_px)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _grown(mask: Bool[np.ndarray, "s s"], by_px: float) -> Bool[np.ndarray, "s s"]:
    return cv2.dilate(mask.astype(np.uint8), disc(by_px)) > 0


def _shrunk(mask: Bool[np.ndarray, "s s"], by_px: float) -> Bool[np.ndarray, "s s"]:
    return cv2.erode(mask.astype(np.uint8), disc(by_px)) > 0


def _without_specks(mask: Bool[np.ndarray, "s s"], radius_px: float) -> Bool[np.ndarray, "s s"]:
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc(radius_px)) > 0
