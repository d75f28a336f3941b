"""Retouch a drawn face: remove known faults of a generator that was trained for a short time.

Three faults can be recognised: thin stray lines near the region's edge and on the forehead, colours that skin cannot
have in the photo's light, and a tint in black and white photos.

Convention
----------
Images are float32 (g, g, 3), RGB in [0, 255]. Landmarks are (68, 2), pixels of the image, pixel centres at integers.
`lit` is the coarse light that the generator was given, (g, g, 3) in [0, 255]. Lengths are in face widths.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from styleid.pixel import guides
from styleid.pixel.soft import blurred
from styleid.types import FloatArray

_RIM, _RIM_FADE = 0.13, 0.05
"""Distance from the region's edge up to which stray lines are removed, and the length over which that fades."""
_CLEAR, _CLEAR_FADE = 0.05, 0.04
"""Distance around brows, eyes, nose and lips that is not changed, and the length over which that fades."""
_LINE = 0.05
"""Largest width of a line."""
_COARSE, _COLOUR, _BRIGHTNESS = 0.3, 0.9, 0.25
"""Length over which coarse colours are averaged; shares of their difference from the light, in colour and in
brightness, that are removed."""
_LID = 0.02
"""Distance around the eyes' landmarks within which colours are corrected."""
_FOREHEAD = 0.7
"""Share of the lines on the forehead that is removed; they may be wrinkles."""
_RIM_TONE, _EYE_TONE = 0.75, 0.75
"""Share by which the colours of the rim and of the eyes are moved towards the light's."""
GREENER, LESS_RED = 6.0, 10.0
"""How much greener and less red than its light a face may be, on the scale of 0 to 255."""
_MEAN = np.full((1, 3), 1 / 3, np.float32)
_GREEN, _RED = np.array([[-0.5, 1, -0.5]], np.float32), np.array([[1, -0.5, -0.5]], np.float32)
"""Weights of channels: their mean (`_MEAN`), and the excess of one channel over the mean of the others."""
PARTS = ((17, 22), (22, 27), (27, 36), (36, 42), (42, 48), (48, 60))
_EYES = ((36, 42), (42, 48))
_HALF = 0.5
_MOST_CHANGED = 18.0
"""Mean change above which an image counts as a failed face and is not retouched; the largest of 340 faces was 12.5."""
_FEW_PIXELS, _ENOUGH_PIXELS = 200, 1000
"""Least number of pixels of the surroundings from which a tone is measured, and the number that suffices."""
_INPAINT_PX = 3.0
"""Radius of the neighbourhood from which a pixel is inpainted, pixels."""
_TONED = 4.0
"""Root mean square distance of the surroundings' colours from one line up to which a photo has a single tone."""
_FLAT = 8.0
"""Standard deviation of the surroundings' brightness below which they do not show the photo's tone."""


def retouched(
    image: Float[np.ndarray, "g g 3"], maps: Mapping[str, FloatArray], landmarks: Float[np.ndarray, "68 2"]
) -> Float[np.ndarray, "g g 3"]:
    """Remove stray lines and impossible colours from a drawn face.

    An image that would change too much is returned unchanged: it is a failed face, and retouching could turn noise into
    skin that the gate would accept.

    Args:
        image: The drawn face, (g, g, 3).
        maps: The generator's inputs from `Surroundings.maps`.
        landmarks: The new face's landmarks, (68, 2).

    Returns:
        (g, g, 3).
    """
    region = maps["region"][0]
    seen = region > _HALF
    if not seen.any():
        return image
    lit = (maps["light"] / np.maximum(region, 1e-3) + 1) * 127.5
    lit = np.ascontiguousarray(np.maximum(lit, 1.0).transpose(1, 2, 0))
    clean = without_stray_lines(within_light(lit_alike(image, region, landmarks, lit), lit), region, landmarks, lit)
    changed = np.abs(clean - image).mean(2) * region
    if float(changed.sum()) > _MOST_CHANGED * float(region.sum()):
        return image
    context = maps["context"].transpose(1, 2, 0)
    return toned(clean, (context[context.any(2)] + 1) * 127.5, lit[seen].mean(0))


