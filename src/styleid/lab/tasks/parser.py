"""Training of the parser: crop -> face labels (CelebAMask-HQ classes) and 68 landmarks.

Landmarks are learned on all faces from a teacher, labels on the photos that have label maps. Later in the run the
moving average of the parser labels the other faces (mean teacher, Tarvainen and Valpola 2017). Glasses and occluding
objects are drawn into the views, because few of the labelled photos show them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional

from styleid.faces import geometry
from styleid.lab.data import augment, occlude
from styleid.lab.data.pack import Pack
from styleid.lab.data.teachers import MIRRORED_68
from styleid.lab.networks.parser import CLASSES, ParserConfig, ParserNet
from styleid.lab.tasks.optim import autocast
from styleid.lab.tasks.student import StudentTask

_MIRRORED_LABELS = torch.tensor([0, 1, 2, 3, 5, 4, 7, 6, 9, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18])
_UNKNOWN = 255
_WEIGHTS = {"labels": 1.0, "landmarks": 5.0}
_CONFIDENT = 0.7


class ParserTask(StudentTask[ParserNet]):
    """Trains a `ParserNet` on a pack.

    Args:
        pack: Training and held-out faces; some must have label maps.
        config: Size of the parser; None takes the pack's crop size.
        batch: Images per step, half of them with label maps.
        learning_rate: Peak of the learning rate.
        device: cpu or cuda.
    """

    def __init__(
        self,
        pack: Pack,
        config: ParserConfig | None = None,
        batch: int = 64,
        learning_rate: float = 2e-3,
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(0)
        self.config = config or ParserConfig(pack.template.size_px)
        has_labels = np.diff(pack.labels_offsets) > 0
        self.labelled = _Faces(pack, np.nonzero(has_labels & ~pack.held_out)[0], device)
        self._others = _Faces(pack, np.nonzero(~has_labels & ~pack.held_out)[0], device)
        self._test = _Faces(pack, np.nonzero(pack.held_out)[0][:1024], device)
        self._test_labels = _Faces(pack, np.nonzero(has_labels & pack.held_out)[0], device)
        student = ParserNet(self.config)
        super().__init__("parser", student, _WEIGHTS, batch=batch, learning_rate=learning_rate, device=device)

    def terms(self, generator: torch.Generator, progress: float) -> Mapping[str, torch.Tensor]:
        """Return the cross-entropy of labels and the mean landmark error in inter-ocular distances."""
        half = self.images_per_step // 2
        jitter = augment.Jitter(degrees=15, shift=0.05, scale=0.12)
        parts = [faces.views(half, jitter, generator) for faces in (self.labelled, self._others)]
        images, landmarks = (torch.cat([part[i] for part in parts]) for i in (0, 1))
        labels = torch.cat([part[2] for part in parts])
        if progress > 0.3:
            labels[half:] = self._own_labels(images[half:], landmarks[half:])
        images, labels = occlude.draw_glasses(images, labels, landmarks, generator, chance=0.15)
        images, labels = occlude.draw_objects(images, labels, generator, chance=0.15)
        images = augment.degrade(augment.vary_light(images, generator), generator, 0.35)
        with autocast(self.device):
            logits, located = self._student(images.contiguous(memory_format=torch.channels_last))
        label_loss = functional.cross_entropy(logits, labels.long(), ignore_index=_UNKNOWN)
        eyes = (landmarks[:, 36:42].mean(1) - landmarks[:, 42:48].mean(1)).norm(dim=-1).clamp_min(8)
        point_loss = ((located - landmarks).abs().sum(-1) / eyes[:, None]).mean()
        return {"labels": label_loss, "landmarks": point_loss}

    def _own_labels(self, images: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        """Return the moving average's labels where it is confident; background inside the face's outline becomes skin.

        Without that correction the parser would reinforce a mistake such as taking skin for an occluding object.
        """
        self._average.eval()
        with torch.no_grad(), autocast(self.device):
            sure, labels = self._average(images)[0].softmax(1).max(1)
        labels = torch.where(sure > _CONFIDENT, labels, _UNKNOWN).to(torch.uint8)
        inside = torch.from_numpy(_skin_and_nose(landmarks.cpu().numpy(), labels.shape[-1])).to(labels.device)
        return torch.where((inside > 0) & ((labels == 0) | (labels == _UNKNOWN)), inside, labels)

    def evaluate(self) -> dict[str, float]:
        """Return the landmark error in inter-ocular distances and the IoU of some classes; see `Task.evaluate`."""
        self._average.eval()
        errors, overlap = [], np.zeros((2, CLASSES))
        with torch.no_grad():
            for images, landmarks, _ in self._test.plain(64):
                located = self._average(images)[1]
                eyes = (landmarks[:, 36:42].mean(1) - landmarks[:, 42:48].mean(1)).norm(dim=-1)
                errors.append((located - landmarks).norm(dim=-1).mean(1) / eyes)
            for images, _, labels in self._test_labels.plain(64):
                given = self._average(images)[0].argmax(1)
                for k in range(CLASSES):
                    both = (given == k) & (labels == k)
                    either = ((given == k) | (labels == k)) & (labels != _UNKNOWN)
                    overlap[:, k] += [float(both.sum()), float(either.sum())]
        iou = overlap[0] / np.maximum(overlap[1], 1)
        measured = {"landmark_error": float(torch.cat(errors).mean())} if errors else {}
        names = {1: "skin", 3: "glasses", 10: "mouth", 13: "hair", 14: "hat"}
        return measured | {f"iou_{name}": float(iou[k]) for k, name in names.items() if overlap[1, k]}

    def sheet(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Draw labels and landmarks of held-out faces."""
        self._average.eval()
        images, _, _ = next(self._test.plain(24))
        with torch.no_grad():
            logits, located = self._average(images)
        return draw_parses(images, logits, located)


