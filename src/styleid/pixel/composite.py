"""Put a generated face into its photo, at the photo's resolution.

The surroundings follow the new outline, colours meet at the border, sharpness and grain follow the photo, and what lies
before the face (hair, glasses, a hand) stays before it.

Convention
----------
`crop` coordinates are pixels of the bundle's crop, `image` coordinates pixels of the upright photo; matrices are (2, 3)
image-to-crop. Colours are float32 in [0, 255], RGB.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float

from styleid.faces.align import invert, scale_of, shown_window
from styleid.faces.geometry import JAW, with_forehead
from styleid.pixel.glasses import FaceMaps, are_dark, wear_glasses
from styleid.pixel.regions import FaceHull, gone_up_the_forehead
from styleid.pixel.scale import at_photo_scale
from styleid.pixel.soft import blurred, ramp
from styleid.pixel.warp import outline_displacement
from styleid.types import LUMA, ImageRGB, MaskArray

_MAX_SHIFT = 0.12
_RIM = (0.1, 0.03)
"""How far into the face its rim reaches, and how softly it ends, in face widths."""
_REACH = 0.02
"""How far beyond its outline a new face goes, in face widths: there an outline's own edge tells whose it was."""
_COVERS_FURTHER = 0.25
"""How much further up a covering face fades."""
_OTHER_SKIN = (0.5, 0.8)
"""How far apart, in logarithms of a colour, old and new skin may lie for the new to fade into the old."""
_SURELY_BARE = (0.95, 0.99)
"""Where the rim tells the light: hair that may be face would tint the skin with its colour."""
_UNUSUAL = 0.4
_PLANE_SHRINK = 4
_FEWEST_RIM = 2.0
_LEAST_RIM = 1e-4
_FLATTER = 0.02
"""How much the rim must be worth its slope: a rim that shows on one side only tells none."""
_MOST_GAIN = 0.5
_DARKEST = 16.0
"""Added before logarithms are taken, so that what is nearly black tells no colour."""
_COLOURLESS = (0.2, 0.7)
"""Saturation, as a share of the skin's, below which the light's colour does not show, and from which on it does."""
_GREY = 0.1
"""Saturation that even the palest skin counts as having."""


