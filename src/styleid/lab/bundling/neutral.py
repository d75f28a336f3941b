"""The neutral crop of a context bundle, a generated face that provides surroundings when only W+ is given."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional

from styleid.bundles.bundle import Bundle
from styleid.errors import TrainingError
from styleid.faces import geometry
from styleid.lab.data.context_pack import DARK_LUMA, ContextPack
from styleid.lab.networks.aam import ActiveAppearanceModel
from styleid.lab.networks.context_generator import ContextGenerator
from styleid.lab.tasks.context_batches import Batch, ContextFaces
from styleid.pixel.guides import PART_OF_CLASS
from styleid.types import FloatArray, ImageRGB

FILE = "neutral.npz"


def most_average(pack: ContextPack, rows: np.ndarray[Any, Any], codes: FloatArray) -> int:
    """Return the row of the well-lit face with closed mouth whose geometry is nearest to the mean.

    Args:
        pack: The context pack.
        rows: (n,), the faces to choose from.
        codes: (n, numbers), their geometry rows.

    Raises:
        TrainingError: If no face has a closed mouth and ordinary light.
    """
    seen = geometry.expression(pack.landmarks68[rows])
    fit = ~np.asarray(seen.mouth_is_open) & (pack.luma[rows] >= DARK_LUMA)
    if not fit.any():
        raise TrainingError(
            "The bank holds no face with a closed mouth in ordinary light, which the neutral crop needs. Make a larger "
            "pack."
        )
    return int(rows[np.argmin(np.where(fit, np.linalg.norm(codes, axis=1), np.inf))])


def redraw(
    pack: ContextPack, row: int, shapes: ActiveAppearanceModel, generator: ContextGenerator, code: torch.Tensor
) -> ImageRGB:
    """Return a face's crop, uint8 (s, s, 3), with the face redrawn as itself by the generator.

    Args:
        pack: The context pack.
        row: The face.
        shapes: The appearance model.
        generator: The generator.
        code: (1, k), the face's appearance code.
    """
    side = max(128, generator.config.side)
    faces = ContextFaces(pack, np.array([row]), shapes, side=side, most_targets=1)
    batch = faces.plain(torch.tensor([0]), 1, torch.Generator().manual_seed(0))
    with torch.no_grad():
        drawn = draw_batch(generator, batch, code)
    size = pack.template.size_px
    new, region = (
        functional.interpolate(part, (size, size), mode="bilinear", antialias=size < side)
        for part in (drawn, batch.region)
    )
    photo = torch.from_numpy(pack.crops([row])).permute(0, 3, 1, 2).float() / 127.5 - 1
    whole = (photo + (new.clamp(-1, 1) - photo) * region)[0]
    return np.asarray(((whole.permute(1, 2, 0).numpy() + 1) * 127.5).round().clip(0, 255), np.uint8)


def draw_batch(generator: ContextGenerator, batch: Batch, code: torch.Tensor) -> torch.Tensor:
    """Draw the faces of a batch.

    Args:
        generator: The generator.
        batch: The batch.
        code: (n, k), appearance codes.

    Returns:
        The generator's images, (n, 3, s, s), not yet composited.
    """
    w_plus = generator.broadcast(generator.mapping(batch.identity, code))
    return generator(batch.context, batch.region, batch.lines, batch.glasses, batch.light, w_plus)


def write_neutral(crop: ImageRGB, bundle: Bundle, folder: Path) -> dict[str, Any]:
    """Write neutral.npz: a crop with the parts and landmarks that a bundle's parser finds in it.

    Args:
        crop: uint8 (s, s, 3), resized to the bundle's crop.
        bundle: The bundle whose parser is used.
        folder: The folder to write to.

    Returns:
        The entry of bundle.json: file, sha256, bytes.
    """
    size = bundle.spec.crop.size_px
    if crop.shape[0] != size:
        crop = np.asarray(cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
    logits, landmarks = bundle.parse(crop[None])
    path = folder / FILE
    parts = PART_OF_CLASS[logits[0].argmax(0)]
    np.savez_compressed(path, crop=crop, parts=parts, landmarks=landmarks[0].astype(np.float32))
    return entry_of(path)


def entry_of(path: Path) -> dict[str, Any]:
    """Return the entry of bundle.json for a file that is no network: file, sha256, bytes."""
    content = path.read_bytes()
    return {"file": path.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