def lit_alike(
    image: Float[np.ndarray, "g g 3"],
    region: Float[np.ndarray, "g g"],
    landmarks: Float[np.ndarray, "68 2"],
    lit: Float[np.ndarray, "g g 3"],
) -> Float[np.ndarray, "g g 3"]:
    """Move the image's coarse colours, and to a smaller extent its brightness, towards the light.

    Args:
        image: The drawn face, (g, g, 3).
        region: Where the face was drawn, (g, g), 0 to 1.
        landmarks: (68, 2).
        lit: The coarse light, (g, g, 3).

    Returns:
        (g, g, 3).
    """
    width = max(float(np.ptp(landmarks[:, 0])), 1.0)
    skin = region * (1 - _filled(landmarks, PARTS, len(region)))
    spread = (0, 0), _COARSE * width
    share = cv2.GaussianBlur(skin, *spread)[..., None] + 1e-3
    apart = cv2.GaussianBlur((lit - image) * skin[..., None], *spread) / share
    brightness = cv2.transform(apart, np.full((3, 3), 1 / 3, np.float32))
    return image + apart * _COLOUR - brightness * (_COLOUR - _BRIGHTNESS)


def without_stray_lines(
    image: Float[np.ndarray, "g g 3"],
    region: Float[np.ndarray, "g g"],
    landmarks: Float[np.ndarray, "68 2"],
    lit: Float[np.ndarray, "g g 3"],
) -> Float[np.ndarray, "g g 3"]:
    """Remove thin dark or bright lines near the region's edge and on the forehead.

    A morphological closing and opening removes the lines. Near the edge, and in the eyes, whose irises are often drawn
    too pale and green, colours are moved towards the light.

    Args:
        image: The drawn face, (g, g, 3).
        region: Where the face was drawn, (g, g), 0 to 1.
        landmarks: (68, 2).
        lit: The coarse light, (g, g, 3).

    Returns:
        (g, g, 3).
    """
    width = max(float(np.ptp(landmarks[:, 0])), 1.0)
    share = _where_lines_go(region, landmarks, width)[..., None]
    disc = guides.disc(_LINE * width / 2)
    whole = image.clip(0, 255).astype(np.uint8)
    smooth = cv2.morphologyEx(cv2.morphologyEx(whole, cv2.MORPH_CLOSE, disc), cv2.MORPH_OPEN, disc).astype(np.float32)
    smooth = cv2.GaussianBlur(smooth, (0, 0), len(disc) / 5)
    image = image + (_towards_light(smooth, lit, _RIM_TONE) - image) * share
    eyes = cv2.dilate(_filled(landmarks, _EYES, len(region)), guides.disc(_LID * width / 2)).astype(np.float32)
    eyes = cv2.GaussianBlur(eyes, (0, 0), width / 100)
    return image + (_towards_light(image, lit, _EYE_TONE) - image) * eyes[..., None]


def within_light(image: Float[np.ndarray, "g g 3"], lit: Float[np.ndarray, "g g 3"]) -> Float[np.ndarray, "g g 3"]:
    """Limit how much greener or less red than its light the image is, without changing its brightness.

    As in the despill of film compositing, one channel is bounded by the mean of the others, in proportion to the light.

    Args:
        image: (g, g, 3).
        lit: The coarse light, (g, g, 3).

    Returns:
        (g, g, 3).
    """
    brightness = _mixed(image, _MEAN) / _mixed(lit, _MEAN)
    too_green = np.maximum(_mixed(image, _GREEN) - np.maximum(_mixed(lit, _GREEN) * brightness, 0) - GREENER, 0)
    image = image - cv2.transform(too_green, _GREEN.T * (2 / 3))
    too_cold = np.maximum(np.minimum(_mixed(lit, _RED) * brightness, 0) - LESS_RED - _mixed(image, _RED), 0)
    return image + cv2.transform(too_cold, _RED.T * (2 / 3))


