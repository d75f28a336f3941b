"""Composite a generated face into its photo at the photo's resolution, for bundles of format 1.

The surroundings are warped to the new outline, colours are matched along the face's rim, and sharpness and grain are
matched to the photo. Hair, glasses and hands in front of the face stay in front of it.

Convention
----------
Crop coordinates are pixels of the bundle's crop, image coordinates pixels of the upright photo. Matrices are (2, 3),
from image to crop. Colours are RGB, float32 in [0, 255].
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from styleid.faces.align import invert, scale_of, shown_window
from styleid.faces.geometry import JAW, with_forehead
from styleid.pixel.glasses import FaceMaps, are_dark, draw_glasses_of_original
from styleid.pixel.masked import bounds, copy_where, to_bytes
from styleid.pixel.regions import FaceHull, forehead_fade
from styleid.pixel.scale import at_photo_scale
from styleid.pixel.soft import blurred, ramp
from styleid.pixel.warp import outline_displacement
from styleid.types import LUMA, ImageRGB, MaskArray

_MAX_SHIFT = 0.12
"""Largest displacement of the surroundings, in face widths."""
_RIM = (0.1, 0.03)
"""Width of the face's rim, and softness of its inner edge, in face widths."""
_REACH = 0.02
"""How far a new face extends beyond its outline, in face widths, so that no original edge stays there."""
_COVERS_FURTHER = 0.25
"""How much higher on the forehead a face that covers everything fades, in units of `forehead_height`."""
_OTHER_SKIN = (0.5, 0.8)
"""Differences of log colour between original and new skin at which fading starts to decrease, and at which it stops."""
_SURELY_BARE = (0.95, 0.99)
"""Probabilities of bare face from which a pixel of the rim counts for the light: not at all, and fully. Hair that is
mistaken for face would tint the skin."""
_UNUSUAL = 0.4
"""Scale at which a gain that differs from the median loses weight."""
_PLANE_SHRINK = 4
"""Factor by which the rim is scaled down before the light is fitted."""
_FEWEST_RIM = 2.0
"""Least total weight of the rim for a fit."""
_LEAST_RIM = 1e-4
"""Weight above which a pixel belongs to the rim."""
_FLATTER = 0.02
"""Penalty on the slope of the light, which keeps it flat if the rim is visible on one side only."""
_MOST_GAIN = 0.5
"""Largest gain of a pixel, in logarithms."""
_DARKEST = 16.0
"""Added to colours before logarithms are taken, so that nearly black pixels have little influence."""
_COLOURLESS = (0.2, 0.7)
"""Saturations, relative to the skin's, at which the colour of the light starts to apply, and from which it applies
fully."""
_GREY = 0.1
"""Least saturation that is assumed for skin."""
_CORE = 0.8
"""Opacity above which sharpness and grain are measured."""
_SHARPNESS_REACH_PX, _BESIDE_PX = 18, 4
"""How far the blurs reach whose sharpness is measured, and how many pixels beside the new face are computed, too."""


@dataclass(frozen=True)
class NewFace:
    """A generated face and the crop that it replaces, of side s.

    generated: the new face, float32 (s, s, 3) in [0, 255].
    source: the original crop, float32 (s, s, 3) in [0, 255].
    generated_landmarks: landmarks of the new face, (68, 2).
    source_landmarks: landmarks of the original, (68, 2).
    bare: probability that the original shows bare face, (s, s), 0 to 1.
    glasses: probability that the original shows glasses, (s, s), 0 to 1.
    cover: None if objects in front of the face stay. Otherwise the new face covers them and extends this far beyond its
        outline, in face widths.
    """

    generated: Float[np.ndarray, "s s 3"]
    source: Float[np.ndarray, "s s 3"]
    generated_landmarks: Float[np.ndarray, "68 2"]
    source_landmarks: Float[np.ndarray, "68 2"]
    bare: Float[np.ndarray, "s s"]
    glasses: Float[np.ndarray, "s s"]
    cover: float | None = None


