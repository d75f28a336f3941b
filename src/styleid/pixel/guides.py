"""Draw what a generator that sees the surroundings is told: where to draw, and along which lines.

Training and runtime draw with the same functions, so that the generator is asked for what it learnt.

Convention
----------
Landmarks are (68, 2) pixels of the maps, pixel centres at integers; `old` are those of the photo's face, `new` those of
the face that will be drawn. Maps are float32 (s, s) in [0, 1]. Label maps hold `Part` values and may have any side.
"""

from __future__ import annotations

from enum import IntEnum

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int32, UInt8

from styleid.faces.geometry import with_forehead
from styleid.pixel.soft import blurred


class Part(IntEnum):
    """What a pixel of a crop shows, as far as it matters to where a face is drawn."""

    OTHER = 0
    FACE = 1
    GLASSES = 2
    HAIR = 3
    BELOW = 4


PART_OF_CLASS = np.zeros(19, np.uint8)
"""The part of each of CelebAMask-HQ's classes."""
PART_OF_CLASS[[1, 2, 4, 5, 6, 7, 10, 11, 12]] = Part.FACE
PART_OF_CLASS[3] = Part.GLASSES
PART_OF_CLASS[[13, 14]] = Part.HAIR
PART_OF_CLASS[[8, 9, 15, 16, 17, 18]] = Part.BELOW

CUT_FROM = 0.02
"""Region from which on the photo's pixels are cut out of the context."""
FILL = 0.02
"""Share of a cell of light that the whole face's mean counts for."""
_SHIFT = 4
_REFERENCE_PX = 128
_SOFTNESS_PX = 0.8
_OUTLINE_BLUR_PX = 1.2
_SOFT_EDGE_PX = 2.0
_BROWS_AND_NOSE = ((17, 22), (22, 27), (27, 31), (31, 36))
_EYES_AND_LIPS = ((36, 42), (42, 48), (48, 60), (60, 68))
_LOWER_FACE = (*range(3, 14), 35, 33, 31)
_CHIN = (*range(5, 12), 54, 48)
"""Landmarks round the lower face, where hair is a beard, and round the chin, below which a beard may hang."""
_RIM, _FRAME, _TEMPLE, _BEARD_REACH, _SPECK, _LIP = 0.05, 0.04, 0.08, 0.08, 0.02, 0.02
"""In face widths: how far inside the outline the parser's edges err; how far frames reach beyond their label; how far a
beard reaches beyond the outline; the size below which something before the face is no more than noise; how far lips
reach beyond their landmarks."""
_END_PIECE = 0.2
"""In face widths: how far frames reach beyond the outer corner of an eye, in the direction of the eyes."""
_MOSTLY, _HALF = 0.7, 0.5
_ISLAND = 0.02
"""Share of the face up to which a piece that lies on it all round is drawn over."""
_FADE = 0.1
"""In face widths: how far a face fades into a forehead that goes on above it."""


def draw_lines(new: Float[np.ndarray, "68 2"], region: Float[np.ndarray, "s s"]) -> Float[np.ndarray, "2 s s"]:
    """Return two maps of lines, (2, s, s): outline, brows and nose; eyes and lips.

    The outline is blurred and ends where the region ends, so that no line is drawn where no face will be.
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
    """Return where a face is drawn, (s, s): over the old face and the new, but not over what lies before the old one.

    Glasses and beards belong to it as far as they reach. What the parser takes for something else inside the old
    outline lies before the face (a hand, a microphone); outside it, it is background that the new face may cover.
    cover: where not None, the region takes in whatever lies before the face, and reaches this far beyond the outlines,
    in face widths: for faces that the parser does not make out.
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
    """Return where frames of glasses lie beside the face: over hair, ears or the background, (s, s).

    Arguments as in `face_region`, which holds these pixels too.
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
    """Return the region of a face without what its glasses add."""
    size_px = parts.shape[0]
    old_hull, new_hull = (filled(with_forehead(points), size_px) for points in (old, new))
    lower, chin = (filled(old[list(part)], size_px) for part in (_LOWER_FACE, _CHIN))
    below = _grown(chin, _BEARD_REACH * width)
    beard = (parts == Part.HAIR) & (lower | below) | (parts == Part.FACE) & below
    # the parser takes the inside of a mouth that is wide open for a thing before the face
    mouth = _grown(filled(old[48:60], size_px), _LIP * width)
    other = _not_mostly_in((parts == Part.OTHER) & old_hull, mouth)
    deep = other & _shrunk(old_hull, _RIM * width)
    # what reaches well inside is a thing, up to the outline; what does not is the outline's own uncertainty
    before = other & _grown(deep, 2 * _RIM * width) if deep.any() else deep
    before |= (parts == Part.HAIR) & ~beard
    before = _without_islands(_without_specks(before, _SPECK * width), old_hull)
    hulls = old_hull | new_hull
    region = _grown(hulls, cover * width) if cover is not None else hulls & ~before
    return region | beard


def opacity(
    labels: UInt8[np.ndarray, "h w"], new: Float[np.ndarray, "68 2"], region: Float[np.ndarray, "s s"]
) -> Float[np.ndarray, "s s"]:
    """Return how opaque the new face is, (s, s): as its region, but fading into skin that goes on above the region.

    A high forehead reaches beyond the region; an edge across it would be seen.
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
    """Return where glasses are worn inside the region, (s, s)."""
    worn = (labels == Part.GLASSES).astype(np.float32)
    return cv2.resize(worn, region.shape[::-1], interpolation=cv2.INTER_LINEAR) * region


