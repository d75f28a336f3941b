"""Fill a face's region from its surroundings: what the generator is told, and how its image goes into the photo.

The generator saw the region's rim, and `retouch` has matched coarse colours, so the composite matches sharpness and
grain only.

Convention
----------
`crop` coordinates are pixels of the bundle's crop, side s; a generator draws the same view at its own side g, pixel
centres at integers. Colours given to the generator are RGB in [-1, 1], those that it draws are in [0, 255]. Matrices
are (2, 3), photo to crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from styleid.faces.align import scale_of, shown_window
from styleid.pixel import guides
from styleid.pixel.composite import crop_places, match_sharpness, sampled
from styleid.pixel.scale import at_photo_scale, scaled_matrix
from styleid.pixel.soft import blurred
from styleid.types import FloatArray, ImageRGB, MaskArray

_LEAST_PX = 48
"""New faces are not averaged down below this side before they go into the photo."""
_BORDER = 0.02
"""How far inside the crop's border a region ends, as a share of the crop's side."""
_SOFTEST = 0.004
"""Deviation of the blur of a region's edge in the photo, as a share of the crop's side."""


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What a generator that fills faces in may know of one face's photo.

    crop: uint8 (s, s, 3). parts: uint8 (h, w), values of `guides.Part`, at any side. landmarks: (68, 2) crop pixels of
    the face that is there. others: bool (s, s), where faces of other people lie that must not be seen. before: bool
    (s, s), where faces lie that are nearer to the camera, over which nothing is drawn.
    """

    crop: ImageRGB
    parts: UInt8[np.ndarray, "h w"]
    landmarks: Float[np.ndarray, "68 2"]
    others: Bool[np.ndarray, "s s"]
    before: Bool[np.ndarray, "s s"]

    def maps(
        self, new: Float[np.ndarray, "68 2"], side_px: int, light_cells: int, cover: float | None = None
    ) -> dict[str, FloatArray]:
        """Return the generator's inputs but for W+, each float32 (c, g, g) with g = side_px.

        new: where the new face's landmarks will lie, (68, 2) crop pixels. light_cells: of the coarse light, a side.
        cover: as `guides.face_region` takes it.
        The keys are `context`, `region`, `lines`, `glasses` and `light`. No pixel of the region is in `context`.
        `glasses` is 0: new faces wear none, since drawn glasses are seldom whole.
        """
        size = self.crop.shape[0]
        view = cv2.resize(self.crop, (side_px, side_px), interpolation=cv2.INTER_AREA)
        image = view.astype(np.float32) / 127.5 - 1
        old, asked = (resized_points(points, size, side_px) for points in (self.landmarks, new))
        region = guides.face_region(self.parts, old, asked, side_px, cover)
        others, before = (
            cv2.resize(mask.astype(np.uint8), (side_px, side_px), interpolation=cv2.INTER_NEAREST) > 0
            for mask in (self.others, self.before)
        )
        region = region * ~before
        known = (region <= guides.CUT_FROM) & ~others
        face = (self.parts == guides.Part.FACE).astype(np.uint8)
        shown = cv2.resize(face, (side_px, side_px), interpolation=cv2.INTER_NEAREST) * region
        light = guides.coarse_light(image, shown, light_cells) * region[..., None]
        return {
            "context": (image * known[..., None]).transpose(2, 0, 1),
            "region": region[None],
            "lines": guides.draw_lines(asked, region),
            "glasses": np.zeros_like(region)[None],
            "light": light.transpose(2, 0, 1),
        }


@dataclass(frozen=True, eq=False)
class FilledFace:
    """A new face and how opaque it is, (g, g, 3) in [0, 255] and (g, g) in [0, 1], at the generator's side g."""

    image: Float[np.ndarray, "g g 3"]
    region: Float[np.ndarray, "g g"]


def fill_in(
    photo_rgb: ImageRGB,
    face: FilledFace,
    matrix: Float[np.ndarray, "2 3"],
    size_px: int,
    as_sharp_as: ImageRGB | None = None,
) -> MaskArray:
    """Put a new face into the photo, in place, and return the mask of what may have changed, bool (height, width).

    matrix: from the photo to the crop of side size_px. as_sharp_as: the photo as it was, where a neighbour's new face
    has come over the face since.
    """
    side = face.region.shape[0]
    face, matrix = at_photo_scale(face, side, scaled_matrix(matrix, side / size_px), _LEAST_PX)
    side = face.region.shape[0]
    changed = np.zeros(photo_rgb.shape[:2], bool)
    window = shown_window(matrix, side, photo_rgb.shape)
    if window is None:
        return changed
    x0, y0, x1, y1 = window
    patch = photo_rgb[y0:y1, x0:x1]
    place = crop_places(window, matrix)
    opacity = sampled(blurred(face.region, max(_SOFTEST * side, 0.3)) * _inside(side), place, cv2.INTER_LINEAR)
    new = sampled(face.image, place, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
    sharp = patch if as_sharp_as is None else as_sharp_as[y0:y1, x0:x1]
    new = match_sharpness(new, sharp.astype(np.float32), opacity, scale_of(matrix))
    mixed = patch + (new - patch) * opacity[..., None]
    drawn = opacity > 1e-3
    patch[drawn] = mixed.round().clip(0, 255).astype(np.uint8)[drawn]
    changed[y0:y1, x0:x1] = drawn
    return changed


def resized_points(points: Float[np.ndarray, "k 2"], from_px: int, to_px: int) -> Float[np.ndarray, "k 2"]:
    """Return points of a view of from_px as those of the same view at to_px, pixel centres at integers."""
    return ((points + 0.5) * (to_px / from_px) - 0.5).astype(np.float32)


@lru_cache(maxsize=8)
def _inside(side_px: int) -> Float[np.ndarray, "g g"]:
    """Return 1 inside a crop and less and less towards its border, (g, g)."""
    ticks = np.minimum(np.arange(side_px), np.arange(side_px)[::-1]).astype(np.float32)
    edge = np.clip(ticks / max(_BORDER * side_px, 1), 0, 1)
    ramp = np.minimum.outer(edge, edge)
    ramp.flags.writeable = False
    return ramp
