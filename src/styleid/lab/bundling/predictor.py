"""Fit of a bundle's trait predictor: draw new faces into photos, and learn what they look like from their targets."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float

from styleid.bundles.bundle import Bundle
from styleid.bundles.predictor import TraitPredictor, model_inputs
from styleid.core.attempt import FaceProgress
from styleid.core.options import AnonymizeOptions
from styleid.core.pipeline import Anonymizer
from styleid.errors import TrainingError
from styleid.lab.bundling.neutral import entry_of
from styleid.media.image import read_photo
from styleid.pixel.fill import resized_points
from styleid.types import FloatArray, MaskArray

FILE = "predictor.npz"
FEWEST = 100
"""Least number of new faces to fit a model to."""
_HELD_OUT = 4
"""The fit is measured on one photo in this many."""
_DARKEST = 20.0
"""Brightness, 0 to 255, that is used for darker cheeks."""
_FEWEST_PX = 8
_DARK_PART = 0.35
"""Quantile of the upper lip's pixels that is its shade: a moustache does not cover all of it."""
_NOSE, _LIP = (31, 32, 33, 34, 35), (49, 50, 51, 52, 53)
_CHEEKS = (
    ((41, 31, 0.6), (2, 31, 0.7), (2, 48, 0.5), (31, 48, 0.2)),
    ((46, 35, 0.6), (14, 35, 0.7), (14, 54, 0.5), (35, 54, 0.2)),
)
"""Corners of a polygon on each cheek: two landmarks, and the share of the way from the first to the second."""


@dataclass(frozen=True)
class Example:
    """One new face.

    photo: number of the photo.
    target: W+ of the new face, (size,).
    before: attributes of the original, (7,).
    traits: what the new face shows, (8,); see `TraitPredictor.predict`.
    """

    photo: int
    target: FloatArray
    before: FloatArray
    traits: FloatArray


def write_predictor(folder: Path, photos: Sequence[Path], rounds: int, say: Callable[[str], None] = print) -> None:
    """Fit a trait predictor on photos and add it to a bundle.

    Args:
        folder: The bundle's folder. `predictor.npz` is written and `bundle.json` changed.
        photos: Photos with faces.
        rounds: New faces to draw for each face in the photos.
        say: Called with lines of progress.

    Raises:
        TrainingError: If the photos show too few faces.
        BundleError: If the bundle cannot be used.
        ImageError: If a photo cannot be read.
    """
    examples = [one for seed in range(rounds) for one in _draw_all(folder, photos, seed)]
    if len(examples) < FEWEST:
        raise TrainingError(f"{len(examples)} new faces were drawn; at least {FEWEST} are needed. Give more photos.")
    share = measure_fit(examples)
    np.savez_compressed(folder / FILE, weights=fit(examples).weights)
    record = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    record["predictor"] = entry_of(folder / FILE)
    record["quality"]["predictor"] = {"faces": len(examples), "explained": [round(float(one), 3) for one in share]}
    (folder / "bundle.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    say(f"{len(examples)} new faces; explained variance of age, sex, groups and upper lip: {share.round(2).tolist()}")


def _draw_all(folder: Path, photos: Sequence[Path], seed: int) -> list[Example]:
    """Draw one new face for each face of the photos, with a target that no predictor chose."""
    bundle = Bundle(folder)
    bundle.spec = replace(bundle.spec, predictor=None)
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=seed))
    return [one for number, path in enumerate(photos) for one in _draw(anonymizer, path, number)]


def _draw(anonymizer: Anonymizer, path: Path, number: int) -> list[Example]:
    image = read_photo(path).image_rgb
    faces = anonymizer.find(image)
    found = np.nonzero(np.isfinite(faces.landmarks_px).all((1, 2)))[0]
    pending = [FaceProgress(source) for source in anonymizer.analyse(image, faces, found)] if len(found) else []
    if not pending:
        return []
    targets = anonymizer.targets.sample(anonymizer.bundle, path.name, pending, 0)
    anonymizer.attempt_targets(pending, image, targets)
    examples: list[Example] = []
    for face, target in zip(pending, targets, strict=True):
        made, before = face.attempts[-1], face.source.observation.attributes
        image, size = made.drawing.image, anonymizer.bundle.spec.crop.size_px
        shade = lip_shade(image, resized_points(made.drawing.landmarks, size, image.shape[0]))
        traits = np.append(made.observation.attributes, shade)
        examples.append(Example(number, target, before, traits))
    return [one for one in examples if np.isfinite(one.traits).all()]


def fit(examples: Sequence[Example], ridge: float = 0.2) -> TraitPredictor:
    """Fit the linear model by ridge regression.

    Args:
        examples: The new faces.
        ridge: Weight of the squared coefficients of the standardised inputs, per example.
    """
    targets, before, traits = (np.stack(column) for column in _columns(examples))
    inputs = model_inputs(targets, before)[:, :-1].astype(np.float64)
    mean, spread = inputs.mean(0), inputs.std(0) + 1e-6
    standard, middle = (inputs - mean) / spread, traits.mean(0)
    gram = standard.T @ standard + ridge * len(inputs) * np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, standard.T @ (traits - middle)) / spread[:, None]
    return TraitPredictor(np.concatenate([weights, (middle - mean @ weights)[None]]).astype(np.float32))


def measure_fit(examples: Sequence[Example]) -> Float[np.ndarray, "8"]:
    """Return the share of each trait's variance that a fit explains on photos that it did not see, (8,)."""
    held_out = [one for one in examples if one.photo % _HELD_OUT == 0]
    model = fit([one for one in examples if one.photo % _HELD_OUT])
    targets, before, traits = (np.stack(column) for column in _columns(held_out))
    return 1 - ((model.predict(targets, before) - traits) ** 2).mean(0) / traits.var(0).clip(1e-12)


def _columns(examples: Sequence[Example]) -> tuple[list[FloatArray], list[FloatArray], list[FloatArray]]:
    return [one.target for one in examples], [one.before for one in examples], [one.traits for one in examples]


def lip_shade(image: Float[np.ndarray, "g g 3"], landmarks: Float[np.ndarray, "68 2"]) -> float:
    """Return the brightness of the upper lip's skin less that of the cheeks, as a share of the latter.

    Args:
        image: A face, (g, g, 3), 0 to 255.
        landmarks: Its landmarks, (68, 2), pixels.

    Returns:
        The shade, below 0 where the upper lip is darker; NaN if lip or cheeks are too small to tell.
    """
    grey, (nose, lip) = image.mean(2), (landmarks[list(part)] for part in (_NOSE, _LIP))
    above = _inside(np.concatenate([0.8 * nose + 0.2 * lip, 0.25 * nose + 0.75 * lip]), image.shape[0])
    corners = [np.array([(1 - t) * landmarks[a] + t * landmarks[b] for a, b, t in cheek]) for cheek in _CHEEKS]
    cheeks = _inside(corners[0], image.shape[0]) | _inside(corners[1], image.shape[0])
    if min(above.sum(), cheeks.sum()) < _FEWEST_PX:
        return float("nan")
    brightness = float(grey[cheeks].mean())
    return (float(np.quantile(grey[above], _DARK_PART)) - brightness) / max(brightness, _DARKEST)


def _inside(points: Float[np.ndarray, "k 2"], side_px: int) -> MaskArray:
    """Return the mask of the convex hull of points."""
    mask = np.zeros((side_px, side_px), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(points.round().astype(np.int32)), 1)
    return mask > 0
