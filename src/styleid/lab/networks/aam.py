"""The active appearance model (Cootes, Edwards and Taylor 2001), the generator of aam128.

A face is a shape (78 points) and a texture (the face warped to the mean shape). Both are linear models. Their
coordinates are the rows of W+: the first rows should stay in an anonymised photo, the attribute row describes what many
people share, and the remaining rows describe the person.

    W+ row   0      1           2            3       4            5 ... 4 + s    ... layers
             pose   placement   expression   light   attributes   shape          texture

pose: yaw (two measures), pitch. placement: position, scale and rotation in the crop. expression: mouth opening, smile,
opening of each eye, horizontal and vertical gaze, teeth. attributes: age, child, female, three groups, moustache,
beard. Each row is fitted on the residual of the rows before it, so that rows of two people can be combined: an open
mouth shows teeth, a turned head has its shadow. Coordinates have unit variance over the training faces.

Convention
----------
Crops and images are float32 (n, 3, s, s) in [-1, 1], RGB, under the bundle's crop template. Landmarks are (n, 68, 2)
pixels of the crop, pixel centres at integers. W+ is (n, layers, width).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from styleid.errors import TrainingError
from styleid.faces.geometry import FOREHEAD_RISE, POINTS_WITH_FOREHEAD
from styleid.pixel.warp import border_anchors, thin_plate_matrix

ANCHORS_PER_SIDE = 5
_INVERSION_STEPS = 5
_FURTHEST = 3.0
"""Coordinates are clipped to this many standard deviations, because larger ones, from unusual light or covered faces,
are drawn as blotches."""

LANDMARKS = 68
"""The points of a shape that the parser finds; ten points of the forehead follow."""
SINGLE_ROWS = ("pose", "placement", "expression", "light", "attributes")
EXPRESSION_ROW, ATTRIBUTE_ROW, SHAPE_ROW = 2, 4, 5
BEARD = slice(6, 8)
"""Channels of the attribute row that describe how dark the upper lip and the chin are."""
SHAPE_EXPRESSIONS = 4
"""Number of channels of the expression row that are measured in the shape."""
TEXTURE_EXPRESSIONS = 3
"""Number of the following channels, which are measured in the texture: horizontal gaze, vertical gaze, teeth."""
_FILE = "aam.safetensors"


@dataclass(frozen=True)
class AAMConfig:
    """Size of the model.

    Attributes:
        size_px: Side of the crop, divisible by 4.
        texture_hw: Height and width of textures, divisible by 4.
        width: Channels per row of W+, at least 8.
        shape_rows: Rows of the shape.
        texture_rows: Rows of the texture.
    """

    size_px: int = 160
    texture_hw: tuple[int, int] = (112, 96)
    width: int = 8
    shape_rows: int = 6
    texture_rows: int = 48

    def __post_init__(self) -> None:
        if self.size_px % 4 or any(side % 4 for side in self.texture_hw):
            raise ValueError(f"size_px and texture_hw must be divisible by 4, not {self.size_px}, {self.texture_hw}.")
        if self.width < 8:
            raise ValueError(f"width must be at least 8, to hold the attributes, not {self.width}.")

    @property
    def layers(self) -> int:
        """Number of rows of W+."""
        return SHAPE_ROW + self.shape_rows + self.texture_rows

    @property
    def levels(self) -> dict[str, tuple[int, int]]:
        """First and last row (inclusive) of each level."""
        texture = SHAPE_ROW + self.shape_rows
        single = {name: (row, row) for row, name in enumerate(SINGLE_ROWS)}
        return single | {"shape": (SHAPE_ROW, texture - 1), "texture": (texture, self.layers - 1)}

    @property
    def texture_components(self) -> int:
        """Number of texture components, for the rows of expression, light, attributes and texture."""
        return TEXTURE_EXPRESSIONS + self.width * (2 + self.texture_rows)


class ActiveAppearanceModel(nn.Module):
    """The fitted model. `styleid.lab.tasks.aam_fit` sets its buffers.

    Buffers: mean_shape (78, 2); shape_in (156, w * (3 + shape rows)) and shape_out, the map back; mean_texture (d,);
    basis_q int8 (k, d) with basis_scale (k, 1); texture_in (k, k), texture_out (k, k); shape_to_texture
    (pose and expression channels, k); warps and index maps between crop, texture and packed texture.

    Args:
        config: Size of the model.
        mask: bool (height, width), the part of textures that is stored; None stores all.
    """

    mean_shape: torch.Tensor
    shape_in: torch.Tensor
    shape_out: torch.Tensor
    mean_texture: torch.Tensor
    basis_q: torch.Tensor
    basis_scale: torch.Tensor
    texture_in: torch.Tensor
    texture_out: torch.Tensor
    shape_to_texture: torch.Tensor
    rectangle: torch.Tensor
    texture_warp: torch.Tensor
    crop_warp: torch.Tensor
    mask: torch.Tensor
    pack_index: torch.Tensor
    pack_index_half: torch.Tensor
    unpack_index: torch.Tensor
    unpack_index_half: torch.Tensor

    def __init__(self, config: AAMConfig | None = None, mask: np.ndarray | None = None) -> None:
        super().__init__()
        self.config = config = config or AAMConfig()
        height, width = config.texture_hw
        if mask is None:
            mask = np.ones((height, width), bool)
        packed = int(mask.sum())
        half = np.asarray(mask.reshape(height // 2, 2, width // 2, 2).any((1, 3)))
        packed_half = int(half.sum())
        self.packed = (packed, packed_half)
        k, shape_channels = config.texture_components, config.width * (3 + config.shape_rows)
        kept = config.width + SHAPE_EXPRESSIONS
        points = POINTS_WITH_FOREHEAD
        buffers = {
            "mean_shape": torch.zeros(points, 2),
            "shape_in": torch.zeros(2 * points, shape_channels),
            "shape_out": torch.zeros(shape_channels, 2 * points),
            "mean_texture": torch.zeros(packed + 2 * packed_half),
            "basis_q": torch.zeros(k, packed + 2 * packed_half, dtype=torch.int8),
            "basis_scale": torch.ones(k, 1),
            "texture_in": torch.zeros(k, k),
            "texture_out": torch.zeros(k, k),
            "shape_to_texture": torch.zeros(kept, k),
            "rectangle": torch.tensor([0.0, 0, config.size_px - 1, config.size_px - 1]),
            "texture_warp": torch.zeros(height // 4 * (width // 4), points),
            "crop_warp": torch.zeros((config.size_px // 4) ** 2, points),
            "mask": torch.from_numpy(mask),
            "pack_index": torch.from_numpy(np.nonzero(mask.reshape(-1))[0]),
            "pack_index_half": torch.from_numpy(np.nonzero(half.reshape(-1))[0]),
            "unpack_index": torch.from_numpy(nearest_packed(mask)),
            "unpack_index_half": torch.from_numpy(nearest_packed(half)),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value)

    # ------------------------------------------------------------------ shape

    def shape_codes(self, points: torch.Tensor) -> torch.Tensor:
        """Return the shape channels (n, w * (3 + shape rows)) of points (n, 78, 2)."""
        return (points - self.mean_shape).flatten(1) @ self.shape_in

    def points(self, wplus: torch.Tensor) -> torch.Tensor:
        """Return the points (n, 78, 2) of W+."""
        rows = torch.cat([wplus[:, :3], wplus[:, SHAPE_ROW : SHAPE_ROW + self.config.shape_rows]], 1)
        return (rows.flatten(1) @ self.shape_out).reshape(-1, POINTS_WITH_FOREHEAD, 2) + self.mean_shape

    # ---------------------------------------------------------------- texture

    def basis(self) -> torch.Tensor:
        """Return the texture basis, (k, d) float32."""
        return self.basis_q.float() * self.basis_scale

    def take_texture(self, images: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Warp images to the mean shape.

        Args:
            images: (n, c, s, s).
            points: (n, 78, 2), the shapes of the faces in them.

        Returns:
            Textures, (n, c, h, w).
        """
        height, width = self.config.texture_hw
        coarse = (self.texture_warp @ (points - self.mean_shape)).reshape(-1, height // 4, width // 4, 2)
        shift = functional.interpolate(coarse.permute(0, 3, 1, 2), (height, width), mode="bilinear", align_corners=True)
        x, y = self._texture_ticks()
        place = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1) + shift.permute(0, 2, 3, 1)
        grid = (place + 0.5) * (2 / self.config.size_px) - 1
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)

    def pack(self, textures: torch.Tensor) -> torch.Tensor:
        """Pack RGB textures (n, 3, h, w) in [-1, 1] as luma and chroma at half resolution, (n, d)."""
        r, g, b = textures.unbind(1)
        luma = 0.299 * r + 0.587 * g + 0.114 * b
        chroma = functional.avg_pool2d(torch.stack([(b - luma) * 0.564, (r - luma) * 0.713], 1), 2)
        blue, red = (c.flatten(1)[:, self.pack_index_half] for c in chroma.unbind(1))
        return torch.cat([luma.flatten(1)[:, self.pack_index], blue, red], 1)

    def pack_visible(self, visible: torch.Tensor) -> torch.Tensor:
        """Pack visibility textures (n, 1, h, w) like `pack`, (n, d)."""
        half = functional.avg_pool2d(visible, 2)[:, 0].flatten(1)[:, self.pack_index_half]
        return torch.cat([visible[:, 0].flatten(1)[:, self.pack_index], half, half], 1)

    def unpack(self, packed: torch.Tensor) -> torch.Tensor:
        """Unpack (n, d) to RGB textures (n, 3, h, w). Pixels outside the mask get the nearest value inside."""
        height, width = self.config.texture_hw
        n_luma, n_half = self.packed
        luma = packed[:, :n_luma][:, self.unpack_index].reshape(-1, 1, height, width)
        halves = [packed[:, n_luma + i * n_half : n_luma + (i + 1) * n_half] for i in (0, 1)]
        chroma = torch.stack([h[:, self.unpack_index_half].reshape(-1, height // 2, width // 2) for h in halves], 1)
        chroma = functional.interpolate(chroma, (height, width), mode="bilinear", align_corners=False)
        blue, red = chroma[:, :1] / 0.564, chroma[:, 1:] / 0.713
        return torch.cat([luma + red, luma - 0.194 * blue - 0.509 * red, luma + blue], 1)

    def _texture_ticks(self) -> tuple[torch.Tensor, torch.Tensor]:
        height, width = self.config.texture_hw
        x0, y0, x1, y1 = self.rectangle.unbind()
        x = x0 + (x1 - x0) * torch.arange(width, device=x0.device) / (width - 1)
        y = y0 + (y1 - y0) * torch.arange(height, device=x0.device) / (height - 1)
        return x, y

    # ----------------------------------------------------------------- W+ <->

    def encode(self, images: torch.Tensor, landmarks: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """Project crops onto the model and return W+ (n, layers, width).

        Args:
            images: (n, 3, s, s) in [-1, 1].
            landmarks: (n, 68, 2).
            visible: (n, 1, s, s) in [0, 1], 0 where the face is covered; the model fills these parts in.
        """
        points = with_forehead(landmarks)
        shape = self.shape_codes(points)
        textures = self.take_texture(torch.cat([images, visible], 1), points)
        packed, seen = self.pack(textures[:, :3]), self.pack_visible(textures[:, 3:])
        codes = self._project(packed, seen, self.expected_texture(shape))
        return self.join(shape, codes).clamp(-_FURTHEST, _FURTHEST)

    def expected_texture(self, shape: torch.Tensor) -> torch.Tensor:
        """Return the texture codes (n, k) that pose and expression of shape channels predict."""
        width, row = self.config.width, EXPRESSION_ROW * self.config.width
        kept = torch.cat([shape[:, :width], shape[:, row : row + SHAPE_EXPRESSIONS]], 1)
        return kept @ self.shape_to_texture

    def _project(self, packed: torch.Tensor, seen: torch.Tensor, first_guess: torch.Tensor) -> torch.Tensor:
        spread, composed = self._spread_basis()
        centred, reverse = packed - self.mean_texture, self.basis().T
        codes = first_guess
        for _ in range(4):
            codes = (seen * centred + (1 - seen) * ((codes / spread) @ composed)) @ reverse
        return codes

    def join(self, shape: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Combine a shape and a texture; `shape_codes` and `texture_codes` return them.

        Args:
            shape: (n, w * (3 + shape rows)), shape channels.
            codes: (n, k), texture codes.

        Returns:
            W+, (n, layers, width).
        """
        width, row = self.config.width, EXPRESSION_ROW * self.config.width
        texture = (codes - self.expected_texture(shape)) @ self.texture_in
        expression_codes, texture = texture[:, :TEXTURE_EXPRESSIONS], texture[:, TEXTURE_EXPRESSIONS:]
        filler = torch.zeros_like(shape[:, : width - SHAPE_EXPRESSIONS - TEXTURE_EXPRESSIONS])
        first = [shape[:, : row + SHAPE_EXPRESSIONS], expression_codes, filler, texture[:, : 2 * width]]
        flat = torch.cat([*first, shape[:, row + width :], texture[:, 2 * width :]], 1)
        return flat.reshape(-1, self.config.layers, width)

    def texture_codes(self, wplus: torch.Tensor) -> torch.Tensor:
        """Return the texture codes (n, k) of W+."""
        expression = wplus[:, EXPRESSION_ROW]
        expression_codes = expression[:, SHAPE_EXPRESSIONS : SHAPE_EXPRESSIONS + TEXTURE_EXPRESSIONS]
        rows = wplus[:, 3:SHAPE_ROW].flatten(1), wplus[:, SHAPE_ROW + self.config.shape_rows :].flatten(1)
        shape = torch.cat([wplus[:, 0], expression[:, :SHAPE_EXPRESSIONS]], 1)
        return torch.cat([expression_codes, *rows], 1) @ self.texture_out + shape @ self.shape_to_texture

    def forward(self, wplus: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Render W+ and return images (n, 3, s, s) in [-1, 1] and the face's coverage (n, 1, s, s) in [0, 1]."""
        mask = self.mask.float().expand(wplus.shape[0], 1, *self.config.texture_hw)
        rendered = self.place_texture(torch.cat([self.textures(wplus), mask], 1), self.points(wplus))
        return rendered[:, :3].clamp(-1, 1), rendered[:, 3:]

    def core(self) -> torch.Tensor:
        """Return a soft mask of the face in the texture, (1, 1, h, w): 0 at the outline, 1 well inside."""
        inside = functional.avg_pool2d(self.mask.float()[None, None], 15, 1, 7, count_include_pad=True)
        return ((inside - 0.6) / 0.4).clamp(0, 1)

    def render(self, wplus: torch.Tensor) -> torch.Tensor:
        """Render only the images of W+, (n, 3, s, s) in [-1, 1]."""
        return self.place_texture(self.textures(wplus), self.points(wplus)).clamp(-1, 1)

    def textures(self, wplus: torch.Tensor) -> torch.Tensor:
        """Return the RGB textures of W+, (n, 3, h, w)."""
        return self.unpack(self.texture_codes(wplus) @ self.basis() + self.mean_texture)

    def _spread_basis(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scale (k,) of each code and the basis multiplied by it, (k, d).

        Codes divided by the scale have similar ranges, so that their 8-bit product with the scaled basis is accurate.
        """
        spread = self.texture_out.norm(dim=0).clamp_min(1e-6)
        return spread, self.basis() * spread[:, None]

    def place_texture(self, textures: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Warp textures (n, c, h, w) from the mean shape to points, (n, c, s, s)."""
        return sampled(textures, self.places(points))

    def places(self, points: torch.Tensor) -> torch.Tensor:
        """Return the texture coordinates of each pixel of the crop, (n, 2, s, s), x and y from -1 to 1."""
        size, coarse = self.config.size_px, self.config.size_px // 4
        shift = (self.crop_warp @ (points - self.mean_shape)).reshape(-1, coarse, coarse, 2).permute(0, 3, 1, 2)
        ticks = torch.linspace(0, size - 1, coarse, device=shift.device)
        base = torch.stack(torch.meshgrid(ticks, ticks, indexing="ij")[::-1], 0)[None]
        place = base - shift
        for _ in range(_INVERSION_STEPS):
            grid = (place * (2 / (size - 1)) - 1).permute(0, 2, 3, 1)
            place = base - functional.grid_sample(shift, grid, padding_mode="border", align_corners=True)
        place = functional.interpolate(place, (size, size), mode="bilinear", align_corners=True)
        x0, y0, x1, y1 = self.rectangle.unbind()
        x, y = (place[:, 0] - x0) / (x1 - x0) * 2 - 1, (place[:, 1] - y0) / (y1 - y0) * 2 - 1
        return torch.stack([x, y], 1)


def save_aam(model: ActiveAppearanceModel, folder: Path) -> None:
    """Write a fitted model to a folder, completely or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / ".aam.partial"
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, partial, {"config": json.dumps(asdict(model.config))})
    partial.replace(folder / _FILE)


def load_aam(folder: Path) -> ActiveAppearanceModel:
    """Load a fitted model in evaluation mode; raises TrainingError if the folder holds none."""
    path = folder / _FILE
    if not path.is_file():
        raise TrainingError(f"{path} is missing. Fit the model first: styleid train aam --out {folder}")
    with safe_open(path, "pt") as file:
        record = json.loads(file.metadata()["config"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    config = AAMConfig(**record | {"texture_hw": tuple(record["texture_hw"])})
    model = ActiveAppearanceModel(config, tensors["mask"].numpy())
    model.load_state_dict(tensors, strict=True)
    return model.eval()


def with_forehead(landmarks: torch.Tensor) -> torch.Tensor:
    """Append ten forehead points to landmarks (n, 68, 2); `styleid.faces.geometry.with_forehead` is the reference."""
    brows, nose, chin = landmarks[:, 17:27], landmarks[:, 30:31], landmarks[:, 8:9]
    up = landmarks[:, 36:48].mean(1, keepdim=True) - chin
    up = up / (up * up).sum(-1, keepdim=True).sqrt()
    height = ((brows - nose) * up).sum(-1, keepdim=True)
    return torch.cat([landmarks, brows + up * height * FOREHEAD_RISE], 1)


def shape_warp(mean_shape: np.ndarray, places: np.ndarray, size_px: int) -> np.ndarray:
    """Return the matrix (m, points) that maps shape - mean shape to displacements.

    It is a thin-plate spline with knots at the mean shape and at fixed anchors on the crop's border.

    Args:
        mean_shape: (points, 2) in pixels of the crop.
        places: (m, 2), where the displacements are computed.
        size_px: Side of the crop.
    """
    knots = np.concatenate([mean_shape, border_anchors(size_px, ANCHORS_PER_SIDE)])
    return thin_plate_matrix(knots, places)[:, : len(mean_shape)].astype(np.float32)


def sampled(textures: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Sample textures (n, c, h, w) at places (n, 2, s, s) in [-1, 1], and return (n, c, s, s)."""
    return functional.grid_sample(textures, places.permute(0, 2, 3, 1), padding_mode="border", align_corners=True)


def nearest_packed(mask: np.ndarray) -> np.ndarray:
    """Return, for each pixel of a mask, the packed index of the nearest pixel inside it, int64 (pixels,)."""
    inside = mask.astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(1 - inside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    labels = np.asarray(labels, np.int64)
    number = np.zeros(labels.max() + 1, np.int64)
    number[labels[mask]] = np.arange(int(mask.sum()))
    return number[labels].reshape(-1)
