"""The appearance model as networks of a bundle: its inverter, and its generator with the refiner.

Crops, landmarks and W+ are those of `styleid.lab.networks.aam`.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from styleid.lab.networks.aam import (
    EXPRESSION_ROW,
    LANDMARKS,
    SHAPE_EXPRESSIONS,
    SHAPE_ROW,
    ActiveAppearanceModel,
    nearest_packed,
    sampled,
)

_JAW_SHARE, _TEMPLE_SHARE, _FOREHEAD_SHARE = 0.97, 0.92, 0.6
"""Shares of the jaw's outline, of the forehead's outline and of its height inside which nearly all textures show only
the face."""
_SOFT, _COARSE = 1 / 8, 1 / 24
"""Width of the transition between trusted and filled-in skin, and cell size of the fill, in widths of a texture."""
_DARK, _BRIGHT = 0.55, 0.8
"""Brightness relative to the skin: pixels below the first value are no skin, pixels above the second are."""
_ANYWHERE, _RIM = 0.01, 0.6
_BROWS_END = 1.3
"""Upper end of the brows above the eyes, in multiples of the height of the brow landmarks."""
_GREENER = 1.04, 1.12
"""Ratio of green to red relative to the skin: pixels below the first value are skin, those above the second are not."""
_HUE_SLACK = 1.1
_TEXTURE_ROWS = 4
"""Number of texture rows that influence how open mouth and eyes look."""


class AAMInverter(nn.Module):
    """The model's inverter, for export: crop, landmarks, visible -> W+."""

    def __init__(self, model: ActiveAppearanceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, crop: torch.Tensor, landmarks: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """Return W+ (n, layers, width); see `ActiveAppearanceModel.encode`."""
        return self.model.encode(crop, landmarks, visible)


class AAMGenerator(nn.Module):
    """The model's generator with its refiner, for export: W+ -> image and landmarks.

    Buffers: inward (h * w,), the pixel of the texture from which each pixel takes its colour; trusted (1, 1, h, w) in
    [0, 1], where the texture shows only the face; forehead (1, 2, h, 1) in [0, 1], the rows above the eyes and those
    above the brows; parts (1, 2, h, w), masks of the eyes and the mouth; express (rows * width + 1, 4), a linear map
    from the first rows of W+ to corrected expression channels. The correction is needed because lips and lids of a
    texture can look more or less open than the landmarks say, differently for each person.
    """

    inward: torch.Tensor
    trusted: torch.Tensor
    forehead: torch.Tensor
    parts: torch.Tensor
    express: torch.Tensor

    def __init__(self, model: ActiveAppearanceModel, refiner: nn.Module) -> None:
        super().__init__()
        self.model, self.refiner = model, refiner
        well_inside = _well_inside(model)
        places = np.nonzero(well_inside.reshape(-1))[0]
        self.register_buffer("inward", torch.from_numpy(places[nearest_packed(well_inside)]))
        inside = torch.from_numpy(well_inside).float()[None, None]
        reach = int(_SOFT * inside.shape[3]) // 2
        share = functional.avg_pool2d(inside, 2 * reach + 1, 1, reach)
        self.register_buffer("trusted", ((share - _RIM) / (1 - _RIM)).clamp(0, 1))
        self.register_buffer("forehead", torch.from_numpy(_above_the_eyes(model)))
        self.register_buffer("parts", torch.from_numpy(_eyes_and_mouth(model)))
        self.rows = min(SHAPE_ROW + model.config.shape_rows + _TEXTURE_ROWS, model.config.layers)
        express = torch.zeros(self.rows * model.config.width + 1, SHAPE_EXPRESSIONS)
        express[EXPRESSION_ROW * model.config.width :][:SHAPE_EXPRESSIONS] = torch.eye(SHAPE_EXPRESSIONS)
        self.register_buffer("express", express)

    def forward(self, wplus: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images (n, 3, s, s) in [-1, 1] and landmarks (n, 68, 2)."""
        expression_row = wplus[:, : self.rows].flatten(1) @ self.express[:-1] + self.express[-1]
        row = torch.cat([expression_row, wplus[:, EXPRESSION_ROW, SHAPE_EXPRESSIONS:]], 1)[:, None]
        model = self.model
        points = model.points(torch.cat([wplus[:, :EXPRESSION_ROW], row, wplus[:, EXPRESSION_ROW + 1 :]], 1))
        textures = model.textures(wplus)
        # the outermost pixels of textures contain hair and background, so their colours are taken from further inside
        jaws = textures.flatten(2)[:, :, self.inward].unflatten(2, model.config.texture_hw)
        textures = jaws + (clean_forehead(textures, self.trusted, self.forehead) - jaws) * self.forehead[:, :1]
        places, size = model.places(points), model.config.size_px
        rendered = sampled(textures, places).clamp(-1, 1)
        maps = torch.cat([model.core(), self.parts], 1).expand(wplus.shape[0], 3, *model.config.texture_hw)
        coarse = sampled(maps, _resized(places, size // 2))  # the maps are smooth, so half the resolution is enough
        core, eyes, mouth = _resized(coarse, size).split(1, 1)
        # outside the outline the refiner's output would be visible as a fringe
        refined = rendered + (self.refiner(rendered) - rendered) * core
        return like_skin(refined, core, eyes, mouth).clamp(-1, 1), points[:, :LANDMARKS]


def clean_forehead(textures: torch.Tensor, trusted: torch.Tensor, forehead: torch.Tensor) -> torch.Tensor:
    """Replace traces of hair on the forehead by skin, because they would be drawn as streaks.

    The fill has the blurred brightness of the nearest skin and the mean colour of the skin. Pixels that are greener
    than skin are replaced, too. Darker pixels, such as brows or strands, do not count for the brightness.

    Args:
        textures: (n, 3, h, w) in [-1, 1].
        trusted: (1, 1, h, w), see `AAMGenerator`.
        forehead: (1, 2, h, 1), see `AAMGenerator`.

    Returns:
        (n, 3, h, w).
    """
    light = (textures + 1) / 2
    skin = (light * trusted).sum((2, 3), keepdim=True) / trusted.sum()
    usual = skin.mean(1, keepdim=True).clamp_min(0.02)
    green = light[:, 1:2] / light[:, :1].clamp_min(0.02) * (skin[:, :1] / skin[:, 1:2].clamp_min(0.02))
    trusted = trusted * (1 - forehead[:, 1:] * ((green - _GREENER[0]) / (_GREENER[1] - _GREENER[0])).clamp(0.0, 0.98))
    luma = light.mean(1, keepdim=True)
    bright = ((luma / usual - _DARK) / (_BRIGHT - _DARK)).clamp(0.02, 1.0)
    weight = trusted * (1 + (bright - 1) * forehead[:, :1])
    parts = functional.avg_pool2d(torch.cat([luma * weight, weight], 1), max(1, int(_COARSE * trusted.shape[3])))
    for _ in range(2):
        parts = functional.avg_pool2d(parts, 5, 1, 2)
    anywhere = parts.mean((2, 3), keepdim=True) * _ANYWHERE
    near = (parts[:, :1] + anywhere[:, :1]) / (parts[:, 1:] + anywhere[:, 1:])
    beyond = _resized(near, (textures.shape[2], textures.shape[3])) * (skin / usual) * 2 - 1
    return textures * trusted + beyond * (1 - trusted)


def _resized(maps: torch.Tensor, size: int | tuple[int, ...]) -> torch.Tensor:
    return functional.interpolate(maps, size, mode="bilinear", align_corners=True)


def like_skin(images: torch.Tensor, core: torch.Tensor, eyes: torch.Tensor, mouth: torch.Tensor) -> torch.Tensor:
    """Reduce green and blue in pixels whose hue is greener or bluer than the skin's, such as traces of hair.

    Args:
        images: (n, 3, s, s) in [-1, 1].
        core: (n, 1, s, s) in [0, 1], the face.
        eyes: (n, 1, s, s) in [0, 1]; they may have any colour.
        mouth: (n, 1, s, s) in [0, 1]; teeth may be as white as highlights.

    Returns:
        (n, 3, s, s).
    """
    light, skin = (images + 1) / 2, core * (1 - eyes) * (1 - mouth)
    usual = (light * skin).sum((2, 3), keepdim=True) / skin.sum((2, 3), keepdim=True).clamp_min(1.0)
    warm = light[:, :1] * (usual / usual[:, :1].clamp_min(0.05)) * _HUE_SLACK
    shine = ((light.mean(1, keepdim=True) / usual.mean(1, keepdim=True).clamp_min(0.05) - 0.8) / 0.3).clamp(0, 1)
    most = warm + (torch.maximum(light[:, :1], warm) - warm) * torch.maximum(shine, mouth)
    natural = torch.cat([light[:, :1], torch.minimum(light, most)[:, 1:]], 1)
    return (natural + (light - natural) * eyes) * 2 - 1


def _outline(model: ActiveAppearanceModel, points: np.ndarray) -> np.ndarray:
    """Return a mask of the convex hull of points in the mean shape's frame, uint8 (h, w) in the texture."""
    x0, y0, x1, y1 = model.rectangle.numpy()
    height, width = model.config.texture_hw
    places = (points - [x0, y0]) / [x1 - x0, y1 - y0] * [width - 1, height - 1]
    found = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(found, cv2.convexHull((places * 16).round().astype(np.int32)), 1, shift=4)
    return found


def _well_inside(model: ActiveAppearanceModel) -> np.ndarray:
    """Return where nearly all textures show only the face, bool (h, w)."""
    mean = model.mean_shape.numpy()
    brows = mean[17:27]
    forehead = brows + _FOREHEAD_SHARE * (mean[LANDMARKS:] - brows)
    centre = mean[27:36].mean(0)
    parts = [centre + _JAW_SHARE * (mean[:17] - centre), centre + _TEMPLE_SHARE * (forehead - centre)]
    return _outline(model, np.concatenate(parts)) > 0


def _above_the_eyes(model: ActiveAppearanceModel) -> np.ndarray:
    """Return soft masks of the texture's rows above the eyes and above the brows, float32 (1, 2, h, 1)."""
    mean, (_, y0, _, y1) = model.mean_shape.numpy(), model.rectangle.numpy()
    eyes, brows = (float(mean[part, 1].mean()) for part in (slice(36, 48), slice(17, 27)))
    up = (eyes - np.linspace(y0, y1, model.config.texture_hw[0])) / (eyes - brows)
    return np.stack([up, 2 * (up - _BROWS_END)]).clip(0, 1).astype(np.float32)[None, ..., None]


def _eyes_and_mouth(model: ActiveAppearanceModel) -> np.ndarray:
    """Return soft masks of the eyes and of the mouth in the texture, float32 (1, 2, h, w)."""
    mean = model.mean_shape.numpy()
    eyes = np.maximum(_outline(model, mean[36:42]), _outline(model, mean[42:48]))
    wider = [cv2.dilate(part, np.ones((5, 5), np.uint8)) for part in (eyes, _outline(model, mean[48:60]))]
    return np.stack([cv2.GaussianBlur(part.astype(np.float32), (0, 0), 1.0) for part in wider])[None]