def toned(
    image: Float[np.ndarray, "g g 3"], context: Float[np.ndarray, "k 3"], skin: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "g g 3"]:
    """Convert the image to the photo's single tone, such as grey or sepia; unchanged for a colour photo.

    Args:
        image: (g, g, 3).
        context: Colours of the surroundings, (k, 3), 0 to 255.
        skin: Mean colour of the original face, (3,), which must have the same tone.

    Returns:
        (g, g, 3).
    """
    context = context[:: max(1, len(context) // _ENOUGH_PIXELS)]
    grey = context.mean(1)
    if len(context) < _FEW_PIXELS or float(grey.std()) < _FLAT:
        return image
    basis = np.stack([grey, np.ones_like(grey)], 1)
    tone, *_ = np.linalg.lstsq(basis, context, rcond=None)
    apart = float(np.sqrt(((basis @ tone - context) ** 2).mean()))
    if apart > _TONED or float(np.abs(skin.mean() * tone[0] + tone[1] - skin).max()) > 2 * _TONED:
        return image
    return np.asarray(_mixed(image, _MEAN)[..., None] * tone[0] + tone[1], np.float32)


def _where_lines_go(
    region: Float[np.ndarray, "g g"], landmarks: Float[np.ndarray, "68 2"], width: float
) -> Float[np.ndarray, "g g"]:
    """Return where stray lines are removed, (g, g) in [0, 1]."""
    inside = cv2.distanceTransform((region > _HALF).astype(np.uint8), cv2.DIST_L2, 3)
    away = cv2.distanceTransform(1 - _filled(landmarks, PARTS, len(region)), cv2.DIST_L2, 3)
    rim = np.clip((_RIM * width - inside) / (_RIM_FADE * width), 0, 1)
    brows = float(landmarks[17:27, 1].min())
    forehead = np.clip((brows - np.arange(len(region), dtype=np.float32)) / (_RIM_FADE * width), 0, _FOREHEAD)
    clear = np.clip((away - _CLEAR * width) / (_CLEAR_FADE * width), 0, 1)
    return np.maximum(rim, forehead[:, None]) * clear


def _towards_light(
    image: Float[np.ndarray, "g g 3"], lit: Float[np.ndarray, "g g 3"], share: float
) -> Float[np.ndarray, "g g 3"]:
    """Move the image's colours towards the light's, without changing brightness."""
    brightness = _mixed(image, _MEAN) / _mixed(lit, _MEAN)
    return image * (1 - share) + lit * (share * brightness)[..., None]


def _mixed(image: Float[np.ndarray, "g g 3"], weights: Float[np.ndarray, "1 3"]) -> Float[np.ndarray, "g g"]:
    return cv2.transform(image, weights)


def _filled(
    landmarks: Float[np.ndarray, "68 2"], parts: tuple[tuple[int, int], ...], size_px: int
) -> UInt8[np.ndarray, "g g"]:
    """Return 1 inside the hulls of runs of landmarks, rounded to whole pixels; `guides.filled` is more precise."""
    mask = np.zeros((size_px, size_px), np.uint8)
    for a, b in parts:
        cv2.fillConvexPoly(mask, cv2.convexHull(landmarks[a:b].round().astype(np.int32)), 1)
    return mask


def without_frames(
    image: Float[np.ndarray, "g g 3"],
    frames: Bool[np.ndarray, "g g"],
    context: Float[np.ndarray, "3 g g"],
    region: Float[np.ndarray, "g g"],
) -> Float[np.ndarray, "g g 3"]:
    """Inpaint the frames of glasses beside the face, where the generator would draw skin over hair.

    The method is Telea, "An Image Inpainting Technique Based on the Fast Marching Method" (2004).

    Args:
        image: The drawn face, (g, g, 3).
        frames: Frames beside the face from `guides.frames_beside`, bool (g, g).
        context: The generator's map of the surroundings, (3, g, g) in [-1, 1].
        region: Where the face was drawn, (g, g), 0 to 1.

    Returns:
        (g, g, 3).
    """
    if not frames.any():
        return image
    outside = region[..., None] <= guides.CUT_FROM
    known = np.where(outside, (context.transpose(1, 2, 0) + 1) * 127.5, image).clip(0, 255).astype(np.uint8)
    near = cv2.dilate(frames.astype(np.uint8), guides.disc(_INPAINT_PX * 2)) > 0
    unknown = frames | (near & ~outside[..., 0]) | (outside[..., 0] & ~context.any(0))
    filled = cv2.inpaint(known, unknown.astype(np.uint8), _INPAINT_PX, cv2.INPAINT_TELEA)
    soft = blurred(frames.astype(np.float32), 1.0)[..., None]
    return np.asarray(image + soft * (filled - image), np.float32)
