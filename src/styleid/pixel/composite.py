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

from styleid.faces.align import invert, scale_of, transform_points
from styleid.faces.geometry import JAW, with_forehead
from styleid.pixel.regions import face_hull
from styleid.pixel.scale import at_photo_scale
from styleid.pixel.warp import outline_displacement
from styleid.types import FloatArray, ImageRGB

_MAX_SHIFT = 0.12
_EDGE = (0.03, 0.5)
_MEMBRANE_SIGMAS = (0.02, 0.04, 0.08, 0.16, 0.32)
_GLASS_RESIDUAL = (14.0, 34.0)
_DARK_LENS = 0.35
_MOST_SHIFT = 40.0
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class NewFace:
    """What a composite needs, all in crop pixels of side s.

    generated, source: float32 (s, s, 3) in [0, 255], the new face and the crop it replaces. rebuilt: the source as its
    own codes rebuild it, needed where glasses are worn, else None. generated_landmarks, source_landmarks: (68, 2).
    bare, glasses: (s, s) in [0, 1], where the source shows bare face and where glasses.
    """

    generated: FloatArray
    source: FloatArray
    rebuilt: FloatArray | None
    generated_landmarks: FloatArray
    source_landmarks: FloatArray
    bare: FloatArray
    glasses: FloatArray


