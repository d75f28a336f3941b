"""Options of the context generator's training and of its bundle, and the weights of its losses.

torch is imported only where it is used, so that the command line can show the help without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from styleid.bundles.registry import APPEARANCE_MODEL
from styleid.errors import OptionError
from styleid.lab.tasks.device import resolve_device

RESOLUTIONS = (64, 128, 256)


@dataclass(frozen=True)
class ContextOptions:
    """Options of the context generator's training.

    data: the context pack, an .npz file made by `styleid train context-pack`.
    resolution: side of the images, 64, 128 or 256 px; train at 64 px first and continue at 128 px with `start_from`.
    start_from: initial weights, a checkpoint's folder of any resolution or a .safetensors file of `ema.*` and `d.*`;
      ignored if `resume_from` holds a checkpoint.
    teachers: folder with a second recogniser (identity_mobilefacenet.safetensors) for the losses; without it only the
      bundle's recogniser is used.
    bundle: bundle whose parser, recogniser and attribute network the losses use, a built-in bundle's name or a folder.
    batch: images per step, an even number of at least 4.
    rate: learning rate of the generator; the discriminator's is half of it. Use 6e-4 for random initial weights and
      4e-4 later.
    light_cells: largest number of light cells per side, at least 2; each batch draws a number from 2 to this.
    r1: weight of the gradient penalty (R1) on photos; 0 turns it off.
    average: decay of the moving average of the weights per step, between 0 and 1; with the default batch, 0.99 extends
      over about 3,000 images and 0.998 over 16,000.
    whole: store all weights and moments in float32 (about 150 MB), so that resuming changes nothing.
    compiled: use torch.compile, which pays off on CUDA in runs of more than a few minutes.
    device: auto, cpu, cuda or cuda:N; auto uses cuda if there is a CUDA device.
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
            raise OptionError("resolution", f"it must be one of {RESOLUTIONS}, not {self.resolution}.")
        if self.batch < 4 or self.batch % 2:
            raise OptionError("batch", f"it must be even and at least 4, not {self.batch}.")
        if self.rate <= 0:
            raise OptionError("rate", f"it must be positive, not {self.rate}.")
        if self.light_cells < 2:
            raise OptionError("light_cells", f"it must be at least 2, not {self.light_cells}.")
        if self.r1 < 0:
            raise OptionError("r1", f"it must be at least 0, not {self.r1}.")
        if not 0 < self.average < 1:
            raise OptionError("average", f"it must be between 0 and 1, not {self.average}.")

    @property
    def torch_device(self) -> str:
        """The torch device, with auto resolved; raises OptionError if it cannot be used."""
        return resolve_device(self.device)


@dataclass(frozen=True)
class Weights:
    """Weights of the loss terms; docs/training.md describes them.

    Some terms are computed only every few steps (`*_every`) and are then multiplied by that number.

    Attributes:
        pixels: L1 inside the region.
        fine: Factor of `pixels` at the eyes and inside the mouth.
        features: L1 of the discriminator's features.
        own_identity: Identity of faces that are drawn as themselves.
        light: Colour means by light cell.
        identity: 1 - cosine to the target's embedding.
        second: The same by the second recogniser.
        source: Cosine to the embedding of the photo's face, above a margin.
        landmarks: Landmark displacement above a margin, in inter-ocular distances.
        expression: Opening of mouth and eyes, rise of the mouth's corners.
        looks: Age, sex and group.
        r1_every: Steps between gradient penalties.
        own_every: Steps between identity and landmark terms of faces that are drawn as themselves.
        looks_every: Steps between `looks` terms.
        second_every: Steps between terms of the second recogniser.
        second_faces: Number of faces per batch that the second recogniser gets.
    """

    pixels: float = 8.0
    fine: float = 3.0
    features: float = 4.0
    own_identity: float = 1.0
    light: float = 4.0
    identity: float = 3.0
    second: float = 1.0
    source: float = 2.0
    landmarks: float = 6.0
    expression: float = 3.0
    looks: float = 0.2
    r1_every: int = 8
    own_every: int = 4
    looks_every: int = 2
    second_every: int = 2
    second_faces: int = 8

    def of(self, term: str) -> float:
        """Return the factor of a term of the generator's loss, by the term's name."""
        own, looks, second = self.own_every, self.looks_every * self.looks, self.second_every
        table = {
            "adversarial": 1.0,
            "own_identity": own * self.own_identity,
            "own_landmarks": own * self.landmarks,
            "own_expression": own * self.expression,
            "second": second * self.second,
            "second_source": second * self.source,
            "age": looks,
            "sex": looks,
            "group": looks,
        }
        return table[term] if term in table else getattr(self, term)


@dataclass(frozen=True)
class BankOptions:
    """Options of the target bank.

    most_alike: upper limit of the cosine similarity of any two people's embeddings.
    apart: share of the mean embedding that is subtracted from each embedding, 0 to 1, because generated people are more
      similar to each other than real ones.
    variety: typical length of the random vector that is added to a target's unit embedding; 0 adds none.
    truncation: share of the distance from the mean of people of the same age, sex and group that targets keep, 0 to 1;
      1 turns the truncation trick off.
    """

    most_alike: float = 0.6
    apart: float = 0.6
    variety: float = 0.7
    truncation: float = 0.8

    def __post_init__(self) -> None:
        if self.variety < 0:
            raise OptionError("variety", f"it must be at least 0, not {self.variety}.")
        for name in ("apart", "truncation"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(name, f"it must be between 0 and 1, not {getattr(self, name)}.")
