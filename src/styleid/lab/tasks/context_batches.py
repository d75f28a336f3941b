"""Training batches of the context generator: views of faces with the generator's inputs.

The first half of a batch asks for the original face, the second half for another person's identity and face shape in
the original pose and expression. The generator's inputs are drawn by `styleid.pixel.guides`, as when photos are
anonymised.

Convention
----------
Views are float32 (n, c, s, s), RGB in [-1, 1]; landmarks are (n, 68, 2) pixels of the view; label maps hold
`styleid.pixel.guides.Part` values. Random numbers come from the generator that is passed in and are drawn on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional

from styleid.errors import TrainingError
from styleid.lab.data import augment
from styleid.lab.data.context_pack import ContextPack
from styleid.lab.networks.aam import SHAPE_ROW, ActiveAppearanceModel, with_forehead
from styleid.lab.networks.appearance_encoder import SIDE as APPEARANCE_SIDE
from styleid.lab.networks.appearance_encoder import without_light
from styleid.lab.tasks.context_views import BatchOptions, coarse_light, holes, varied
from styleid.lab.tasks.parser import moved_landmarks
from styleid.pixel import guides
from styleid.types import FloatArray

_JITTER = augment.Jitter(degrees=6, shift=0.03, scale=0.08)
_STILL = augment.Jitter(degrees=0, shift=0, scale=0, mirror=0)
_ALIKE, _ALIKE_SHARE = 48, 32
"""A target is drawn from this many targets that are nearest in age, sex and group, but from at most one in this many
of all."""
_LOOKS = (0.08, 8.0, 3.0, 3.0, 3.0, 3.0, 3.0)
"""Weights of a year, the sex and each group when people are compared."""
_FURTHEST = 3.0


_UNVARIED = BatchOptions((3, 3), 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Batch:
    """A batch. The first `own` faces are to be drawn as themselves, the others as targets.

    Attributes:
        own: Number of faces that are to be drawn as themselves.
        cells: Number of light cells per side.
        image: The views, (n, 3, s, s).
        context: Input, the view with the region cut out.
        region: Input, the region to draw, (n, 1, s, s) in [0, 1].
        lines: Input, lines of the face to draw, (n, 2, s, s) in [0, 1].
        own_lines: Lines of the original face, (n, 2, s, s) in [0, 1].
        glasses: Input, (n, 1, s, s) in [0, 1].
        light: Input, colour means by light cell, (n, 3, s, s).
        fine: Weights of the eyes and the inside of the mouth, (n, 1, s, s) in [0, 1].
        landmarks: Landmarks of the face to draw, (n, 68, 2).
        identity: Embeddings of the face to draw, (n, 128).
        second: The same by the second recogniser, (n, 128) or (n, 0).
        source_identity: Embeddings of the original face, (n, 128).
        source_second: The same by the second recogniser.
        looks: Attributes of the original face, estimated, (n, 7).
        appearance: Input of the appearance encoder, the visible face of the person to draw, (n, 4, 64, 64).
        to_view: (n, 2, 3), pixels of the pack's crop to pixels of the view.
    """

    own: int
    cells: int
    image: torch.Tensor
    context: torch.Tensor
    region: torch.Tensor
    lines: torch.Tensor
    own_lines: torch.Tensor
    glasses: torch.Tensor
    light: torch.Tensor
    fine: torch.Tensor
    landmarks: torch.Tensor
    identity: torch.Tensor
    second: torch.Tensor
    source_identity: torch.Tensor
    source_second: torch.Tensor
    looks: torch.Tensor
    appearance: torch.Tensor
    to_view: torch.Tensor

    def composed(self, drawn: torch.Tensor) -> torch.Tensor:
        """Return the composites of drawn faces (n, 3, s, s) with the views."""
        return self.image + (drawn - self.image) * self.region

    def to(self, device: str) -> Batch:
        """Return the batch on a device, with its maps in channels-last layout."""
        moved = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, torch.Tensor):
                layout = torch.channels_last if value.ndim == 4 else torch.preserve_format
                moved[field.name] = value.to(device, non_blocking=True, memory_format=layout)
        return replace(self, **moved)


class ContextFaces:
    """Faces of a pack as tensors on the training device, and the source of batches."""

    def __init__(
        self,
        pack: ContextPack,
        rows: np.ndarray[Any, Any],
        shapes: ActiveAppearanceModel,
        *,
        side: int,
        device: str = "cpu",
        options: BatchOptions | None = None,
        most_targets: int = 0,
    ) -> None:
        """Decode faces.

        Args:
            pack: The pack.
            rows: (n,), the faces whose views batches hold.
            shapes: The appearance model whose shape rows are swapped.
            side: Side of the views, 64, 128 or 256 px.
            device: cpu or cuda.
            options: Augmentation of `batch`; None uses the defaults.
            most_targets: Approximate number of the pack's targets to use; 0 uses all.

        Raises:
            TrainingError: If there is no face or no target, the crops are smaller than the views, or the pack has no
                label maps.
        """
        targets = np.nonzero(pack.is_target)[0]
        if len(rows) == 0 or len(targets) == 0:
            raise TrainingError(
                "The pack must hold faces to train on and generated faces without glasses, which serve as targets."
            )
        if side > 128 and pack.template.size_px < side:
            raise TrainingError(
                f"This pack's crops have {pack.template.size_px} px, too few to train at {side} px. Make a pack of "
                "larger crops: styleid train context-pack ... --inner-px 256 --margin-px 32 --sharp-only"
            )
        self.side, self.device, self.options = side, device, options or BatchOptions()
        self._drawn_side = max(side, 128)
        if most_targets:
            targets = targets[:: max(1, len(targets) // most_targets)]
        every = np.unique(np.concatenate([rows, targets]))
        self._size = pack.template.size_px
        self._crops = torch.from_numpy(pack.crops(every)).to(device)
        self._labels = torch.from_numpy(np.stack([_labels_of(pack, int(row)) for row in every])).to(device)
        self._landmarks = torch.from_numpy(pack.landmarks68[every]).to(device)
        self._identity = torch.from_numpy(pack.embedding[every].astype(np.float32))
        self._second = torch.from_numpy(pack.second[every].astype(np.float32))
        self._looks = torch.from_numpy(pack.looks[every].astype(np.float32))
        self._odds = torch.from_numpy(pack.odds()[rows])
        self._rows, self._targets = (torch.from_numpy(np.searchsorted(every, part)) for part in (rows, targets))
        known = torch.from_numpy(pack.known_looks()[every])
        self._alike = _most_alike(known, self._rows, self._targets)
        self._shapes = _ShapeSwap(shapes, self._landmarks.cpu(), self._size)
        self._to_own = _scaled(self._size, self._drawn_side)

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, n: int, generator: torch.Generator) -> Batch:
        """Draw an augmented batch of random faces.

        Args:
            n: Number of faces; the first half is to be drawn as themselves.
            generator: Source of random numbers.
        """
        places = torch.multinomial(self._odds, n, replacement=True, generator=generator)
        return self._batch(places, n // 2, self.options, _JITTER, generator)

    def plain(self, places: torch.Tensor, own: int, generator: torch.Generator) -> Batch:
        """Return a batch without augmentation.

        Args:
            places: (n,), indices into the `rows` of the constructor.
            own: Number of faces, the first ones, that are to be drawn as themselves.
            generator: Source of random numbers for the choice of targets.
        """
        return self._batch(places, own, _UNVARIED, _STILL, generator)

    def _batch(
        self, places: torch.Tensor, own: int, options: BatchOptions, jitter: augment.Jitter, generator: torch.Generator
    ) -> Batch:
        n, side, index = len(places), self._drawn_side, self._rows[places]
        pick = torch.randint(self._alike.shape[1], (n,), generator=generator)
        target = self._targets[self._alike[places, pick]]
        asked = torch.where(torch.arange(n) < own, index, target)
        matrices = augment.random_matrices(self._to_own, n, side, jitter, generator)
        at = index.to(self.device)
        image = self._views(at, matrices)
        labels = _moved_labels(self._labels[at], matrices.to(self.device), side, self._size)
        image, labels = varied(image, labels, options, generator)
        old = moved_landmarks(self._landmarks[at].cpu(), matrices)
        swapped = moved_landmarks(self._shapes.swapped(index, target), matrices)
        new = torch.where((torch.arange(n) < own)[:, None, None], old, swapped)
        covered = torch.where(torch.rand(n, 1, 1, generator=generator) < options.enlarged, swapped, new)
        seen_through = holes(n, side, options.neighbours, generator)
        maps = _drawn(labels.cpu().numpy(), old.numpy(), new.numpy(), covered.numpy(), side)
        drawn = {name: torch.from_numpy(value).to(self.device) for name, value in maps.items()}
        cells = int(torch.randint(options.cells[0], options.cells[1] + 1, (1,), generator=generator))
        kept = (drawn["region"] <= guides.CUT_FROM) & seen_through.to(self.device)
        shown = self._drawn_face(labels, drawn["region"])
        batch = Batch(
            own=own,
            cells=cells,
            image=image,
            context=image * kept,
            region=drawn["region"],
            lines=drawn["lines"],
            own_lines=drawn["own_lines"],
            glasses=drawn["glasses"],
            light=coarse_light(image, shown, cells) * drawn["region"],
            fine=drawn["fine"],
            landmarks=new,
            identity=self._identity[asked],
            second=self._second[asked],
            source_identity=self._identity[index],
            source_second=self._second[index],
            looks=self._looks[index],
            appearance=self._appearance(asked, jitter, generator),
            to_view=inverse(matrices),
        )
        return _halved(batch).to(self.device) if self.side < side else batch.to(self.device)

    def _views(self, at: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
        return augment.cut_views(self._crops[at], matrices.to(self.device), self._drawn_side)

    def _drawn_face(self, labels: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
        """Return where the light on the face is measured, (n, 1, s, s): visible face inside the region."""
        face = (labels == guides.Part.FACE)[:, None].float()
        return functional.interpolate(face, region.shape[-1], mode="nearest") * region

    def _appearance(self, asked: torch.Tensor, jitter: augment.Jitter, generator: torch.Generator) -> torch.Tensor:
        at = asked.to(self.device)
        base = _scaled(self._size, APPEARANCE_SIDE)
        matrices = augment.random_matrices(base, len(asked), APPEARANCE_SIDE, jitter, generator).to(self.device)
        small = functional.interpolate(_to_float(self._crops[at]), APPEARANCE_SIDE, mode="area")
        grid = augment.sampling_grid(matrices, APPEARANCE_SIDE, self._size)
        view = functional.grid_sample(small, grid, padding_mode="border", align_corners=False)
        shown = _moved_labels(self._labels[at], matrices, 2 * APPEARANCE_SIDE, self._size, APPEARANCE_SIDE)
        visible = (shown == guides.Part.FACE)[:, None].float()
        return torch.cat([without_light(view, visible), visible], 1)


class _ShapeSwap:
    """Combines one face's pose, placement and expression with another's shape, in the appearance model's rows."""

    def __init__(self, model: ActiveAppearanceModel, landmarks: torch.Tensor, size_px: int) -> None:
        self._model, self._scale = model, model.config.size_px / size_px
        with torch.no_grad():
            inner = (landmarks + 0.5) * self._scale - 0.5
            codes = [model.shape_codes(with_forehead(part)) for part in inner.split(1024)]
        rows = torch.cat(codes).clamp(-_FURTHEST, _FURTHEST)
        self._codes = rows.reshape(len(landmarks), -1, model.config.width)

    def swapped(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return landmarks (n, 68, 2) in pixels of the pack's crop, for indices of sources and targets (n,)."""
        rows = torch.cat([self._codes[source, :3], self._codes[target, 3:]], 1)
        model = self._model
        w_plus = torch.zeros(len(rows), model.config.layers, model.config.width)
        w_plus[:, :3], w_plus[:, SHAPE_ROW : SHAPE_ROW + model.config.shape_rows] = rows[:, :3], rows[:, 3:]
        with torch.no_grad():
            points = model.points(w_plus)[:, :68]
        return (points + 0.5) / self._scale - 0.5


def _labels_of(pack: ContextPack, row: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    labels = pack.labels(row)
    if labels is None:
        raise TrainingError("This pack has no label maps. Make a context pack: styleid train context-pack --help")
    return labels


def _most_alike(looks: torch.Tensor, rows: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return, for each row, the indices of the targets that are nearest in age, sex and group, (n, few)."""
    weighed = looks * torch.tensor(_LOOKS)
    few = min(_ALIKE, max(1, len(targets) // _ALIKE_SHARE))
    parts = []
    for part in rows.split(2048):
        apart = torch.cdist(weighed[part], weighed[targets])
        apart[part[:, None] == targets] = torch.inf
        parts.append(apart.topk(few, largest=False).indices)
    return torch.cat(parts)


def _scaled(from_px: int, to_px: int) -> torch.Tensor:
    """Return the (2, 3) matrix from pixels of a view with side to_px to pixels of the same crop with side from_px."""
    k = from_px / to_px
    return torch.tensor([[k, 0, (k - 1) / 2], [0, k, (k - 1) / 2]])


def inverse(matrices: torch.Tensor) -> torch.Tensor:
    """Return the inverses of (n, 2, 3) matrices."""
    linear = torch.linalg.inv(matrices[:, :, :2])
    return torch.cat([linear, -linear @ matrices[:, :, 2:]], 2)


def _to_float(crops: torch.Tensor) -> torch.Tensor:
    return crops.permute(0, 3, 1, 2).float() / 127.5 - 1


def _moved_labels(
    labels: torch.Tensor, matrices: torch.Tensor, view_px: int, crop_px: int, side: int | None = None
) -> torch.Tensor:
    """Return the views' label maps, uint8, at half the views' side or at `side`."""
    side = side or view_px // 2
    grid = augment.sampling_grid(matrices, side, crop_px) if side == view_px else _half_grid(matrices, view_px, crop_px)
    if side != grid.shape[1]:
        grid = functional.interpolate(grid.permute(0, 3, 1, 2), side, mode="bilinear").permute(0, 2, 3, 1)
    moved = functional.grid_sample(
        labels[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False
    )
    return moved[:, 0].to(torch.uint8)


def _half_grid(matrices: torch.Tensor, view_px: int, crop_px: int) -> torch.Tensor:
    grid = augment.sampling_grid(matrices, view_px, crop_px)
    return (grid[:, ::2, ::2] + grid[:, 1::2, 1::2]) / 2


def _drawn(
    labels: np.ndarray, old: FloatArray, new: FloatArray, covered: FloatArray, side: int
) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Draw the maps of each view: region, lines, own_lines, glasses and fine."""

    def draw(i: int) -> tuple[FloatArray, ...]:
        region = guides.face_region(labels[i], old[i], covered[i], side)
        return (
            region[None],
            guides.draw_lines(new[i], region),
            guides.draw_lines(old[i], region),
            guides.glasses_map(labels[i], region)[None],
            guides.fine_features(new[i], side)[None],
        )

    with _one_cv2_thread(), ThreadPoolExecutor() as pool:
        found = list(pool.map(draw, range(len(labels))))
    names = ("region", "lines", "own_lines", "glasses", "fine")
    return {name: np.stack(maps) for name, maps in zip(names, zip(*found, strict=True), strict=True)}


@contextmanager
def _one_cv2_thread() -> Iterator[None]:
    """Limit OpenCV to one thread per call, because the maps are small and several are drawn at once."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _halved(batch: Batch) -> Batch:
    """Return a batch at half its side."""
    maps = {
        name: functional.avg_pool2d(getattr(batch, name), 2)
        for name in ("image", "context", "region", "lines", "own_lines", "glasses", "light", "fine")
    }
    half = torch.tensor([[0.5, 0, -0.25], [0, 0.5, -0.25]])
    linear = half[:, :2] @ batch.to_view
    linear[:, :, 2] += half[:, 2]
    return replace(batch, **maps, landmarks=(batch.landmarks + 0.5) / 2 - 0.5, to_view=linear)
