"""Inner squares of a pack's tight crops as tensors, and sampling weights.

Convention
----------
The inner square of ``CropTemplate.tight(inner_px, margin_px)`` is its crop without the margin. Tensors are uint8
(n, 3, side, side), RGB. `to_float` maps 0..255 to [-1, 1]; `to_uint8` maps back and returns (n, side, side, 3).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch

from styleid.errors import TrainingError
from styleid.faces.align import UTKFACE_POINTS, CropTemplate
from styleid.lab.data.pack import Pack
from styleid.types import ImageRGB

_AGE_BANDS = (10, 20, 30, 40, 50, 60, 70)
_DECODED_AT_ONCE = 4096


def inner_square(template: CropTemplate) -> tuple[int, int]:
    """Return (inner_px, margin_px) of a tight template.

    Raises:
        TrainingError: If the template is not a tight one.
    """
    points = np.asarray(template.points_px)
    inner_px = round(float((points[1, 0] - points[0, 0]) / (UTKFACE_POINTS[1][0] - UTKFACE_POINTS[0][0])))
    margin_px = (template.size_px - inner_px) // 2
    if inner_px >= 8 and margin_px >= 0:
        tight = CropTemplate.tight(inner_px, margin_px)
        if tight.size_px == template.size_px and np.abs(np.asarray(tight.points_px) - points).max() < 0.01:
            return inner_px, margin_px
    raise TrainingError(
        "This training needs a pack of tight crops (CropTemplate.tight), but this pack has another crop template. "
        "Make one: styleid train pack --help"
    )


def inner_faces(pack: Pack, rows: np.ndarray[Any, Any], side_px: int) -> torch.Tensor:
    """Decode the inner squares of some faces, scaled down by area averaging if necessary.

    Args:
        pack: A pack of tight crops.
        rows: (n,), the faces.
        side_px: Side of the result; at most the pack's inner_px.

    Returns:
        uint8 (n, 3, side_px, side_px).

    Raises:
        TrainingError: If the pack's crops are not tight, or are smaller than side_px.
    """
    inner_px, margin_px = inner_square(pack.template)
    if side_px > inner_px:
        raise TrainingError(
            f"The pack's faces have {inner_px} px, too few to train at {side_px} px. "
            "Choose a lower `resolution`, or make a pack with a larger `inner_px`."
        )
    inside = slice(margin_px, margin_px + inner_px)
    faces = torch.empty(len(rows), 3, side_px, side_px, dtype=torch.uint8)
    for start in range(0, len(rows), _DECODED_AT_ONCE):
        crops = pack.crops(rows[start : start + _DECODED_AT_ONCE])[:, inside, inside]
        if side_px < inner_px:
            crops = np.stack([cv2.resize(crop, (side_px, side_px), interpolation=cv2.INTER_AREA) for crop in crops])
        faces[start : start + len(crops)] = torch.from_numpy(crops).permute(0, 3, 1, 2)
    return faces


def balanced_weights(
    pack: Pack, rows: np.ndarray[Any, Any], balance: float = 0.5, most: float = 5.0
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return sampling weights that balance age bands, sexes and groups.

    Args:
        pack: The pack.
        rows: (n,), the faces.
        balance: 0 weighs all faces equally, 1 all age bands, sexes and groups equally (as far as they are known).
        most: Largest weight relative to the mean.

    Returns:
        (n,), mean 1.
    """
    age = pack.age[rows]
    columns = [np.where(np.isnan(age), -1, np.digitize(age, _AGE_BANDS)), pack.sex[rows], pack.group[rows]]
    weights = np.ones(len(rows))
    for column in columns:
        known = column >= 0
        values, place, counts = np.unique(column[known], return_inverse=True, return_counts=True)
        if len(values):
            weights[known] *= (known.sum() / len(values) / counts[place]) ** balance
    weights = np.minimum(weights / weights.mean(), most)
    return weights / weights.mean()


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Map uint8 0..255 to float32 [-1, 1]."""
    return images.float() / 127.5 - 1


def to_uint8(images: torch.Tensor) -> ImageRGB:
    """Map float (n, 3, side, side) in [-1, 1] to uint8 (n, side, side, 3) on the CPU."""
    scaled = ((images.detach().float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(scaled.permute(0, 2, 3, 1).cpu().numpy())


def draw_grid(images: torch.Tensor, columns: int) -> ImageRGB:
    """Arrange images in a grid.

    Args:
        images: float (n, 3, side, side) in [-1, 1]; n is a multiple of `columns`.
        columns: Images per row.

    Returns:
        uint8 (n / columns * side, columns * side, 3).
    """
    tiles = to_uint8(images)
    side = tiles.shape[1]
    rows = tiles.reshape(-1, columns, side, side, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(rows.reshape(-1, columns * side, 3))
