"""Options of the context generator's training and of its bundle, and the weights of its losses.

No torch is imported before it is needed, so that the command line can show the help without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from styleid.bundles.registry import APPEARANCE_MODEL
from styleid.errors import TrainingError

RESOLUTIONS = (64, 128, 256)


@dataclass(frozen=True)
class ContextOptions:
    """Choose how the context generator is trained.

    data: the pack, an .npz file that `styleid train context-pack` made.
    resolution: side of the images, 64, 128 or 256 px. Begin at 64, and go on at 128 with --start-from.
    start_from: weights to begin with, a checkpoint's folder of any resolution or a .safetensors file of `ema.*` and
      `d.*`; of no effect where --resume-from holds a checkpoint.
    teachers: folder of a second recogniser (identity_mobilefacenet.safetensors) for the losses.
    bundle: whose parser, recogniser and attribute network judge; a built-in bundle's name, or a folder.
    batch: images per step.
    rate: learning rate of the generator; the discriminator has half of it. 6e-4 from nothing, 4e-4 later.
    light_cells: most cells of light a side; at least 2 are drawn.
    r1: weight of the gradient penalty.
    average: how much of the moving average a step leaves; 0.99 reaches over some 3,000 images, 0.998 over 16,000.
    whole: keep weights and moments in float32 too, about 120 MB, so that a resume loses nothing.
    compiled: use torch.compile; pays on CUDA in runs of more than some minutes.
    device: cpu or cuda; auto takes cuda where there is one.
    """

    data: Path
    resolution: int = 128
    start_from: Path | None = None
    teachers: Path | None = None
    bundle: str = APPEARANCE_MODEL
    batch: int = 32
    rate: float = 4e-4
    light_cells: int = 4
    r1: float = 5.0
    average: float = 0.998
    whole: bool = False
    compiled: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.resolution not in RESOLUTIONS:
            raise TrainingError(f"--resolution is one of {RESOLUTIONS}, not {self.resolution}.")
        if self.batch < 4 or self.batch % 2 or self.light_cells < 2:
            raise TrainingError("--batch is even and at least 4, and --light-cells at least 2.")

        if not 0 < self.average < 1:
            raise TrainingError(f"--average lies between 0 and 1, not at {self.average}.")

    @property
    def torch_device(self) -> str:
        """The device, with auto resolved."""
        if self.device != "auto":
            return self.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Weights:
    """Weigh the losses. Some are computed in some steps only (`*_every`), and then count so many times as much.

    second_faces: how many faces of a batch the second recogniser looks at.
    """

    pixels: float = 8.0
    fine: float = 3.0
    features: float = 4.0
    own_identity: float = 1.0
    light: float = 4.0
    identity: float = 3.0
    second: float = 1.0
    strange: float = 2.0
    landmarks: float = 6.0
    expression: float = 3.0
    looks: float = 0.2
    r1_every: int = 8
    own_every: int = 4
    looks_every: int = 2
    second_every: int = 2
    second_faces: int = 8

    def of(self, term: str) -> float:
        """Return what a term of the generator's loss is multiplied by."""
        own, looks, second = self.own_every, self.looks_every * self.looks, self.second_every
        table = {
            "fool": 1.0,
            "own_identity": own * self.own_identity,
            "own_landmarks": own * self.landmarks,
            "own_expression": own * self.expression,
            "second": second * self.second,
            "second_strange": second * self.strange,
            "age": looks,
            "sex": looks,
            "group": looks,
        }
        return table[term] if term in table else getattr(self, term)


@dataclass(frozen=True)
class BankOptions:
    """Choose a bank.

    most_alike: cosine that no two people's embeddings reach. apart: share of the mean embedding of all that is taken
    out of each, since people drawn by one network have more in common than people do. variety: length of what chance
    adds to a target's unit embedding. truncation: how far from the bank's mean targets stay, as a share.
    """

    most_alike: float = 0.6
    apart: float = 0.6
    variety: float = 0.7
    truncation: float = 0.8
