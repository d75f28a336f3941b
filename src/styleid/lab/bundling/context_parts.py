"""What a context bundle is joined of: a checkpoint of the generator, another bundle's networks, and a bank."""

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
from styleid.lab.tasks.context_generator import read_trial
from styleid.lab.tasks.context_options import BankOptions
from styleid.lab.tasks.loop import read_state


@dataclass(frozen=True)
class Checkpoint:
    """A trained generator and its appearance encoder (None where there was none), in evaluation mode, with figures."""

    generator: ContextGenerator
    appearance: AppearanceEncoder | None
    figures: Mapping[str, float]

    @classmethod
    def read(cls, source: Path) -> Checkpoint:
        """Read a checkpoint's folder, or a .safetensors file of `ema.*` and `d.*`; raises TrainingError."""
        if not source.is_dir():
            return cls(_generator(read_trial(source)[0]), None, {})
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
    """What a bundle is joined of.

    base: the bundle whose parser, recogniser, attribute network and appearance model serve. bank: rows of the pack.
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
        """Numbers of W+."""
        config = self.checkpoint.generator.config
        return self.shapes.numbers + config.layers * config.width

    @classmethod
    def gather(cls, pack: ContextPack, source: Path, bundle: str | Path, options: BankOptions | None) -> Parts:
        """Read a checkpoint and a bundle, and choose the bank."""
        base, checkpoint = Bundle(find_bundle(bundle)), Checkpoint.read(source)
        model = appearance_model(base)
        shapes, styles = Geometry(model).eval(), Styles(checkpoint.generator).eval()
        mapping, bank = fit_context_bank(pack, shapes, styles, checkpoint.appearance, options)
        return cls(pack, base, model, checkpoint, shapes, styles, mapping.eval(), bank)

    def codes(self, rows: np.ndarray[Any, Any]) -> torch.Tensor:
        """Return appearance codes of faces of the pack, (n, numbers)."""
        if self.checkpoint.appearance is None:
            return torch.zeros(len(rows), self.styles.config.appearance)
        return appearance_codes(self.pack, rows, self.checkpoint.appearance)
