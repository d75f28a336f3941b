"""Retouch a drawn face: remove the faults that a generator with little training leaves.

Three faults are known by their look and can be told from what the photo allows: thin stray lines near the region's
edge and on the forehead, colours that no skin has under the photo's light, and a tint in black and white photos.

Convention
----------
Images are float32 (g, g, 3), RGB in [0, 255]; landmarks are (68, 2) pixels of the image, pixel centres at integers.
`lit` is the coarse light that the generator was given, (g, g, 3) in [0, 255]. Widths are shares of the face's width.
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
"""Widths from the region's edge inwards within which stray lines are removed, and over which that fades."""
_CLEAR, _CLEAR_FADE = 0.05, 0.04
"""Widths round brows, eyes, nose and lips that are left alone, and over which that fades."""
_LINE = 0.05
"""Width up to which something is a line."""
_COARSE, _COLOUR, _BRIGHTNESS = 0.3, 0.9, 0.25
"""Width over which coarse colours are averaged; how much of their difference from the light's is taken back."""
_LID = 0.02
"""How far the colours of eyes are mended beyond their landmarks."""
_FOREHEAD = 0.7
"""How much of the lines on the forehead is removed, where they may also be wrinkles."""
_RIM_TONE, _EYE_TONE = 0.75, 0.75
"""How far the colours of the rim and of the eyes go towards the light's."""
GREENER, LESS_RED = 6.0, 10.0
"""How much greener, and less red, than its light a face may be, in steps of 255."""
_MEAN = np.full((1, 3), 1 / 3, np.float32)
_GREEN, _RED = np.array([[-0.5, 1, -0.5]], np.float32), np.array([[1, -0.5, -0.5]], np.float32)
"""Weights of channels: their mean; how much a channel exceeds the mean of the two others."""
PARTS = ((17, 22), (22, 27), (27, 36), (36, 42), (42, 48), (48, 60))
_EYES = ((36, 42), (42, 48))
_HALF = 0.5
_MOST_CHANGED = 18.0
"""Mean change up to which an image is taken for a face with faults; of 340 faces the largest was 12.5."""
_FEW_PIXELS, _ENOUGH_PIXELS = 200, 1000
_INPAINT_PX = 3.0
"""Radius of the surroundings that an inpainted pixel is made from."""
_TONED = 4.0
"""Root mean square distance of the surroundings from one line of colours up to which a photo has a single tone."""
_FLAT = 8.0
"""Deviation of the surroundings' brightness below which their tone says nothing of the photo's."""


def retouched(
    image: Float[np.ndarray, "g g 3"], maps: Mapping[str, FloatArray], landmarks: Float[np.ndarray, "68 2"]
) -> Float[np.ndarray, "g g 3"]:
    """Return a drawn face without stray lines and impossible colours.

    maps: what the generator was given, as `Surroundings.maps` returns it. What would change too much is no face with
    faults but no face: it is returned as it is, so that noise does not become skin that the gate takes for a face.
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
    """Return the image with its coarse colours as the light's, and its coarse brightness nearer to it."""
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
    """Return the image without thin lines, dark or bright, near the region's edge and on the forehead.

    Lines are what a morphological closing or opening removes. Near the edge the colours follow the light as well, and
    so do those of the eyes, whose irises are else drawn too pale and green.
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
    """Return the image with what is greener or less red than its light brought back; its brightness stays.

    It is the despill of film compositing: one channel is bounded by the mean of the others, in proportion to the light.
    """
    brightness = _mixed(image, _MEAN) / _mixed(lit, _MEAN)
    too_green = np.maximum(_mixed(image, _GREEN) - np.maximum(_mixed(lit, _GREEN) * brightness, 0) - GREENER, 0)
    image = image - cv2.transform(too_green, _GREEN.T * (2 / 3))
    too_cold = np.maximum(np.minimum(_mixed(lit, _RED) * brightness, 0) - LESS_RED - _mixed(image, _RED), 0)
    return image + cv2.transform(too_cold, _RED.T * (2 / 3))


def toned(
    image: Float[np.ndarray, "g g 3"], context: Float[np.ndarray, "k 3"], skin: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "g g 3"]:
    """Return the image in the photo's single tone, grey or sepia, where it has one.

    context: colours of the surroundings, in [0, 255]. skin: mean colour of the photo's face, which has the tone too.
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
    """Return the image with its colours moved towards the light's, at the same brightness."""
    brightness = _mixed(image, _MEAN) / _mixed(lit, _MEAN)
    return image * (1 - share) + lit * (share * brightness)[..., None]


def _mixed(image: Float[np.ndarray, "g g 3"], weights: Float[np.ndarray, "1 3"]) -> Float[np.ndarray, "g g"]:
    return cv2.transform(image, weights)


def _filled(
    landmarks: Float[np.ndarray, "68 2"], parts: tuple[tuple[int, int], ...], size_px: int
) -> UInt8[np.ndarray, "g g"]:
    """Return 1 inside the hulls of runs of landmarks, in whole pixels; `guides.filled` takes parts of pixels."""
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
    """Return a drawn face whose glasses' frames beside it are replaced by what surrounds them.

    A generator of faces draws skin there, over hair. frames: as `guides.frames_beside` returns them. context, region:
    what the generator was given. Telea, "An Image Inpainting Technique Based on the Fast Marching Method" (2004).
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
