"""Composite a generated face by its label map: region masks, histogram matching, alpha compositing.

This is StyleID's method in pixel space (`facial_mask`, `area_mask` and `matched_swap` of the public code). Its radii
are given at 256 px and scale with the crop. At 256 px the result equals that of the public code byte for byte.

Convention
----------
Label maps are uint8 (s, s), classes of CelebAMask-HQ. Masks are uint8 (s, s), 0 or 255, soft masks in between. Images
are uint8 (s, s, 3), RGB.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageFilter

from styleid.faces.align import scale_of, shown_window
from styleid.pixel.masked import copy_where, to_bytes
from styleid.pixel.regions import FACE, SKIN, FaceHull
from styleid.pixel.scale import scaled_matrix
from styleid.types import ImageRGB, MaskArray, Region

Mask = UInt8[np.ndarray, "s s"]

_REFERENCE_PX = 256
"""Side at which radii are given."""
_EDGE, _WIDEN = 2.0, 5.0
"""Blur radii of a mask's edge, and for widening the inner region."""
_HALF, _WIDE = 125, 30
"""Levels above which a blurred mask is set, usually and for widening."""
_LEAST_PX = 64
"""Smallest side at which a face is composited."""


def region_mask(labels: UInt8[np.ndarray, "s s"], region: Region) -> Mask:
    """Return the mask of the region that is replaced.

    Args:
        labels: Label map, uint8 (s, s).
        region: full is skin and features; inner is the features without the skin, slightly widened.

    Returns:
        uint8 (s, s), 0 or 255.
    """
    classes = FACE if region == "full" else tuple(label for label in FACE if label != SKIN)
    mask = np.isin(labels, classes).astype(np.uint8) * 255
    mask = _above(_blurred(mask, _EDGE), _HALF)
    return mask if region == "full" else _above(_blurred(mask, _WIDEN), _WIDE)


def soft_mask(mask: Mask) -> Mask:
    """Return a mask with a soft edge, uint8 (s, s), 0 to 255."""
    return _blurred(mask, _EDGE)


def matched(generated: ImageRGB, original: ImageRGB, full: Mask) -> ImageRGB:
    """Match the generated image's histogram inside a mask to the original's, channel by channel.

    As in the public code, both images are black outside the mask, and these pixels count in the histograms.

    Args:
        generated: uint8 (s, s, 3).
        original: uint8 (s, s, 3).
        full: uint8 (s, s); non-zero is inside.

    Returns:
        uint8 (s, s, 3), unchanged outside the mask.
    """
    inside = full[..., None] > 0
    out = generated.copy()
    for channel in range(3):
        given, wanted = (np.where(inside, image, 0)[..., channel] for image in (generated, original))
        table = _matching_table(np.bincount(given.ravel(), minlength=256), np.bincount(wanted.ravel(), minlength=256))
        out[..., channel] = np.where(inside[..., 0], table[given], generated[..., channel])
    return out


def matched_composite(
    original: ImageRGB, generated: ImageRGB, labels: UInt8[np.ndarray, "s s"], region: Region
) -> ImageRGB:
    """Composite the generated face, with matched colours, into a region of the original.

    This is `matched_swap` of the public code, at any size.

    Args:
        original: uint8 (s, s, 3).
        generated: uint8 (s, s, 3).
        labels: Label map of the original, uint8 (s, s).
        region: full or inner; see `region_mask`.

    Returns:
        uint8 (s, s, 3).
    """
    full = region_mask(labels, "full")
    face = matched(generated, original, full)
    alpha = soft_mask(full if region == "full" else region_mask(labels, region))
    return np.asarray(Image.composite(Image.fromarray(face), Image.fromarray(original), Image.fromarray(alpha)))


def _matching_table(given: Int[np.ndarray, " 256"], wanted: Int[np.ndarray, " 256"]) -> UInt8[np.ndarray, " 256"]:
    """Return the lookup table that gives one histogram the shape of the other."""
    values = np.nonzero(wanted)[0]
    quantiles = np.cumsum(wanted[values]) / wanted.sum()
    return np.interp(np.cumsum(given) / given.sum(), quantiles, values).astype(np.uint8)