def _skin_and_nose(landmarks: np.ndarray, side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return uint8 (n, side, side): 1 from jaw to forehead, 2 on the nose, else 0. Landmarks are for twice the side."""
    masks = np.zeros((len(landmarks), side, side), np.uint8)
    for mask, points in zip(masks, landmarks / 2, strict=True):
        for label, part in ((1, geometry.with_forehead(points)), (2, points[27:36])):
            cv2.fillConvexPoly(mask, cv2.convexHull((part * 16).round().astype(np.int32)), label, shift=4)
    return masks


def draw_parses(images: torch.Tensor, logits: torch.Tensor, landmarks: torch.Tensor) -> np.ndarray[Any, Any]:
    """Draw crops with their labels as a tint and their landmarks as dots.

    Args:
        images: (n, 3, s, s) in [-1, 1]; only complete rows of eight are drawn, so n is at least 8.
        logits: (n, classes, h, w).
        landmarks: (n, 68, 2) in pixels of the crops.

    Returns:
        uint8 RGB, eight crops per row.
    """
    palette = np.random.default_rng(3).integers(40, 255, (CLASSES, 3)).astype(np.float32)
    size = images.shape[-1]
    tiles = []
    for image, scores, points in zip(images, logits, landmarks, strict=True):
        rgb = ((image.permute(1, 2, 0).cpu().float().numpy() + 1) * 127.5).clip(0, 255)
        classes = scores.argmax(0).cpu().numpy().astype(np.uint8)
        enlarged = np.asarray(cv2.resize(classes, (size, size), interpolation=cv2.INTER_NEAREST), np.uint8)
        tile = (0.65 * rgb + 0.35 * palette[enlarged]).astype(np.uint8, order="C")
        for x, y in points.cpu().numpy():
            cv2.circle(tile, (round(float(x)), round(float(y))), 1, (0, 255, 0), -1)
        tiles.append(tile)
    rows = [np.concatenate(tiles[i : i + 8], 1) for i in range(0, len(tiles) // 8 * 8, 8)]
    return np.concatenate(rows)


class _Faces:
    """Faces of a pack as tensors. Views have labels at half their side, or `_UNKNOWN` if a face has none."""

    def __init__(self, pack: Pack, index: np.ndarray[Any, Any], device: str) -> None:
        self.size = pack.template.size_px
        self.device = device
        self.crops = torch.from_numpy(pack.crops(index)).to(device)
        self.landmarks = torch.from_numpy(pack.landmarks68[index]).to(device)
        self.labels: torch.Tensor | None = None
        maps = [pack.labels(int(i)) for i in index]
        if maps and all(m is not None for m in maps):
            self.labels = torch.from_numpy(np.stack([m for m in maps if m is not None])).to(device)

    def views(
        self, n: int, jitter: augment.Jitter, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        index = torch.randint(len(self.crops), (n,), generator=generator)
        identity = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
        matrices = augment.random_matrices(identity, n, self.size, jitter, generator)
        return self.cut(index, matrices)

    def plain(self, batch: int) -> Any:
        for part in torch.arange(len(self.crops)).split(batch):
            yield self.cut(part, torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(len(part), 2, 3))

    def cut(self, index: torch.Tensor, matrices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        index, matrices = index.to(self.device), matrices.to(self.device)
        images = augment.cut_views(self.crops[index], matrices, self.size)
        points = moved_landmarks(self.landmarks[index], matrices)
        half = self.size // 2
        if self.labels is None:
            return images, points, torch.full((len(index), half, half), _UNKNOWN, dtype=torch.uint8, device=self.device)
        return images, points, moved_labels(self.labels[index], matrices, self.size)


def moved_landmarks(landmarks: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Map landmarks from crops to views. Landmarks of mirrored views are reordered.

    Args:
        landmarks: (n, 68, 2) in pixels of the crops.
        matrices: (n, 2, 3), view to crop.

    Returns:
        (n, 68, 2) in pixels of the views.
    """
    linear = torch.linalg.inv(matrices[:, :, :2])
    points = (landmarks - matrices[:, None, :, 2]) @ linear.transpose(1, 2)
    return torch.where(_mirrored(matrices)[:, None, None], points[:, MIRRORED_68], points)


def moved_labels(labels: torch.Tensor, matrices: torch.Tensor, size_px: int) -> torch.Tensor:
    """Map label maps from crops to views. Left and right labels of mirrored views are exchanged.

    Args:
        labels: uint8 (n, h, w), label maps of the crops, CelebAMask-HQ classes.
        matrices: (n, 2, 3), view to crop.
        size_px: Side of crops and views.

    Returns:
        uint8 (n, size_px / 2, size_px / 2).
    """
    grid = augment.sampling_grid(matrices, size_px, size_px)
    centres = (grid[:, ::2, ::2] + grid[:, 1::2, 1::2]) / 2
    moved = functional.grid_sample(
        labels[:, None].float(), centres, mode="nearest", padding_mode="reflection", align_corners=False
    )[:, 0].to(torch.uint8)
    swapped = _MIRRORED_LABELS.to(moved.device)[moved.long()].to(torch.uint8)
    return torch.where(_mirrored(matrices)[:, None, None], swapped, moved)


def _mirrored(matrices: torch.Tensor) -> torch.Tensor:
    return torch.det(matrices[:, :, :2]) < 0
