"""Fit of the active appearance model to a pack: linear algebra only, a few minutes on two cores.

The blocks of W+ are fitted one after another, each on the residual of those before it. For a named quantity (yaw, mouth
opening, age, ...) a ridge regression finds the directions that predict it, and everything that correlates with these
directions is removed before the next block is fitted. The last blocks are principal components of what remains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from styleid.faces import geometry
from styleid.lab.data.pack import Pack
from styleid.lab.networks.aam import (
    EXPRESSION_ROW,
    SHAPE_EXPRESSIONS,
    AAMConfig,
    ActiveAppearanceModel,
    shape_warp,
    with_forehead,
)
from styleid.lab.tasks.optim import autocast

FACE_CLASSES = (1, 2, 4, 5, 6, 7, 10, 11, 12)
_HULL_MARGIN_PX = 6
_BASIS_FACES = 9000
_FILL_ROUNDS = 3
_LEAST_DEVIATION = 0.3
"""Directions of codes with a smaller standard deviation are ignored in `fit_expressions`."""
Array = np.ndarray[Any, np.dtype[np.floating[Any]]]


@dataclass(frozen=True)
class Block:
    """A linear block: `read` (d, k) maps data to coordinates of unit variance, `write` (k, d) maps them back."""

    read: Array
    write: Array

    def residual(self, data: Array) -> Array:
        """Return the part of data (n, d) that the block does not explain."""
        return data - data @ self.read @ self.write


def fit_aam(
    pack: Pack, parser: nn.Module | None, config: AAMConfig | None = None, say: Callable[[str], None] = print
) -> ActiveAppearanceModel:
    """Fit the model to a pack's training faces.

    Args:
        pack: The pack.
        parser: A `ParserNet` for the pack's crops; it finds where faces are covered. None treats all as uncovered.
        config: Size of the model; None takes the pack's crop size.
        say: Called with the name of each stage.
    """
    config = config or AAMConfig(pack.template.size_px)
    train = ~pack.held_out
    points = geometry.with_forehead(pack.landmarks68)
    mean = points[train].mean(0)
    model = _empty_model(config, mean)
    say("textures")
    packed, seen = _textures(model, pack, parser)
    say("shape")
    shape = _fit_shape(model, points[train], pack.landmarks68[train])
    say("texture basis")
    codes = _fit_basis(model, packed, seen, train)
    say("texture blocks")
    _fit_texture(model, codes, shape, pack=pack, train=train, packed=packed)
    return model


def face_visibility(parser: nn.Module, crops: torch.Tensor) -> torch.Tensor:
    """Return the probability that each pixel shows the uncovered face, (n, 1, s, s).

    Args:
        parser: A `ParserNet`.
        crops: (n, 3, s, s) in [-1, 1].
    """
    with torch.no_grad(), autocast(str(crops.device)):
        labels = parser(crops.contiguous(memory_format=torch.channels_last))[0].softmax(1)
        face = labels[:, list(FACE_CLASSES)].sum(1, keepdim=True)
    return nn.functional.interpolate(face, crops.shape[-2:], mode="bilinear")


def _empty_model(config: AAMConfig, mean: np.ndarray) -> ActiveAppearanceModel:
    last, (height, width) = config.size_px - 1, config.texture_hw
    rectangle = rectangle_around(mean, config)
    low, high = rectangle[:2], rectangle[2:]
    x, y = np.linspace(low[0], high[0], width), np.linspace(low[1], high[1], height)
    hull = cv2.convexHull(((mean - low) / (high - low) * [width - 1, height - 1] * 16).round().astype(np.int32))
    mask = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(mask, hull, 1, shift=4)
    model = ActiveAppearanceModel(config, cv2.dilate(mask, np.ones((5, 5), np.uint8)) > 0)
    coarse_x, coarse_y = (np.linspace(ticks[0], ticks[-1], len(ticks) // 4) for ticks in (x, y))
    crop_ticks = np.linspace(0, last, config.size_px // 4)
    for name, (xs, ys) in {"texture_warp": (coarse_x, coarse_y), "crop_warp": (crop_ticks, crop_ticks)}.items():
        places = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)
        _set(model, name, shape_warp(mean, places, config.size_px))
    _set(model, "mean_shape", mean)
    _set(model, "rectangle", rectangle)
    return model


def rectangle_around(mean: np.ndarray, config: AAMConfig) -> Array:
    """Return the rectangle of the mean shape's frame that textures cover, (4,): x0, y0, x1, y1 in pixels.

    Args:
        mean: (78, 2), the mean shape.
        config: Size of the model.
    """
    low = np.maximum(mean.min(0) - _HULL_MARGIN_PX, 0)
    return np.array([*low, *np.minimum(mean.max(0) + _HULL_MARGIN_PX, config.size_px - 1)])


def _textures(model: ActiveAppearanceModel, pack: Pack, parser: nn.Module | None) -> tuple[np.ndarray, np.ndarray]:
    d = len(model.mean_texture)
    packed, seen = np.empty((len(pack), d), np.float32), np.empty((len(pack), d), np.uint8)
    landmarks = torch.from_numpy(pack.landmarks68)
    for start in range(0, len(pack), 128):
        rows = np.arange(start, min(start + 128, len(pack)))
        crops = torch.from_numpy(pack.crops(rows)).permute(0, 3, 1, 2).float() / 127.5 - 1
        valid = torch.from_numpy(np.stack([pack.valid_mask(i) for i in rows]))[:, None].float() / 255
        visible = valid if parser is None else valid * face_visibility(parser, crops)
        textures = model.take_texture(torch.cat([crops, visible], 1), with_forehead(landmarks[rows]))
        packed[rows] = model.pack(textures[:, :3]).numpy()
        seen[rows] = (model.pack_visible(textures[:, 3:]) > 0.5).numpy()
    return packed, seen


def pose_features(landmarks: np.ndarray) -> Array:
    """Return two measures of yaw (by the face's sides and by the nose) and pitch of landmarks (n, 68, 2), (n, 3)."""
    face = geometry.expression(landmarks)
    sideways = (landmarks[:, 30, 0] - landmarks[:, 36:48, 0].mean(1)) / geometry.inter_ocular(landmarks)
    return np.stack([face.yaw, sideways, face.pitch], 1)


def placement_features(landmarks: np.ndarray, mean: np.ndarray) -> Array:
    """Return shift in x and y, scale and rotation of landmarks (n, 68, 2) relative to a mean shape (68, 2), (n, 4)."""
    centred, reference = landmarks - landmarks.mean(1, keepdims=True), mean - mean.mean(0)
    z, z0 = centred @ np.array([1, 1j]), reference @ np.array([1, 1j])
    turn = (z * np.conj(z0)).sum(1) / (np.abs(z0) ** 2).sum()
    shift = landmarks.mean(1) - mean.mean(0)
    return np.stack([*shift.T, turn.real - 1, turn.imag], 1)


def expression_features(landmarks: np.ndarray) -> Array:
    """Return mouth opening, smile and the opening of each eye of landmarks (n, 68, 2), (n, 4)."""
    unit = geometry.inter_ocular(landmarks)

    def between(a: int, b: int) -> np.ndarray:
        return np.linalg.norm(landmarks[:, a] - landmarks[:, b], axis=-1) / unit

    face = geometry.expression(landmarks)
    eyes = (between(37, 41) + between(38, 40)) / 2, (between(43, 47) + between(44, 46)) / 2
    return np.stack([face.mouth_opening, face.smile, *eyes], 1)


def fit_expressions(wplus: np.ndarray, asked: Array, came: Array, rows: int) -> Array:
    """Fit `AAMGenerator.express`, which corrects the expression channels so that new faces match their originals.

    Directions in which the codes hardly vary are ignored: the regression could not estimate them, and a photo whose
    code lies far out in such a direction would get a distorted expression.

    Args:
        wplus: (n, layers, width), codes of new faces.
        asked: (n, 4), `expression_features` of the original faces.
        came: (n, 4), `expression_features` of the new faces.
        rows: Number of rows of W+, from the first, that influence the expression.

    Returns:
        (rows * width + 1, 4); the last row is the constant.
    """
    expression_columns = slice(EXPRESSION_ROW * wplus.shape[2], EXPRESSION_ROW * wplus.shape[2] + SHAPE_EXPRESSIONS)
    codes = wplus[:, :rows].reshape(len(wplus), -1).astype(np.float64)
    others = np.delete(codes, expression_columns, 1)
    variances, axes = np.linalg.eigh(np.cov(others.T))
    axes = axes[:, variances > _LEAST_DEVIATION**2]
    known = np.concatenate([codes[:, expression_columns], others @ axes, np.ones((len(codes), 1))], 1)
    given, missed = (np.linalg.lstsq(known, values, rcond=None)[0] for values in (came, asked - came))
    share = missed @ np.linalg.inv(given[:SHAPE_EXPRESSIONS])
    own, rest = share[:SHAPE_EXPRESSIONS] + np.eye(SHAPE_EXPRESSIONS), axes @ share[SHAPE_EXPRESSIONS:-1]
    return np.concatenate([rest[: expression_columns.start], own, rest[expression_columns.start :], share[-1:]])


def _fit_shape(model: ActiveAppearanceModel, points: np.ndarray, landmarks: np.ndarray) -> Array:
    """Set the shape's matrices. Return the shape channels that predict texture, pose and expression, (n, w + 4)."""
    width, mean = model.config.width, model.mean_shape.numpy()
    rest = data = (points - mean).reshape(len(points), -1).astype(np.float64)
    blocks = []
    for wanted in (
        pose_features(landmarks),
        placement_features(landmarks, mean[:68]),
        expression_features(landmarks),
    ):
        blocks.append(reading_block(rest, np.pad(wanted, ((0, 0), (0, width - wanted.shape[1])))))
        rest = blocks[-1].residual(rest)
    blocks.append(component_block(rest, width * model.config.shape_rows))
    read, write = chain(blocks)
    _set(model, "shape_in", read)
    _set(model, "shape_out", write)
    row = EXPRESSION_ROW * width
    channels = [*range(width), *range(row, row + SHAPE_EXPRESSIONS)]
    return (data @ read)[:, channels]


def _fit_basis(model: ActiveAppearanceModel, packed: np.ndarray, seen: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Set the texture basis and mean, filling in hidden pixels, and return the codes of all faces, (n, k) float32."""
    k = model.config.texture_components
    weight = seen[train].sum(0).clip(1)
    mean = (packed[train] * seen[train]).sum(0) / weight
    filled = np.where(seen > 0, packed - mean, 0).astype(np.float32)
    rng = np.random.default_rng(0)
    rows = np.sort(rng.permutation(np.nonzero(train)[0])[:_BASIS_FACES])
    basis = np.zeros((k, filled.shape[1]), np.float32)
    for _ in range(_FILL_ROUNDS):
        torch.manual_seed(0)
        basis = torch.svd_lowrank(torch.from_numpy(filled[rows]), q=k + 16, niter=2)[2][:, :k].T.contiguous().numpy()
        for start in range(0, len(filled), 1024):
            part = slice(start, start + 1024)
            hidden = seen[part] == 0
            for _ in range(2):
                rebuilt = (filled[part] @ basis.T) @ basis
                filled[part] = np.where(hidden, rebuilt, filled[part])
    scale = np.abs(basis).max(1, keepdims=True) / 127
    quantised = (basis / scale).round().astype(np.int8)
    _set(model, "mean_texture", mean)
    model.basis_q.copy_(torch.from_numpy(quantised))
    _set(model, "basis_scale", scale)
    return filled @ (quantised * scale).T.astype(np.float32)


def _fit_texture(
    model: ActiveAppearanceModel,
    codes: np.ndarray,
    shape: Array,
    *,
    pack: Pack,
    train: np.ndarray,
    packed: np.ndarray,
) -> None:
    width = model.config.width
    data = codes[train].astype(np.float64)
    expected = ridge(shape, data)
    rest = data - shape @ expected
    measured = np.concatenate([_gaze(model, packed[train]), _teeth(model, packed[train])], 1)
    blocks = [reading_block(rest, measured)]
    rest = blocks[-1].residual(rest)
    blocks.append(_light_block(model, rest))
    rest = blocks[-1].residual(rest)
    labelled = np.isfinite(pack.age[train])
    age, sex, group = (column[train][labelled].astype(np.float64) for column in (pack.age, pack.sex, pack.group))
    beard = _beard(model, packed[train])[labelled]
    wanted = np.stack([age, age < 12, sex, *(group == k for k in (1, 2, 3)), *beard.T], 1).astype(np.float64)
    blocks.append(reading_block(rest, wanted[:, :width], rows=labelled, penalty=3e-3))
    rest = blocks[-1].residual(rest)
    blocks.append(component_block(rest, width * model.config.texture_rows))
    read, write = chain(blocks)
    _set(model, "texture_in", read)
    _set(model, "texture_out", write)
    _set(model, "shape_to_texture", expected)


def _gaze(model: ActiveAppearanceModel, packed: np.ndarray) -> Array:
    """Return the position of the dark part of the eyes relative to the eye, horizontal and vertical, (n, 2)."""
    luma = np.stack([t.numpy() for t in _luma_images(model, packed)])
    x0, y0, x1, y1 = model.rectangle.numpy()
    height, width = model.config.texture_hw
    mean = (model.mean_shape.numpy() - [x0, y0]) / [x1 - x0, y1 - y0] * [width - 1, height - 1]
    places = []
    for eye in (geometry.LEFT_EYE, geometry.RIGHT_EYE):
        low, high = np.floor(mean[eye].min(0)).astype(int), np.ceil(mean[eye].max(0)).astype(int) + 1
        patch = luma[:, low[1] : high[1], low[0] : high[0]]
        dark = np.maximum(np.quantile(patch, 0.5, axis=(1, 2), keepdims=True) - patch, 0) + 1e-4
        dark /= dark.sum((1, 2), keepdims=True)
        y, x = np.mgrid[-1 : 1 : patch.shape[1] * 1j, -1 : 1 : patch.shape[2] * 1j]
        places.append(np.stack([(dark * x).sum((1, 2)), (dark * y).sum((1, 2))], 1))
    return np.mean(places, axis=0)


def _teeth(model: ActiveAppearanceModel, packed: np.ndarray) -> Array:
    """Return the brightness of the inside of the mouth minus that of the lips, (n, 1)."""
    x0, y0, x1, y1 = model.rectangle.numpy()
    height, width = model.config.texture_hw
    mean = (model.mean_shape.numpy() - [x0, y0]) / [x1 - x0, y1 - y0] * [width - 1, height - 1]
    lips, inside = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    for mask, points in ((lips, mean[48:60]), (inside, mean[60:68])):
        cv2.fillPoly(mask, [(points * 16).round().astype(np.int32)], 1, shift=4)
    luma = np.stack([t.numpy() for t in _luma_images(model, packed)])
    return (luma[:, inside > 0].mean(1) - luma[:, (lips > 0) & (inside == 0)].mean(1))[:, None]


def _beard(model: ActiveAppearanceModel, packed: np.ndarray) -> Array:
    """Return the brightness of the cheeks minus that of the upper lip and of the chin, (n, 2)."""
    x0, y0, x1, y1 = model.rectangle.numpy()
    height, width = model.config.texture_hw
    mean = (model.mean_shape.numpy() - [x0, y0]) / [x1 - x0, y1 - y0] * [width - 1, height - 1]
    luma = np.stack([t.numpy() for t in _luma_images(model, packed)])

    def patch(points: np.ndarray) -> np.ndarray:
        x, y = points.mean(0).round().astype(int)
        return luma[:, y - 2 : y + 3, x - 3 : x + 4].mean((1, 2))

    cheeks = (patch(mean[[2, 31, 40]]) + patch(mean[[14, 35, 47]])) / 2
    lip = (patch(mean[[31, 49, 50]]) + patch(mean[[35, 53, 52]])) / 2
    return np.stack([cheeks - lip, cheeks - patch(mean[[57, 8, 8]])], 1)


def _luma_images(model: ActiveAppearanceModel, packed: np.ndarray) -> Any:
    height, width = model.config.texture_hw
    for row in packed:
        yield torch.from_numpy(row[: model.packed[0]])[model.unpack_index].reshape(height, width)


def _light_block(model: ActiveAppearanceModel, rest: Array) -> Block:
    """Return the block of strongly blurred textures, which describe light and tone."""
    basis = model.basis().numpy()
    n_luma, n_half = model.packed
    height, width = model.config.texture_hw
    soft = []
    for row in basis:
        image = np.zeros((height, width), np.float32)
        image[model.mask.numpy()] = row[:n_luma]
        blurred = cv2.GaussianBlur(image, (0, 0), width / 6)
        chroma = row[n_luma:].reshape(2, n_half).mean(1) * 8
        soft.append(np.concatenate([cv2.resize(blurred, (8, 8), interpolation=cv2.INTER_AREA).reshape(-1), chroma]))
    soft_basis = np.stack(soft).astype(np.float64)
    _, _, directions = np.linalg.svd(rest @ soft_basis, full_matrices=False)
    return block_from_reading(rest, soft_basis @ directions[: model.config.width].T)


# ------------------------------------------------------------------ linear blocks


def ridge(inputs: Array, outputs: Array, penalty: float = 1e-3) -> Array:
    """Return the ridge regression (a, b) of outputs (n, b) on inputs (n, a); penalty: relative to their variance."""
    strength = penalty * len(inputs) * max(float(inputs.var(0).mean()), 1e-12)
    return np.linalg.solve(inputs.T @ inputs + strength * np.eye(inputs.shape[1]), inputs.T @ outputs)


def reading_block(data: Array, wanted: Array, rows: np.ndarray | None = None, penalty: float = 1e-4) -> Block:
    """Return the block whose coordinates predict given quantities.

    Args:
        data: (n, d).
        wanted: (m, k), the quantities. Those that do not vary give channels that are 0.
        rows: bool (n,), the m rows of data for which they are known; None means all.
        penalty: See `ridge`.
    """
    known = data if rows is None else data[rows]
    spread = wanted.std(0)
    scaled = (wanted - wanted.mean(0)) / np.where(spread > 1e-9, spread, 1.0)
    return block_from_reading(data, ridge(known - known.mean(0), scaled, penalty))


def block_from_reading(data: Array, reading: Array) -> Block:
    """Return the block of a linear map (d, k), scaled to unit variance, and its regression back to the data (n, d)."""
    spread = (data @ reading).std(0)
    alive = spread > 1e-6
    read = np.where(alive, reading / np.where(alive, spread, 1.0), 0.0)
    return Block(read, ridge(data @ read, data, 1e-6))


def component_block(data: Array, count: int) -> Block:
    """Return the block of the first `count` principal components of data (n, d), scaled to unit variance."""
    covariance = data.T @ data / len(data)
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(values)[::-1][:count]
    spread = np.sqrt(np.maximum(values[order], 0))
    alive = spread > 1e-6 * spread[0]
    read = np.where(alive, vectors[:, order] / np.where(alive, spread, 1.0), 0.0)
    return Block(read, np.where(alive[:, None], (vectors[:, order] * spread).T, 0.0))


def chain(blocks: list[Block]) -> tuple[Array, Array]:
    """Join blocks, each fitted on the residual of those before, to one `read` (d, k) and one `write` (k, d) matrix."""
    d = len(blocks[0].read)
    remaining, reads = np.eye(d), []
    for block in blocks:
        reads.append(remaining @ block.read)
        remaining = remaining @ (np.eye(d) - block.read @ block.write)
    return np.concatenate(reads, 1), np.concatenate([block.write for block in blocks])


def _set(model: ActiveAppearanceModel, name: str, value: np.ndarray) -> None:
    buffer = getattr(model, name)
    buffer.copy_(torch.from_numpy(np.ascontiguousarray(value)).to(buffer.dtype).reshape(buffer.shape))
