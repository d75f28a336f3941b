"""Inputs and outputs of generators that fill a face into its surroundings (bundle format 2).

`Surroundings.maps` makes the generator's inputs from the photo; `fill_in` composites its image into the photo. The
generator sees the region's surroundings, and `retouch` matches coarse colours, so compositing matches sharpness and
grain only.

Convention
----------
The bundle's crop has side s; a generator draws the same view at its own side g. Pixel centres are at integers. Colours
are RGB, in [-1, 1] for the generator's inputs and in [0, 255] for its images. Matrices are (2, 3), from photo to crop.
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
from styleid.pixel.masked import copy_where, to_bytes
from styleid.pixel.scale import at_photo_scale, scaled_matrix
from styleid.pixel.soft import blurred
from styleid.types import FloatArray, ImageRGB, MaskArray

_LEAST_PX = 48
"""Side below which new faces are not averaged down before compositing."""
_BORDER = 0.02
"""Width of the margin in which opacity fades to zero at the crop's border, as a share of the crop's side."""
_SOFTEST = 0.004
"""Standard deviation of the blur of the opacity's edge, as a share of the crop's side."""


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The photo around one face, from which a generator's inputs are made.

    crop: the original crop, uint8 (s, s, 3).
    parts: part shown by each pixel, uint8 (h, w) of any size, values of `guides.Part`.
    landmarks: landmarks of the original face, (68, 2), pixels of the crop.
    others: where faces of other people lie, which the generator must not see, bool (s, s).
    before: where faces that are nearer to the camera lie, over which nothing is drawn, bool (s, s).
    """

    crop: ImageRGB
    parts: UInt8[np.ndarray, "h w"]
    landmarks: Float[np.ndarray, "68 2"]
    others: Bool[np.ndarray, "s s"]
    before: Bool[np.ndarray, "s s"]

    def maps(
        self, new: Float[np.ndarray, "68 2"], side_px: int, light_cells: int, cover: float | None = None
    ) -> dict[str, FloatArray]:
        """Return the generator's maps. The map `context` contains no pixel of the region.

        Args:
            new: Landmarks of the new face, (68, 2), pixels of the crop.
            side_px: Side g of the maps, pixels.
            light_cells: Number of cells per side of the coarse light.
            cover: See `guides.face_region`.

        Returns:
            The maps `context`, `region`, `lines`, `glasses` and `light` by name, float32 (channels, g, g) each; see
            `styleid.bundles.generators.MAPS`. `glasses` is 0: new faces wear no glasses, because the generator often
            draws them incompletely.
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
    """A generated face with its opacity.

    image: (g, g, 3) in [0, 255], g the generator's side.
    region: opacity, (g, g), 0 to 1.
    """

    image: Float[np.ndarray, "g g 3"]
    region: Float[np.ndarray, "g g"]


def fill_in(
    photo_rgb: ImageRGB,
    face: FilledFace,
    matrix: Float[np.ndarray, "2 3"],
    size_px: int,
    as_sharp_as: ImageRGB | None = None,
) -> MaskArray:
    """Composite a generated face into the photo, in place.

    Args:
        photo_rgb: The photo, uint8 (height, width, 3); it is changed.
        face: The generated face.
        matrix: From the photo to the crop, (2, 3).
        size_px: Side of the crop, pixels.
        as_sharp_as: The photo whose sharpness and grain the face gets, (height, width, 3). None for photo_rgb; give the
            original if a neighbour's new face was written over this face.

    Returns:
        The mask of the pixels that may have changed, bool (height, width).
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
    copy_where(patch, to_bytes(mixed), drawn)
    changed[y0:y1, x0:x1] = drawn
    return changed


def resized_points(points: Float[np.ndarray, "k 2"], from_px: int, to_px: int) -> Float[np.ndarray, "k 2"]:
    """Convert points (k, 2) from pixels of a view of side from_px to pixels of the same view of side to_px."""
    return ((points + 0.5) * (to_px / from_px) - 0.5).astype(np.float32)


@lru_cache(maxsize=8)
def _inside(side_px: int) -> Float[np.ndarray, "g g"]:
    """Return a mask (g, g) that is 1 inside a crop and fades to 0 at its border."""
    ticks = np.minimum(np.arange(side_px), np.arange(side_px)[::-1]).astype(np.float32)
    edge = np.clip(ticks / max(_BORDER * side_px, 1), 0, 1)
    ramp = np.minimum.outer(edge, edge)
    ramp.flags.writeable = False
    return ramp