def composite(image_rgb: ImageRGB, face: NewFace, matrix: FloatArray) -> np.ndarray:
    """Put one new face into the photo, in place, and return the mask of what may have changed, bool (height, width)."""
    face, matrix = at_photo_scale(face, face.source.shape[0], matrix)
    size = face.source.shape[0]
    displacement = _displacement(face, size)
    alpha, generated = _prepare(face, displacement, size)
    window = _window(matrix, size, image_rgb.shape)
    changed = np.zeros(image_rgb.shape[:2], bool)
    if window is None:
        return changed
    x0, y0, x1, y1 = window
    patch = image_rgb[y0:y1, x0:x1]
    place = _crop_places(window, matrix)
    field = _remap(displacement, place, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
    coverage = _remap(alpha, place, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
    moved = (np.abs(field).max(-1) > 1e-3) | (coverage > 1e-3)
    surroundings = _move(image_rgb, window, field, matrix)
    new = _remap(generated, place, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
    new = _match_sharpness(new, patch.astype(np.float32), coverage, scale_of(matrix))
    blended = surroundings + (new - surroundings) * coverage[..., None]
    patch[moved] = blended.round().clip(0, 255).astype(np.uint8)[moved]
    changed[y0:y1, x0:x1] = moved
    return changed


def _displacement(face: NewFace, size: int) -> FloatArray:
    source, generated = (with_forehead(p) for p in (face.source_landmarks, face.generated_landmarks))
    outline = [*range(JAW.stop), *range(68, 78)]
    unit = float(np.ptp(source[:, 0]))
    return outline_displacement(source[outline], generated[outline], size, _MAX_SHIFT * unit)


def _prepare(face: NewFace, displacement: FloatArray, size: int) -> tuple[FloatArray, FloatArray]:
    """Return the new face's opacity (s, s) and its colours (s, s, 3) before sharpness is matched."""
    hull = face_hull(face.generated_landmarks, size)
    source, bare, glasses = (_take(m, displacement) for m in (face.source, face.bare, face.glasses))
    dark = _are_dark(source, bare, glasses)  # then nothing shows behind them, and they stay as they are
    alpha = hull * _ramp(bare if dark else bare + glasses, 0.35, 0.75)
    alpha = cv2.GaussianBlur(alpha, (0, 0), 0.006 * size)
    generated = face.generated + _membrane(source - face.generated, alpha)
    if face.rebuilt is not None and not dark and glasses.max() > 0.3:
        generated = _wear_glasses(generated, source, _take(face.rebuilt, displacement), glasses)
    return alpha, generated


def _are_dark(source: FloatArray, bare: FloatArray, glasses: FloatArray) -> bool:
    """Say whether glasses are worn that hide the eyes: most of what they cover is far darker than the skin."""
    luma = source @ _LUMA
    lenses, skin = luma[glasses > 0.6], luma[bare > 0.8]
    if len(lenses) < 0.01 * luma.size or len(skin) == 0:
        return False
    return bool(np.quantile(lenses, 0.6) < _DARK_LENS * np.median(skin))


def _wear_glasses(generated: FloatArray, source: FloatArray, rebuilt: FloatArray, glasses: FloatArray) -> FloatArray:
    """Carry frames, tint and reflections over: what the source shows there and its own bare face would not."""
    residual = source - rebuilt
    strong = _ramp(np.abs(residual).max(-1), *_GLASS_RESIDUAL)
    strong = cv2.GaussianBlur(strong, (0, 0), 0.8) * _ramp(glasses, 0.3, 0.7)
    return generated + (source - generated) * strong[..., None]


def _membrane(difference: FloatArray, alpha: FloatArray) -> FloatArray:
    """Spread the colour difference at the border smoothly over the face, so that no seam is left (s, s, 3).

    A multi-scale stand-in for Poisson cloning (Perez et al. 2003): near the border its nearest stretch counts, in the
    middle the whole border does.
    """
    size = alpha.shape[0]
    ring = ((alpha > _EDGE[0]) & (alpha < _EDGE[1])).astype(np.float32)
    clipped = np.clip(difference, -_MOST_SHIFT, _MOST_SHIFT) * ring[..., None]
    total, weight = np.zeros_like(difference), np.full(alpha.shape, 1e-6, np.float32)
    for order, sigma in enumerate(_MEMBRANE_SIGMAS):
        share = 0.25**order
        total += share * cv2.GaussianBlur(clipped, (0, 0), sigma * size)
        weight += share * cv2.GaussianBlur(ring, (0, 0), sigma * size)
    return total / weight[..., None]


def _match_sharpness(new: FloatArray, photo: FloatArray, coverage: FloatArray, scale: float) -> FloatArray:
    """Soften the new face to the photo's sharpness, or give it the photo's grain, within its own region."""
    core = coverage > 0.8
    if core.sum() < 64:
        return new
    wanted, given = _fine_energy(photo, core), _fine_energy(new, core)
    if given > 1.15 * wanted:
        low, high = 0.0, 3.0
        for _ in range(5):
            sigma = (low + high) / 2
            if _fine_energy(_blurred(new, sigma), core) > wanted:
                low = sigma
            else:
                high = sigma
        return _blurred(new, high)
    grain = min(6.0, 0.8 * _grain(photo, core)) if scale < 1.5 else 0.0
    missing = np.sqrt(max(grain**2 - _grain(new, core) ** 2, 0.0))
    if missing < 0.3:
        return new
    noise = np.random.default_rng(core.size).normal(0, missing, new.shape[:2]).astype(np.float32)
    return new + noise[..., None]


def _fine_energy(image: FloatArray, core: np.ndarray) -> float:
    luma = image @ _LUMA
    return float(np.sqrt(np.mean((luma - cv2.GaussianBlur(luma, (0, 0), 1.0))[core] ** 2)))


def _grain(image: FloatArray, core: np.ndarray) -> float:
    """Estimate the noise's deviation from the median of fine differences, which edges hardly move."""
    luma = image @ _LUMA
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    return float(np.median(np.abs(cv2.filter2D(luma, -1, kernel)[core]))) / 0.6745 / 6


def _move(
    image_rgb: ImageRGB, window: tuple[int, int, int, int], field: FloatArray, matrix: FloatArray
) -> FloatArray:
    """Return the window of the photo with its surroundings moved along the field, float32."""
    x0, y0, x1, y1 = window
    turn = invert(matrix)[:, :2]
    shift = field @ turn.T
    x, y = np.meshgrid(np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32))
    return cv2.remap(
        image_rgb, x + shift[..., 0], y + shift[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    ).astype(np.float32)


def _window(matrix: FloatArray, size: int, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Return the part of the photo that the crop shows, (x0, y0, x1, y1), or None where it shows none."""
    corners = np.array([[0, 0], [size - 1, 0], [size - 1, size - 1], [0, size - 1]], np.float32)
    quad = transform_points(corners, invert(matrix))
    low = np.maximum(np.floor(quad.min(0)).astype(int), 0)
    high = np.minimum(np.ceil(quad.max(0)).astype(int) + 1, [shape[1], shape[0]])
    if (high - low < 1).any():
        return None
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _crop_places(window: tuple[int, int, int, int], matrix: FloatArray) -> FloatArray:
    """Return where each pixel of a window of the photo lies in the crop, float32 (h, w, 2)."""
    x0, y0, x1, y1 = window
    x, y = np.meshgrid(np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32))
    return np.stack([x, y], -1) @ matrix[:, :2].T.astype(np.float32) + matrix[:, 2].astype(np.float32)


def _take(values: FloatArray, displacement: FloatArray) -> FloatArray:
    size = displacement.shape[0]
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    return _remap(values, np.stack([x, y], -1) + displacement, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)


def _remap(values: FloatArray, place: FloatArray, how: int, border: int) -> FloatArray:
    return np.asarray(cv2.remap(values, place[..., 0], place[..., 1], how, borderMode=border), np.float32)


def _blurred(image: FloatArray, sigma: float) -> FloatArray:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


def _ramp(values: FloatArray, low: float, high: float) -> FloatArray:
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
