"""Draw faces with a bundle's generator, in the surroundings of a photo or in the bundle's neutral surroundings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from styleid.bundles.bundle import Bundle
from styleid.bundles.steps import SwapStep
from styleid.core.drawing import Drawing
from styleid.core.face import SourceFace
from styleid.pixel import guides
from styleid.pixel.fill import FilledFace, Surroundings, fill_in, resized_points
from styleid.pixel.retouch import retouched, without_frames
from styleid.types import FloatArray, WPlusArray


def draw(bundle: Bundle, sources: Sequence[SourceFace], wplus: WPlusArray, steps: Sequence[SwapStep]) -> list[Drawing]:
    """Draw a new face for each source.

    Args:
        bundle: The networks.
        sources: The n original faces.
        wplus: Latent codes of the new faces, (n, size).
        steps: The swap step of each face. It determines how much of the photo's light the generator sees, and whether
            the new face covers what lies in front of it.

    Returns:
        One drawing per face.
    """
    if not bundle.spec.generators:
        images, landmarks = bundle.render(wplus)
        drawn = zip(images, landmarks, steps, strict=True)
        return [Drawing(image, points, cover=step.cover) for image, points, step in drawn]
    around = [source.surroundings for source in sources]
    widths = [float(source.detection.boxes_xyxy[0, 2] - source.detection.boxes_xyxy[0, 0]) for source in sources]
    return _filled(bundle, wplus, around, widths, steps)


def render(bundle: Bundle, wplus: WPlusArray) -> tuple[Float[np.ndarray, "n g g 3"], Float[np.ndarray, "n 68 2"]]:
    """Draw faces from latent codes alone, without a photo.

    A generator of format 2 draws into the bundle's neutral surroundings, and the image is the whole crop.

    Args:
        bundle: The networks.
        wplus: Latent codes, (n, size).

    Returns:
        Images, float32 (n, g, g, 3) in [0, 255], and their landmarks, (n, 68, 2), pixels of the crop.
    """
    if not bundle.spec.generators:
        return bundle.render(wplus)
    neutral = bundle.neutral()
    size = neutral.crop.shape[0]
    around = Surroundings(neutral.crop, neutral.parts, neutral.landmarks, *np.zeros((2, size, size), bool))
    n = len(wplus)
    drawings = _filled(bundle, wplus, [around] * n, [0.0] * n, [SwapStep(())] * n)
    images = [_whole(drawing, around) for drawing in drawings]
    return np.stack(images), np.stack([drawing.landmarks for drawing in drawings])


def _filled(
    bundle: Bundle,
    wplus: WPlusArray,
    around: Sequence[Surroundings],
    widths_px: Sequence[float],
    steps: Sequence[SwapStep],
) -> list[Drawing]:
    """Draw each face with the generator for its width in the photo."""
    landmarks = bundle.geometry(wplus)
    rows: dict[str, list[int]] = defaultdict(list)
    chosen = [bundle.generator_for(width) for width in widths_px]
    for row, generator in enumerate(chosen):
        rows[generator.network].append(row)
    drawings: dict[int, Drawing] = {}
    for which in rows.values():
        generator = chosen[which[0]]
        maps = [around[k].maps(landmarks[k], generator.side, steps[k].light_cells, steps[k].cover) for k in which]
        inputs = {name: np.stack([one[name] for one in maps]) for name in maps[0]}
        images = bundle.draw(generator, wplus[which], inputs)
        for k, image, given in zip(which, images, maps, strict=True):
            drawings[k] = _finished(image, given, around[k], landmarks[k], steps[k].cover)
    return [drawings[k] for k in range(len(wplus))]


def _finished(
    image: Float[np.ndarray, "g g 3"],
    given: Mapping[str, FloatArray],
    around: Surroundings,
    landmarks: Float[np.ndarray, "68 2"],
    cover: float | None,
) -> Drawing:
    """Retouch a drawn face and compute its opacity. given: the generator's maps."""
    size, side = around.crop.shape[0], image.shape[0]
    old, new = (resized_points(points, size, side) for points in (around.landmarks, landmarks))
    region = given["region"][0]
    frames = guides.frames_beside(around.parts, old, new, side, cover) & (region > 0)
    clean = without_frames(retouched(image, given, new), frames, given["context"], region)
    return Drawing(clean, landmarks, guides.opacity(around.parts, new, region))


def _whole(drawing: Drawing, around: Surroundings) -> FloatArray:
    """Return the crop with the face filled in, (s, s, 3) in [0, 255]."""
    assert drawing.region is not None
    crop, size = around.crop.copy(), around.crop.shape[0]
    fill_in(crop, FilledFace(drawing.image, drawing.region), np.eye(2, 3, dtype=np.float32), size)
    return crop.astype(np.float32)
