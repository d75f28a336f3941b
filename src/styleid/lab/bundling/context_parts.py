"""Components of a context bundle: a checkpoint of the generator, another bundle's networks, and a target bank."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from styleid.bundles.bundle import Bundle
from styleid.bundles.registry import find_bundle
from styleid.lab.bundling.context_bank import appearance_codes, fit_context_bank
from styleid.lab.bundling.restore import appearance_model
from styleid.lab.data.context_pack import ContextPack
from styleid.lab.networks.aam import ActiveAppearanceModel
from styleid.lab.networks.appearance_encoder import AppearanceEncoder
from styleid.lab.networks.context_bundle import Geometry, Styles
from styleid.lab.networks.context_generator import ContextGenerator, config_of, load_weights
from styleid.lab.networks.context_mapping import ContextMapping
from styleid.lab.tasks.context_generator import read_weight_file
from styleid.lab.tasks.context_options import BankOptions
from styleid.lab.tasks.loop import read_state


@dataclass(frozen=True)
class Checkpoint:
    """A trained generator with its appearance encoder, in evaluation mode.

    Attributes:
        generator: The generator.
        appearance: The appearance encoder, or None.
        figures: The training's progress and last figures.
    """

    generator: ContextGenerator
    appearance: AppearanceEncoder | None
    figures: Mapping[str, float]

    @classmethod
    def read(cls, source: Path) -> Checkpoint:
        """Read a checkpoint.

        Args:
            source: A folder, or a .safetensors file of `ema.*` and `d.*`, which has no appearance encoder.

        Raises:
            TrainingError: If the checkpoint is missing, cannot be read, or holds other networks.
        """
        if not source.is_dir():
            return cls(_generator(read_weight_file(source)[0]), None, {})
        tensors = read_state(source, "average_appearance")
        widths = tuple(len(value) for name, value in tensors.items() if name.endswith("weight") and value.ndim == 4)
        appearance = AppearanceEncoder(len(tensors["code.bias"]), widths)
        appearance.load_state_dict({name: value.float() for name, value in tensors.items()})
        record = json.loads((source / "state.json").read_text(encoding="utf-8"))
        figures = {name: record[name] for name in ("step", "seconds", "images")}
        figures |= record["history"][-1] if record["history"] else {}
        return cls(_generator(read_state(source, "average")), appearance.eval().requires_grad_(False), figures)


def _generator(tensors: Mapping[str, torch.Tensor]) -> ContextGenerator:
    generator = ContextGenerator(config_of(tensors))
    load_weights(generator, tensors)
    return generator.eval().requires_grad_(False)


@dataclass(frozen=True)
class Parts:
    """Components of a context bundle.

    Attributes:
        pack: The context pack.
        base: The bundle that provides parser, recogniser, attribute network and appearance model.
        model: The appearance model of `base`.
        checkpoint: The trained generator.
        shapes: The linear maps between landmarks and geometry rows.
        styles: The map from identity and appearance to w.
        mapping: The mapping with the target bank.
        bank: Rows of the pack that form the bank.
    """

    pack: ContextPack
    base: Bundle
    model: ActiveAppearanceModel
    checkpoint: Checkpoint
    shapes: Geometry
    styles: Styles
    mapping: ContextMapping
    bank: np.ndarray[Any, Any]

    @property
    def size(self) -> int:
        """Length of flat W+."""
        config = self.checkpoint.generator.config
        return self.shapes.numbers + config.layers * config.width

    @classmethod
    def gather(cls, pack: ContextPack, source: Path, bundle: str | Path, options: BankOptions | None) -> Parts:
        """Read a checkpoint and a bundle, and choose the target bank.

        Args:
            pack: The context pack.
            source: The checkpoint, see `Checkpoint.read`.
            bundle: The base bundle, by name or folder.
            options: Options of the bank; None uses the defaults.

        Raises:
            TrainingError: If the checkpoint or the bundle cannot be used, or the bank would be empty.
        """
        base, checkpoint = Bundle(find_bundle(bundle)), Checkpoint.read(source)
        model = appearance_model(base)
        shapes, styles = Geometry(model).eval(), Styles(checkpoint.generator).eval()
        mapping, bank = fit_context_bank(pack, shapes, styles, checkpoint.appearance, options)
        return cls(pack, base, model, checkpoint, shapes, styles, mapping.eval(), bank)

    def codes(self, rows: np.ndarray[Any, Any]) -> torch.Tensor:
        """Return the appearance codes (n, k) of faces of the pack; 0 without appearance encoder."""
        if self.checkpoint.appearance is None:
            return torch.zeros(len(rows), self.styles.config.appearance)
        return appearance_codes(self.pack, rows, self.checkpoint.appearance)
