"""The networks of a bundle that compute W+ for its context generator, or use it.

W+ is one flat vector. It begins with the geometry rows, the rows of the appearance model that determine landmarks
(pose, placement, expression, shape). One row of w for each modulated layer of the generator follows.

Convention
----------
Crops are float32 (n, 3, s, s) in [-1, 1], RGB, under the bundle's crop template. Landmarks are (n, 68, 2) pixels of the
crop, pixel centres at integers.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from styleid.faces.geometry import POINTS_WITH_FOREHEAD
from styleid.lab.networks.aam import LANDMARKS, SHAPE_ROW, ActiveAppearanceModel, with_forehead
from styleid.lab.networks.appearance_encoder import AppearanceEncoder, AppearanceView
from styleid.lab.networks.context_generator import ContextGenerator, style_of, with_strided_stems
from styleid.lab.networks.mask_encoder import MaskEncoder

KEPT_ROWS = 3
"""Number of rows of pose, placement and expression, which come first in W+ and stay with the source in a swap."""
FURTHEST = 3.0
"""Numbers of geometry rows are clipped to this many standard deviations."""


class Geometry(nn.Module):
    """Computes landmarks (n, 68, 2) from W+ (n, size), by the appearance model's linear maps.

    Buffers: mean_shape (78, 2); shape_in (156, numbers) and shape_out, the map back.
    """

    mean_shape: torch.Tensor
    shape_in: torch.Tensor
    shape_out: torch.Tensor

    def __init__(self, model: ActiveAppearanceModel) -> None:
        super().__init__()
        self.rows, self.width = KEPT_ROWS + model.config.shape_rows, model.config.width
        for name in ("mean_shape", "shape_in", "shape_out"):
            self.register_buffer(name, getattr(model, name).clone())

    @property
    def numbers(self) -> int:
        """Length of the geometry rows, the first numbers of W+."""
        return self.rows * self.width

    def read(self, landmarks: torch.Tensor) -> torch.Tensor:
        """Return the geometry rows (n, numbers) of landmarks (n, 68, 2)."""
        codes = (with_forehead(landmarks) - self.mean_shape).flatten(1) @ self.shape_in
        return codes.clamp(-FURTHEST, FURTHEST)

    def forward(self, w_plus: torch.Tensor) -> torch.Tensor:
        """Return landmarks (n, 68, 2)."""
        points = (w_plus[:, : self.numbers] @ self.shape_out).reshape(-1, POINTS_WITH_FOREHEAD, 2) + self.mean_shape
        return points[:, :LANDMARKS]


class Styles(nn.Module):
    """Maps unit embeddings and appearance codes to w, repeated for each row."""

    def __init__(self, generator: ContextGenerator) -> None:
        super().__init__()
        self.map, self.look = generator.map, generator.look
        self.config = generator.config

    def forward(self, identity: torch.Tensor, appearance: torch.Tensor | None) -> torch.Tensor:
        """Return flat rows of w (n, layers * width), for embeddings (n, 128) and codes (n, k), or None for 0."""
        return style_of(self.map, self.look, identity, appearance).repeat(1, self.config.layers)


class ContextInverter(nn.Module):
    """The inverter: crop, landmarks, visible (n, 1, s, s), identity (n, 128) -> W+ (n, size)."""

    def __init__(self, geometry: Geometry, styles: Styles, appearance: AppearanceEncoder, crop_px: int) -> None:
        super().__init__()
        self.geometry, self.styles, self.appearance = geometry, styles, appearance
        self.view = AppearanceView(crop_px)

    def forward(
        self, crop: torch.Tensor, landmarks: torch.Tensor, visible: torch.Tensor, identity: torch.Tensor
    ) -> torch.Tensor:
        """Return W+ (n, size)."""
        code = self.appearance(self.view(crop, visible))
        return torch.cat([self.geometry.read(landmarks), self.styles(identity, code)], 1)


class PlainInverter(nn.Module):
    """The inverter for a generator without appearance encoder: landmarks, identity -> W+ (n, size)."""

    def __init__(self, geometry: Geometry, styles: Styles) -> None:
        super().__init__()
        self.geometry, self.styles = geometry, styles

    def forward(self, landmarks: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
        """Return W+ (n, size)."""
        return torch.cat([self.geometry.read(landmarks), self.styles(identity, None)], 1)


class GeometryEncoder(nn.Module):
    """The mask encoder: labels (n, s, s) -> W+ (n, size).

    The appearance model's mask encoder computes the geometry rows; all other numbers are 0.
    """

    def __init__(self, encoder: MaskEncoder, size: int) -> None:
        super().__init__()
        self.encoder, self.size = encoder, size

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        """Return W+ (n, size)."""
        rows = self.encoder(labels)
        shape = rows[:, SHAPE_ROW : SHAPE_ROW + self.encoder.config.shape_rows]
        known = torch.cat([rows[:, :KEPT_ROWS], shape], 1).flatten(1)
        return functional.pad(known, (0, self.size - known.shape[1]))


class FlatGenerator(nn.Module):
    """The generator for export: it takes flat W+, has strided stems, which are faster, and clips the image.

    Args:
        generator: The generator.
        first: Index in W+ at which the generator's rows begin.
    """

    def __init__(self, generator: ContextGenerator, first: int) -> None:
        super().__init__()
        self.generator, self.first = with_strided_stems(generator), first

    def forward(
        self,
        context: torch.Tensor,
        region: torch.Tensor,
        lines: torch.Tensor,
        glasses: torch.Tensor,
        light: torch.Tensor,
        w_plus: torch.Tensor,
    ) -> torch.Tensor:
        """Return images (n, 3, side, side) in [-1, 1]; the maps are those of `ContextGenerator`, w_plus is flat."""
        config = self.generator.config
        rows = w_plus[:, self.first :].reshape(-1, config.layers, config.width)
        return self.generator(context, region, lines, glasses, light, rows).clamp(-1, 1)
