"""The trained networks that draw and evaluate faces of the appearance model, loaded from their checkpoints."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from styleid.lab.networks.aam import ActiveAppearanceModel, load_aam
from styleid.lab.networks.aam_networks import AAMGenerator
from styleid.lab.networks.attributes import AttributesConfig, AttributesNet
from styleid.lab.networks.identity import IdentityNet
from styleid.lab.networks.parser import ParserConfig, ParserNet
from styleid.lab.networks.refiner import Refiner, RefinerConfig
from styleid.lab.tasks.loop import load_network
from styleid.lab.tasks.optim import AutocastModule


@dataclass(frozen=True)
class Trained:
    """Networks in evaluation mode, with frozen weights.

    Attributes:
        parser: Labels and landmarks.
        identity: The recogniser.
        attributes: Age, sex and group.
        generator: The appearance model with its refiner.
    """

    parser: ParserNet
    identity: nn.Module
    attributes: nn.Module
    generator: AAMGenerator

    @property
    def model(self) -> ActiveAppearanceModel:
        """The appearance model behind the generator."""
        return self.generator.model

    def with_autocast(self) -> Trained:
        """Return a copy for use in a training: refiner, recogniser and attribute network run under `autocast`."""
        generator = copy.deepcopy(self.generator)
        generator.refiner = AutocastModule(generator.refiner)
        judges = {name: AutocastModule(copy.deepcopy(getattr(self, name))) for name in ("identity", "attributes")}
        return replace(self, generator=generator, **judges)

    @classmethod
    def load(cls, checkpoints: Path) -> Trained:
        """Load the checkpoints aam, parser, identity, attributes and refiner.

        Args:
            checkpoints: Folder that holds a folder of each name.

        Raises:
            TrainingError: If one is missing or does not fit.
        """
        model = load_aam(checkpoints / "aam")
        side = model.config.size_px
        refiner = load_network(Refiner(RefinerConfig(side)), checkpoints / "refiner", "refiner")
        return cls(
            load_network(ParserNet(ParserConfig(side)), checkpoints / "parser", "parser"),
            load_network(IdentityNet(), checkpoints / "identity", "identity"),
            load_network(AttributesNet(AttributesConfig(side)), checkpoints / "attributes", "attributes"),
            AAMGenerator(model, refiner).eval().requires_grad_(False),
        )
