"""The gate's thresholds: similarities of strangers by a bundle's recogniser, for several false-match rates.

The built-in recogniser has its own thresholds. Another recogniser's are measured on photos of different people. Without
such photos the strictest possible thresholds are used, those of embeddings that are uniformly distributed on the
sphere. Their similarity has the standard deviation 1 / sqrt(d), and no recogniser can have less, because the mean
square of the similarity of independent unit vectors is at least 1 / d. A gate with these thresholds rejects more faces
than necessary.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from styleid.bundles.build_options import BuildOptions
from styleid.bundles.bundle import Bundle, to_float
from styleid.errors import OptionError
from styleid.faces.align import CropTemplate
from styleid.faces.detect import FaceDetector
from styleid.runtime import open_session, run_batched
from styleid.types import FloatArray

FALSE_MATCH_RATES = (1e-1, 1e-2, 1e-3, 1e-4)
Bounds = Mapping[str, Mapping[str, float]]
_PAIRS_BEYOND = 30
"""Number of pairs that must lie beyond a threshold for it to count as measured."""


def thresholds_of(options: BuildOptions, stand_in: Bundle, folder: Path) -> tuple[CropTemplate, Bounds, str]:
    """Return the recogniser's crop template, its thresholds by false-match rate, and a text about their origin.

    Args:
        options: `identity` and `strangers` determine the origin.
        stand_in: The built-in bundle.
        folder: The new bundle's folder, which holds identity.onnx.

    Raises:
        OptionError: If `options.strangers` is given without `options.identity`, or has too few faces.
    """
    if options.identity is None:
        if options.strangers is not None:
            raise OptionError(
                "strangers", "give it only with `identity`: the built-in recogniser already has thresholds."
            )
        own = stand_in.spec
        bounds = {f"{rate:g}": {"low": r.low, "high": r.high} for rate, r in own.thresholds.items()}
        return own.identity_crop, bounds, f"copied from the built-in bundle {own.name} with its recogniser"
    session = open_session(folder / "identity.onnx")
    crop = CropTemplate.arcface112()
    side = session.get_inputs()[0].shape[-1]
    if side != crop.size_px:
        scaled = (np.array(crop.points_px) + 0.5) * (side / crop.size_px) - 0.5
        crop = CropTemplate(side, tuple((float(x), float(y)) for x, y in scaled))
    if options.strangers is None:
        length = int(session.get_outputs()[0].shape[-1])
        return crop, evenly_spread(length), f"the strictest possible for embeddings of length {length}, not measured"
    embeddings = embed_people(options.strangers, session, crop)
    return crop, measured(embeddings), f"measured on {len(embeddings)} people"


def evenly_spread(length: int) -> dict[str, dict[str, float]]:
    """Return the thresholds of uniformly distributed unit vectors.

    Args:
        length: Number of dimensions.

    Returns:
        `low` and `high` by false-match rate: the similarities that this share of pairs falls below or exceeds.
    """
    bounds = {}
    for rate in FALSE_MATCH_RATES:
        high = NormalDist().inv_cdf(1 - rate) / np.sqrt(length)
        bounds[f"{rate:g}"] = {"low": round(-float(high), 4), "high": round(float(high), 4)}
    return bounds


def measured(embeddings: FloatArray) -> dict[str, dict[str, float]]:
    """Return the measured thresholds of strangers, for the false-match rates that so many people allow to measure.

    Args:
        embeddings: (n, d), one of each person.

    Returns:
        `low` and `high` by false-match rate.

    Raises:
        OptionError: If there are too few people for a false-match rate of 0.001.
    """
    upper = np.triu(np.ones((len(embeddings), len(embeddings)), bool), 1)
    similarities = (embeddings @ embeddings.T)[upper]
    bounds = {}
    for rate in FALSE_MATCH_RATES:
        if rate * len(similarities) >= _PAIRS_BEYOND:
            low, high = np.quantile(similarities, [rate, 1 - rate])
            bounds[f"{rate:g}"] = {"low": round(float(low), 4), "high": round(float(high), 4)}
    if "0.001" not in bounds:
        raise OptionError(
            "strangers",
            f"{len(similarities)} pairs of people are too few for a false-match rate of 0.001. Give "
            "photos of at least 246 people, one each (776 for 0.0001).",
        )
    return bounds


def embed_people(folder: Path, session: Any, crop: CropTemplate) -> FloatArray:
    """Return the embeddings (n, d) of the largest face in each photo. Photos without a face are skipped.

    Args:
        folder: Folder of photos.
        session: ONNX Runtime session of the recogniser.
        crop: The recogniser's crop template.

    Raises:
        OptionError: If no face is found.
    """
    from styleid.media.image import read_photo
    from styleid.media.storage.files import walk_inputs

    detector, crops = FaceDetector(), []
    for entry in walk_inputs([folder]):
        image = read_photo(entry.path).image_rgb
        faces = detector.detect(image)
        if len(faces):
            largest = faces.landmarks_px[int(np.argmax(faces.min_sides_px))]
            crops.append(crop.crop(image, crop.matrix(largest)))
    if not crops:
        raise OptionError("strangers", f"no face was found in the photos of {folder}.")
    return run_batched(session, {"crop": to_float(np.stack(crops))})[0]