@dataclass(frozen=True)
class NewFace:
    """What a composite needs, all in crop pixels of side s.

    generated, source: float32 (s, s, 3) in [0, 255], the new face and the crop it replaces. generated_landmarks,
    source_landmarks: (68, 2). bare, glasses: (s, s) in [0, 1], where the source shows bare face and where glasses.
    cover: how far beyond its outline the new face goes, in face widths, over whatever lies before it or beside; None
    where what lies before the face stays.
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
    """Put one new face into the photo, in place, and return the mask of what may have changed, bool (height, width).

    as_sharp_as: the photo as it was, where a neighbour's face or disc has come over the face since.
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
    surroundings = _move(image_rgb, window, field, matrix)
    new = sampled(generated, place, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
    sharp = patch if as_sharp_as is None else as_sharp_as[y0:y1, x0:x1]
    new = match_sharpness(new, sharp.astype(np.float32), coverage, scale_of(matrix))
    blended = surroundings + (new - surroundings) * coverage[..., None]
    patch[moved] = blended.round().clip(0, 255).astype(np.uint8)[moved]
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
    """Return the new face's opacity (s, s) and its colours (s, s, 3) before sharpness is matched."""
    outline = FaceHull(face.generated_landmarks, size)
    hull = outline.soft()
    place = _places(displacement)
    source, bare, glasses = (_take(m, place) for m in (face.source, face.bare, face.glasses))
    dark = are_dark(source, FaceMaps(bare, glasses))  # then nothing shows behind them, and they stay as they are
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
        generated = wear_glasses(generated, face.generated_landmarks, face.source, face.source_landmarks, worn)
    return alpha, generated


def _fade(
    face: NewFace,
    source: Float[np.ndarray, "s s 3"],
    generated: Float[np.ndarray, "s s 3"],
    skin: Float[np.ndarray, "s s"],
) -> Float[np.ndarray, "s s"]:
    """Return how much of the new face is there, (s, s), going up the forehead, where it fades into the photo's skin.

    There is little of a person in that skin, but a line across a forehead is seen from afar. A face that is not of its
    colour does not fade: what is no face is to be seen whole by the gate.
    skin: where the photo surely shows it, (s, s) in [0, 1].
    """
    size = len(skin)
    later = 0.0 if face.cover is None else _COVERS_FURTHER
    gone = gone_up_the_forehead(face.generated_landmarks, face.source_landmarks, size, later)
    weight = gone * skin
    total = float(weight.sum())
    if total < _FEWEST_RIM:
        return np.ones_like(skin)
    on = weight > 0
    apart = np.abs(np.log((source[on] + _DARKEST) / (generated[on].clip(0) + _DARKEST))).max(-1)
    agrees = 1 - ramp(apart @ weight[on] / total, *_OTHER_SKIN)
    return 1 - gone * agrees


def _beyond(shows: Float[np.ndarray, "s s"], hull: Float[np.ndarray, "s s"]) -> Float[np.ndarray, "s s"]:
    """Return where the face shows, (s, s), beyond its outline as at the outline's nearest stretch."""
    sigma = 0.03 * len(hull)
    near = blurred(shows * hull, sigma) / (blurred(hull, sigma) + 1e-6)
    return shows * hull + near * (1 - hull)


def _light(
    source: Float[np.ndarray, "s s 3"], generated: Float[np.ndarray, "s s 3"], rim: Float[np.ndarray, "s s"]
) -> Float[np.ndarray, "s s 3"]:
    """Return the gains (s, s, 3), in logarithms, that bring the new face's skin along the rim to the source's.

    They are one level and slope for each colour, which is enough for the light and its direction. What follows the rim
    more closely, as Poisson cloning does, hides seams no better here, and tells more of whose face it was.
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
    """Return gains of light (s, s, 3) whose colour shows on skin, and not on what has less colour: teeth stay white."""
    red, green, blue = cv2.split(generated)
    most = np.maximum(np.maximum(red, green), blue)
    saturation = (most - np.minimum(np.minimum(red, green), blue)) / (most + _DARKEST)
    on = rim > _LEAST_RIM
    skin = max(float(np.median(saturation[on])) if on.any() else 0.0, _GREY)
    share, colours = ramp(saturation / skin, *_COLOURLESS), cv2.split(light)
    level = (colours[0] + colours[1] + colours[2]) / 3
    return np.asarray(cv2.merge([level + (colour - level) * share for colour in colours]), np.float32)


def _usual(gain: Float[np.ndarray, "n 3"], rim: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return how far to trust each of the rim's gains, (n,) of (n, 3): least where few others agree, as on a beard."""
    sure = gain[rim > 0.5]
    if len(sure) == 0:
        return np.ones_like(rim)
    red, green, blue = ((gain - np.median(sure, axis=0)) / _UNUSUAL).T
    return (1 / (1 + red * red + green * green + blue * blue) ** 2).astype(np.float32)


def match_sharpness(
    new: Float[np.ndarray, "h w 3"], photo: Float[np.ndarray, "h w 3"], coverage: Float[np.ndarray, "h w"], scale: float
) -> Float[np.ndarray, "h w 3"]:
    """Soften the new face to the photo's sharpness, or give it the photo's grain, within its own region."""
    core = coverage > 0.8
    if core.sum() < 64:
        return new
    luma, photo_luma = new @ LUMA, photo @ LUMA
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


def _fine_energy(luma: Float[np.ndarray, "h w"], core: Bool[np.ndarray, "h w"]) -> float:
    return float(np.sqrt(np.mean((luma - cv2.GaussianBlur(luma, (0, 0), 1.0))[core] ** 2)))


def _grain(luma: Float[np.ndarray, "h w"], core: Bool[np.ndarray, "h w"]) -> float:
    """Estimate the noise's deviation from the median of fine differences, which edges hardly move."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    return float(np.median(np.abs(cv2.filter2D(luma, -1, kernel)[core]))) / 0.6745 / 6


def _move(
    image_rgb: ImageRGB,
    window: tuple[int, int, int, int],
    field: Float[np.ndarray, "h w 2"],
    matrix: Float[np.ndarray, "2 3"],
) -> Float[np.ndarray, "h w 3"]:
    """Return the window of the photo with its surroundings moved along the field, float32."""
    x0, y0, x1, y1 = window
    turn = invert(matrix)[:, :2]
    shift = field @ turn.T
    x, y = np.meshgrid(np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32))
    return cv2.remap(
        image_rgb, x + shift[..., 0], y + shift[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    ).astype(np.float32)


def crop_places(window: tuple[int, int, int, int], matrix: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "h w 2"]:
    """Return where each pixel of a window of the photo lies in the crop, float32 (h, w, 2)."""
    x0, y0, x1, y1 = window
    x, y = np.meshgrid(np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32))
    return np.stack([x, y], -1) @ matrix[:, :2].T.astype(np.float32) + matrix[:, 2].astype(np.float32)


def _places(displacement: Float[np.ndarray, "s s 2"]) -> Float[np.ndarray, "s s 2"]:
    """Return where each pixel is taken from, (s, s, 2)."""
    ticks = np.arange(displacement.shape[0], dtype=np.float32)
    return displacement + np.stack(np.meshgrid(ticks, ticks), -1)


def _take(values: Float[np.ndarray, "s s *c"], place: Float[np.ndarray, "s s 2"]) -> Float[np.ndarray, "s s *c"]:
    return sampled(values, place, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)


def sampled(
    values: Float[np.ndarray, "s s *c"], place: Float[np.ndarray, "h w 2"], how: int, border: int = cv2.BORDER_CONSTANT
) -> Float[np.ndarray, "h w *c"]:
    """Return a map's values at places, by OpenCV's interpolation `how`, beyond its border as `border` says."""
    return np.asarray(cv2.remap(values, place[..., 0], place[..., 1], how, borderMode=border), np.float32)
