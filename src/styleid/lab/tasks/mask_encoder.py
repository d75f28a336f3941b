"""Training of the appearance model's mask encoder: labels -> W+, for the method pixel (after pSp's seg-to-face).

A label map contains the positions of a face's parts, but no colours. The encoder therefore predicts only the rows of
pose, placement, expression and shape. All other rows are 0, the mean face, and the target replaces them. So W+ contains
no measurement of the face's colours or texture.

Convention
----------
Labels are float (n, side, side), CelebAMask-HQ's class numbers as the parser gives them, at half the crop's side.
Landmarks are (n, 68, 2) pixels of the crop, pixel centres at integers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from styleid.lab.data import augment
from styleid.lab.data.pack import Pack
from styleid.lab.networks.aam import EXPRESSION_ROW, SHAPE_ROW, ActiveAppearanceModel, with_forehead
from styleid.lab.networks.mask_encoder import MaskEncoder, MaskEncoderConfig
from styleid.lab.networks.parser import CLASSES
from styleid.lab.tasks.optim import autocast
from styleid.lab.tasks.parser import draw_parses, moved_labels, moved_landmarks
from styleid.lab.tasks.student import StudentTask
from styleid.types import ImageRGB

_AT_ONCE = 64
_WEIGHTS = {"landmarks": 1.0, "codes": 0.02}
"""The small weight of `codes` selects the usual code among those that give the same landmarks."""


class MaskEncoderTask(StudentTask[MaskEncoder]):
    """Trains a `MaskEncoder` on a parser's label maps of a pack's faces and on the pack's landmarks.

    Args:
        pack: Training and held-out faces.
        model: The fitted appearance model.
        parser: A `ParserNet` for the pack's crops.
        config: Size of the encoder; None takes one that fits the model.
        batch: Images per step.
        learning_rate: Peak of the learning rate.
        device: cpu or cuda.
    """

    def __init__(
        self,
        pack: Pack,
        model: ActiveAppearanceModel,
        parser: nn.Module,
        config: MaskEncoderConfig | None = None,
        *,
        batch: int = 64,
        learning_rate: float = 2e-3,
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(0)
        self._model = model.to(device).eval().requires_grad_(False)
        self.config = config or MaskEncoderConfig.of(model)
        self._size = model.config.size_px
        rows = np.arange(len(pack))
        self._labels = _parsed(pack, parser.to(device).eval(), device)
        self._landmarks = torch.from_numpy(pack.landmarks68).to(device)
        self._train, self._test = (torch.from_numpy(rows[pack.held_out == held]) for held in (False, True))
        student = MaskEncoder(self.config)
        super().__init__("mask_encoder", student, _WEIGHTS, batch=batch, learning_rate=learning_rate, device=device)

    def terms(self, generator: torch.Generator, progress: float) -> Mapping[str, torch.Tensor]:
        """Return the mean landmark error in inter-ocular distances and the mean squared error of the codes."""
        del progress
        index = self._train[torch.randint(len(self._train), (self.images_per_step,), generator=generator)]
        jitter = augment.Jitter(degrees=12, shift=0.04, scale=0.08)
        matrices = augment.random_matrices(torch.eye(2, 3), len(index), self._size, jitter, generator)
        index, matrices = index.to(self.device), matrices.to(self.device)
        landmarks = moved_landmarks(self._landmarks[index], matrices)
        labels = moved_labels(self._labels[index], matrices, self._size)
        with autocast(self.device):
            codes = self._student(labels.float())
        errors, apart = self._compare(codes, landmarks)
        return {"landmarks": errors.mean(), "codes": apart.mean()}

    def _compare(self, codes: torch.Tensor, landmarks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return, for each face, the mean landmark error in inter-ocular distances and the squared error of codes."""
        points = with_forehead(landmarks)
        eyes = (landmarks[:, 36:42].mean(1) - landmarks[:, 42:48].mean(1)).norm(dim=-1).clamp_min(8)
        errors = (self._model.points(codes) - points).norm(dim=-1).mean(1) / eyes
        config = self.config
        wanted = self._model.shape_codes(points).clamp(-3, 3).unflatten(1, (-1, config.width))
        given = torch.cat([codes[:, : EXPRESSION_ROW + 1], codes[:, SHAPE_ROW : SHAPE_ROW + config.shape_rows]], 1)
        return errors, (given - wanted).square().mean((1, 2))

    def evaluate(self) -> dict[str, float]:
        """Return the landmark error in inter-ocular distances; `*_of_mean` is the same figure for the mean face."""
        self._average.eval()
        sums = torch.zeros(2)
        with torch.no_grad():
            for index in self._test.split(_AT_ONCE):
                codes, landmarks = self._average(self._labels[index].float()), self._landmarks[index]
                for k, one in enumerate((codes, torch.zeros_like(codes))):
                    sums[k] += self._compare(one, landmarks)[0].sum().cpu()
        given, of_mean = (sums / max(len(self._test), 1)).tolist()
        return {"landmark_error": given, "landmark_error_of_mean": of_mean}

    def sheet(self) -> ImageRGB:
        """Draw held-out label maps over the mean face, which is drawn with the predicted pose, expression and shape."""
        index = self._test[: max(8, min(24, len(self._test)) // 8 * 8)]
        with torch.no_grad():
            codes = self._average.eval()(self._labels[index].float())
            drawn = self._model(codes)[0]
        logits = functional.one_hot(self._labels[index].long(), CLASSES).permute(0, 3, 1, 2).float()
        return draw_parses(drawn, logits, self._model.points(codes)[:, :68])


def _parsed(pack: Pack, parser: nn.Module, device: str) -> torch.Tensor:
    """Return a parser's label maps of a pack's faces, uint8 (n, s / 2, s / 2)."""
    parts = []
    for rows in np.array_split(np.arange(len(pack)), max(1, len(pack) // _AT_ONCE)):
        crops = torch.from_numpy(pack.crops(rows)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad(), autocast(device):
            parts.append(parser(crops.contiguous(memory_format=torch.channels_last))[0].argmax(1).to(torch.uint8))
    return torch.cat(parts)