def _blurred(mask: Mask, radius_at_256: float) -> Mask:
    radius = radius_at_256 * mask.shape[0] / _REFERENCE_PX
    return np.asarray(Image.fromarray(mask).filter(ImageFilter.GaussianBlur(radius)))


def _above(mask: Mask, level: int) -> Mask:
    return (mask > level).astype(np.uint8) * 255


@dataclass(frozen=True)
class MatchedFace:
    """The original crop, of side s, and the settings with which a new face is composited by labels.

    original: the crop, uint8 (s, s, 3).
    labels: its label map, uint8 (s, s).
    region: region that is replaced, full or inner.
    side_px: side at which to composite, pixels (256 in the public code); 0 for the photo's resolution.
    outlined: whether the new face also ends at its landmarks' outline, for generators that draw nothing outside it;
        only with side_px 0.
    """

    original: ImageRGB
    labels: UInt8[np.ndarray, "s s"]
    region: Region
    side_px: int = 0
    outlined: bool = False

    def put(
        self,
        image_rgb: ImageRGB,
        generated: Float[np.ndarray, "s s 3"],
        matrix: Float[np.ndarray, "2 3"],
        landmarks: Float[np.ndarray, "68 2"],
    ) -> MaskArray:
        """Composite a generated face into the photo, in place.

        Args:
            image_rgb: The photo, uint8 (height, width, 3); it is changed.
            generated: The generated face, float32 (s, s, 3) in [0, 255].
            matrix: From the photo to the crop, (2, 3).
            landmarks: Landmarks of the generated face, (68, 2), pixels of the crop.

        Returns:
            The mask of the pixels that may have changed, bool (height, width).
        """
        size, drawn = len(self.original), generated.round().clip(0, 255).astype(np.uint8)
        changed = np.zeros(image_rgb.shape[:2], bool)
        window = shown_window(matrix, size, image_rgb.shape)
        if window is None:
            return changed
        side = self.side_px or min(size, max(_LEAST_PX, round(size / scale_of(matrix))))
        new, alpha = self._drawn(drawn, side)
        if self.outlined and not self.side_px:
            alpha = alpha * FaceHull((landmarks + 0.5) * (side / size) - 0.5, side).soft()
        places = scaled_matrix(matrix, side / size)
        opacity = _warped(alpha, places, window, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)[..., None]
        colours = _warped(new.astype(np.float32), places, window, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
        x0, y0, x1, y1 = window
        patch, moved = image_rgb[y0:y1, x0:x1], opacity[..., 0] > 1e-3
        blended = patch + (colours - patch) * opacity
        copy_where(patch, to_bytes(blended), moved)
        changed[y0:y1, x0:x1] = moved
        return changed

    def _drawn(self, drawn: ImageRGB, side: int) -> tuple[ImageRGB, Float[np.ndarray, "t t"]]:
        """Return the new face's colours, (side, side, 3), and opacity, (side, side), 0 to 1."""
        labels = np.asarray(Image.fromarray(self.labels).resize((side, side), Image.Resampling.NEAREST))
        original, drawn = (_at(image, side) for image in (self.original, drawn))
        full = region_mask(labels, "full")
        alpha = soft_mask(full if self.region == "full" else region_mask(labels, self.region))
        if self.side_px:
            return matched_composite(original, drawn, labels, self.region), (alpha > 0).astype(np.float32)
        return matched(drawn, original, full), alpha / np.float32(255)


def _at(image: ImageRGB, side: int) -> ImageRGB:
    return image if len(image) == side else np.asarray(Image.fromarray(image).resize((side, side)))


def _warped(
    values: Float[np.ndarray, "s s *c"],
    matrix: Float[np.ndarray, "2 3"],
    window: tuple[int, int, int, int],
    how: int,
    border: int,
) -> Float[np.ndarray, "h w *c"]:
    """Resample a crop over a window of the photo; matrix is from the photo to the crop."""
    x0, y0, x1, y1 = window
    local = np.column_stack([matrix[:, :2], matrix[:, :2] @ np.array([x0, y0]) + matrix[:, 2]])
    flags = how | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(values, local, (x1 - x0, y1 - y0), flags=flags, borderMode=border), np.float32)