def fine_features(new: Float[np.ndarray, "68 2"], size_px: int) -> Float[np.ndarray, "s s"]:
    """Return where eyes and the inside of the mouth are, (s, s): small, and looked at first."""
    mask = np.zeros((size_px, size_px), np.uint8)
    fixed = _fixed_point(new)
    for a, b in ((36, 42), (42, 48), (60, 68)):
        cv2.fillConvexPoly(mask, cv2.convexHull(fixed[a:b]), 255, cv2.LINE_AA, _SHIFT)
    return blurred(mask.astype(np.float32) / 255, size_px / _REFERENCE_PX)


def coarse_light(
    image: Float[np.ndarray, "s s 3"], shown: Float[np.ndarray, "s s"], cells: int
) -> Float[np.ndarray, "s s 3"]:
    """Return the colours of a face's light, (s, s, 3): its means on a grid over the crop, enlarged smoothly.

    image: (s, s, 3), any range. shown: (s, s) in [0, 1], where the face is seen. cells: of the grid, a side. A cell
    without a face takes the whole face's mean.
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
    """Return the mask, bool (size_px, size_px), of what points enclose."""
    mask = np.zeros((size_px, size_px), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(_fixed_point(points)), 1, shift=_SHIFT)
    return mask > 0


def _without_islands(mask: Bool[np.ndarray, "s s"], hull: Bool[np.ndarray, "s s"]) -> Bool[np.ndarray, "s s"]:
    """Return the mask without small pieces that lie in the hull all round: a strand of hair, a mark on the skin."""
    count, pieces = _pieces(mask)
    size = np.bincount(pieces.ravel(), minlength=count)
    inner = np.bincount(pieces[_shrunk(hull, 1)], minlength=count)
    return np.asarray(((inner < size) | (size > _ISLAND * hull.sum()))[pieces] & mask)


def _with_temples(
    glasses: Bool[np.ndarray, "s s"], old: Float[np.ndarray, "68 2"], width: float
) -> Bool[np.ndarray, "s s"]:
    """Return where frames may reach: about their label, and along the temples, which the parser misses."""
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
    """Return the mask without those connected pieces that lie mostly in an area."""
    count, pieces = _pieces(mask)
    whole, within = (np.bincount(pieces[where], minlength=count) for where in (mask, mask & area))
    return np.asarray((within <= _MOSTLY * whole)[pieces] & mask)


def _pieces(mask: Bool[np.ndarray, "s s"]) -> tuple[int, Int32[np.ndarray, "s s"]]:
    """Return how many labels there are, and for each pixel that of its connected piece; 0 is outside the mask."""
    count, pieces = cv2.connectedComponents(mask.astype(np.uint8))
    return count, np.asarray(pieces, np.int32)


def disc(radius_px: float) -> UInt8[np.ndarray, "d d"]:
    """Return a disc for morphology, of an odd side of at least 3."""
    side = 2 * max(1, round(radius_px)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _grown(mask: Bool[np.ndarray, "s s"], by_px: float) -> Bool[np.ndarray, "s s"]:
    return cv2.dilate(mask.astype(np.uint8), disc(by_px)) > 0


def _shrunk(mask: Bool[np.ndarray, "s s"], by_px: float) -> Bool[np.ndarray, "s s"]:
    return cv2.erode(mask.astype(np.uint8), disc(by_px)) > 0


def _without_specks(mask: Bool[np.ndarray, "s s"], radius_px: float) -> Bool[np.ndarray, "s s"]:
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc(radius_px)) > 0