def composite(
    image_rgb: ImageRGB, face: NewFace, matrix: Float[np.ndarray, "2 3"], as_sharp_as: ImageRGB | None = None
) -> MaskArray:
    """Composite a new face into the photo, in place.

    Args:
        image_rgb: The photo, uint8 (height, width, 3); it is changed.
        face: The new face.
        matrix: From the photo to the crop, (2, 3).
        as_sharp_as: The photo whose sharpness and grain the face gets. None for image_rgb; give the original if a
            neighbour was replaced or obscured over this face.

    Returns:
        The mask of the pixels that may have changed, bool (height, width).
    """
    face, matrix = at_photo_scale(face, face.source.shape[0], matrix)
    size = face.source.shape[0]
    displacement = _displacement(face, size)
    alpha, generated = _prepare(face, displacement, size)
    window = shown_window(matrix, size, image_rgb.shape)
    changed = np.zeros(image_rgb.shape[:2], bool)
    if window is None:
        return changed
    x0, y0, x1, y1 = window
    patch = image_rgb[y0:y1, x0:x1]
    place = crop_places(window, matrix)
    field = sampled(displacement, place, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
    coverage = sampled(alpha, place, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
    moved = (np.abs(field[..., 0]) > 1e-3) | (np.abs(field[..., 1]) > 1e-3) | (coverage > 1e-3)
    blended = _move(image_rgb, window, field, matrix)
    if (part := bounds(coverage > 0, _BESIDE_PX)) is not None:
        new = sampled(generated, place[part], cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
        sharp = patch if as_sharp_as is None else as_sharp_as[y0:y1, x0:x1]
        new = match_sharpness(new, sharp[part].astype(np.float32), coverage[part], scale_of(matrix))
        new -= blended[part]
        new *= coverage[part][..., None]
        blended[part] += new
    copy_where(patch, to_bytes(blended), moved)
    changed[y0:y1, x0:x1] = moved
    return changed


def _displacement(face: NewFace, size: int) -> Float[np.ndarray, "s s 2"]:
    source, generated = (with_forehead(p) for p in (face.source_landmarks, face.generated_landmarks))
    outline = [*range(JAW.stop), *range(68, 78)]
    unit = float(np.ptp(source[:, 0]))
    return outline_displacement(source[outline], generated[outline], size, _MAX_SHIFT * unit)


def _prepare(
    face: NewFace, displacement: Float[np.ndarray, "s s 2"], size: int
) -> tuple[Float[np.ndarray, "s s"], Float[np.ndarray, "s s 3"]]:
    """Return the new face's opacity, (s, s), and its colours, (s, s, 3), before sharpness is matched."""
    outline = FaceHull(face.generated_landmarks, size)
    hull = outline.soft()
    place = _places(displacement)
    source, bare, glasses = (_take(m, place) for m in (face.source, face.bare, face.glasses))
    dark = are_dark(source, FaceMaps(bare, glasses))  # dark glasses stay as they are: no face is visible behind them
    reach = outline.soft(-(_REACH if face.cover is None else face.cover))
    alpha = (
        reach if face.cover is not None else reach * ramp(_beyond(bare if dark else bare + glasses, hull), 0.35, 0.75)
    )
    alpha = blurred(alpha, 0.006 * size)
    skin = hull * ramp(bare, *_SURELY_BARE)
    rim = skin * (1 - outline.soft(*_RIM))
    light = _on_skin(_light(source, face.generated, rim), face.generated, rim)
    generated = (face.generated + _DARKEST) * np.exp(light) - _DARKEST
    alpha *= _fade(face, source, generated, skin)
    if face.cover is None and not dark and glasses.max() > 0.5:
        worn = FaceMaps(face.bare, face.glasses)
        generated = draw_glasses_of_original(
            generated, face.generated_landmarks, face.source, face.source_landmarks, worn
        )
    return alpha, generated


def _fade(
    face: NewFace,
    source: Float[np.ndarray, "s s 3"],
    generated: Float[np.ndarray, "s s 3"],
    skin: Float[np.ndarray, "s s"],
) -> Float[np.ndarray, "s s"]:
    """Return the opacity with which the new face fades into the original forehead, (s, s), 0 to 1.

    The skin there says little about a person, and a visible line across the forehead would disturb. If the colours
    differ, the face does not fade, so that the gate sees a failed image as a whole.

    Args:
        face: The new face.
        source: The warped original, (s, s, 3).
        generated: The new face's colours, (s, s, 3).
        skin: Where the original certainly shows skin, (s, s), 0 to 1.
    """
    size = len(skin)
    later = 0.0 if face.cover is None else _COVERS_FURTHER
    gone = forehead_fade(face.generated_landmarks, face.source_landmarks, size, later)
    weight = gone * skin
    total = float(weight.sum())
    if total < _FEWEST_RIM:
        return np.ones_like(skin)
    on = weight > 0
    apart = np.abs(np.log((source[on] + _DARKEST) / (generated[on].clip(0) + _DARKEST))).max(-1)
    agrees = 1 - ramp(apart @ weight[on] / total, *_OTHER_SKIN)
    return 1 - gone * agrees


def _beyond(shows: Float[np.ndarray, "s s"], hull: Float[np.ndarray, "s s"]) -> Float[np.ndarray, "s s"]:
    """Extend the visibility of the face, (s, s), beyond its outline with the values along the outline."""
    sigma = 0.03 * len(hull)
    near = blurred(shows * hull, sigma) / (blurred(hull, sigma) + 1e-6)
    return shows * hull + near * (1 - hull)


def _light(
    source: Float[np.ndarray, "s s 3"], generated: Float[np.ndarray, "s s 3"], rim: Float[np.ndarray, "s s"]
) -> Float[np.ndarray, "s s 3"]:
    """Return the log gains, (s, s, 3), that match the new face's skin along the rim to the original's.

    They are a plane per colour, which describes the light and its direction. A closer match along the rim, such as
    Poisson cloning, hides seams no better here and lets more of the original's identity through.
    """
    size, small = len(rim), max(len(rim) // _PLANE_SHRINK, 8)
    on = rim > _LEAST_RIM
    gain = np.log((source[on] + _DARKEST) / (generated[on] + _DARKEST))
    weight, sums = np.zeros_like(rim), np.zeros_like(source)
    weight[on] = rim[on] * _usual(gain, rim[on])
    sums[on] = np.clip(gain, -_MOST_GAIN, _MOST_GAIN) * weight[on][:, None]
    weight, sums = (cv2.resize(m, (small, small), interpolation=cv2.INTER_AREA) for m in (weight, sums))
    total = float(weight.sum())
    if total < _FEWEST_RIM:
        return np.zeros_like(source)
    y, x = np.mgrid[0:small, 0:small].astype(np.float32) / (small - 1) - 0.5
    terms = np.stack([np.ones_like(x), x, y], -1).reshape(-1, 3)
    normal = terms.T @ (terms * weight.reshape(-1, 1)) + np.diag([0, 1, 1]).astype(np.float32) * (_FLATTER * total)
    level = terms @ np.linalg.solve(normal, terms.T @ sums.reshape(-1, 3))
    return np.asarray(cv2.resize(level.reshape(small, small, 3), (size, size)), np.float32)


def _on_skin(
    light: Float[np.ndarray, "s s 3"], generated: Float[np.ndarray, "s s 3"], rim: Float[np.ndarray, "s s"]
) -> Float[np.ndarray, "s s 3"]:
    """Limit the colour of the light's gains, (s, s, 3), to saturated pixels such as skin, so that teeth stay white."""
    red, green, blue = cv2.split(generated)
    most = np.maximum(np.maximum(red, green), blue)
    saturation = (most - np.minimum(np.minimum(red, green), blue)) / (most + _DARKEST)
    on = rim > _LEAST_RIM
    skin = max(float(np.median(saturation[on])) if on.any() else 0.0, _GREY)
    share, colours = ramp(saturation / skin, *_COLOURLESS), cv2.split(light)
    level = (colours[0] + colours[1] + colours[2]) / 3
    return np.asarray(cv2.merge([level + (colour - level) * share for colour in colours]), np.float32)


def _usual(gain: Float[np.ndarray, "n 3"], rim: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return the weight of each gain (n, 3) of the rim, (n,): small for outliers, as on a beard."""
    sure = gain[rim > 0.5]
    if len(sure) == 0:
        return np.ones_like(rim)
    red, green, blue = ((gain - np.median(sure, axis=0)) / _UNUSUAL).T
    return (1 / (1 + red * red + green * green + blue * blue) ** 2).astype(np.float32)


def match_sharpness(
    new: Float[np.ndarray, "h w 3"], photo: Float[np.ndarray, "h w 3"], coverage: Float[np.ndarray, "h w"], scale: float
) -> Float[np.ndarray, "h w 3"]:
    """Blur the new face to the photo's sharpness, or add noise to match the photo's grain.

    Args:
        new: The new face, (h, w, 3) in [0, 255].
        photo: The photo at the same place, (h, w, 3) in [0, 255].
        coverage: Opacity of the new face, (h, w), 0 to 1; sharpness is measured where it is high.
        scale: Crop pixels per photo pixel. Noise is added only below 1.5.

    Returns:
        (h, w, 3).
    """
    part = bounds(coverage > _CORE, _SHARPNESS_REACH_PX)
    if part is None or (core := (coverage[part] > _CORE).view(np.uint8)).sum() < 64:
        return new
    luma, photo_luma = (cv2.transform(colours[part], LUMA[None]) for colours in (new, photo))
    wanted, given = _fine_energy(photo_luma, core), _fine_energy(luma, core)
    if given > 1.15 * wanted:
        low, high = 0.0, 3.0
        for _ in range(5):
            sigma = (low + high) / 2
            if _fine_energy(blurred(luma, sigma), core) > wanted:
                low = sigma
            else:
                high = sigma
        return blurred(new, high)
    grain = min(6.0, 0.8 * _grain(photo_luma, core)) if scale < 1.5 else 0.0
    missing = np.sqrt(max(grain**2 - _grain(luma, core) ** 2, 0.0)) if grain else 0.0
    if missing < 0.3:
        return new
    noise = np.random.default_rng(core.size).normal(0, missing, new.shape[:2]).astype(np.float32)
    return new + noise[..., None]


def _fine_energy(luma: Float[np.ndarray, "h w"], core: UInt8[np.ndarray, "h w"]) -> float:
    fine = luma - cv2.GaussianBlur(luma, (0, 0), 1.0)
    return float(np.sqrt(cv2.mean(cv2.multiply(fine, fine), core)[0]))


def _grain(luma: Float[np.ndarray, "h w"], core: UInt8[np.ndarray, "h w"]) -> float:
    """Estimate the noise's standard deviation from the median of second differences, which edges hardly affect."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    return float(np.median(np.abs(cv2.filter2D(luma, -1, kernel)[core > 0]))) / 0.6745 / 6


def _move(
    image_rgb: ImageRGB,
    window: tuple[int, int, int, int],
    field: Float[np.ndarray, "h w 2"],
    matrix: Float[np.ndarray, "2 3"],
) -> Float[np.ndarray, "h w 3"]:
    """Return the window of the photo, warped by the displacement field, float32."""
    x0, y0, x1, y1 = window
    turn = invert(matrix)[:, :2]
    place = np.asarray(cv2.transform(field, turn), np.float32)
    place[..., 0] += np.arange(x0, x1, dtype=np.float32)
    place[..., 1] += np.arange(y0, y1, dtype=np.float32)[:, None]
    moved = cv2.remap(image_rgb, place, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)  # type: ignore[call-overload]
    return moved.astype(np.float32)


def crop_places(window: tuple[int, int, int, int], matrix: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "h w 2"]:
    """Return the position of each pixel of a window in the crop.

    Args:
        window: (x0, y0, x1, y1), pixels of the photo.
        matrix: From the photo to the crop, (2, 3).

    Returns:
        (h, w, 2), float32.
    """
    x0, y0, x1, y1 = window
    x, y = np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32)[:, None]
    place = np.empty((y1 - y0, x1 - x0, 2), np.float32)
    for axis, (along_x, along_y, shift) in enumerate(matrix.astype(np.float32)):
        np.add(x * along_x + shift, y * along_y, out=place[..., axis])
    return place


def _places(displacement: Float[np.ndarray, "s s 2"]) -> Float[np.ndarray, "s s 2"]:
    """Return the position from which each pixel is sampled, (s, s, 2)."""
    ticks = np.arange(displacement.shape[0], dtype=np.float32)
    return displacement + np.stack(np.meshgrid(ticks, ticks), -1)


def _take(values: Float[np.ndarray, "s s *c"], place: Float[np.ndarray, "s s 2"]) -> Float[np.ndarray, "s s *c"]:
    return sampled(values, place, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)


def sampled(
    values: Float[np.ndarray, "s s *c"], place: Float[np.ndarray, "h w 2"], how: int, border: int = cv2.BORDER_CONSTANT
) -> Float[np.ndarray, "h w *c"]:
    """Sample a map or image.

    Args:
        values: (s, s) or (s, s, c).
        place: Positions, (h, w, 2), pixels of values.
        how: OpenCV's interpolation.
        border: OpenCV's border mode.

    Returns:
        (h, w) or (h, w, c), float32.
    """
    return np.asarray(cv2.remap(values, place, None, how, borderMode=border), np.float32)  # type: ignore[call-overload]
