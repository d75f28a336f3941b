"""The networks of a bundle that go on into its next version as they are, byte for byte.

What `restore` brings back of an 8-bit network is the rounded one. To round it again, by other faces, would change it a
little with every version, for nothing: where only the bank, the swapper or the expressions are new, the rest stays.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from styleid.bundles.bundle import Bundle
from styleid.bundles.registry import find_bundle
from styleid.errors import TrainingError
from styleid.lab.bundling.restore import appearance_model
from styleid.lab.export.network import ExportReport
from styleid.lab.networks.aam import load_aam

UNCHANGED = {
    "parser": "parser",
    "identity": "identity",
    "attributes": "attributes",
    "mask_encoder": "mask-encoder",
    "generator": "refiner",
    "inverter": "",
}
"""Networks that stay, by role, with the checkpoint that each has weights of besides the appearance model's."""


class Unchanged:
    """Hand on networks of a bundle, by name or folder.

    Raises TrainingError where a checkpoint of theirs has been trained since it was restored, the appearance model is
    another, or the bundle lacks a network; BundleError where the bundle is altered.
    """

    def __init__(self, bundle: str | Path, checkpoints: Path) -> None:
        self._bundle = Bundle(find_bundle(bundle))
        for role, checkpoint in UNCHANGED.items():
            if not self._bundle.has(role):
                raise TrainingError(f"{self._bundle.folder} has no {role} to hand on.")
            self._bundle.check(role)
            if not checkpoint:
                continue
            state = json.loads((checkpoints / checkpoint / "state.json").read_text(encoding="utf-8"))
            if state["step"] != int(self._bundle.spec.quality.get(checkpoint, {}).get("step", -1)):
                raise TrainingError(
                    f"{checkpoints / checkpoint} was trained on since it was restored from {self._bundle.folder}: "
                    f"its network is not the bundle's. Leave --unchanged out."
                )

        own, theirs = load_aam(checkpoints / "aam").state_dict(), appearance_model(self._bundle).state_dict()
        if own.keys() != theirs.keys() or not all(torch.equal(own[name], theirs[name]) for name in own):
            raise TrainingError(f"{checkpoints / 'aam'} is not the appearance model of {self._bundle.folder}.")

    def take(self, role: str, folder: Path) -> ExportReport:
        """Copy a network's file into a folder, and return what is known of it."""
        spec, quality = self._bundle.spec.networks[role], self._bundle.spec.quality
        shutil.copy(self._bundle.folder / spec.file, folder / spec.file)
        parity, rounding = (float(quality.get(name, {}).get(role, 0.0)) for name in ("parity", "8 bits"))
        return ExportReport(folder / spec.file, parity, spec.bytes, spec.opset, spec.sha256, rounding)


def with_numbers(report: ExportReport, name: str, values: np.ndarray[Any, Any]) -> ExportReport:
    """Give a buffer of an exported network, one of those that stay float32, other numbers, and return the new report.

    Raises TrainingError where the file has no such numbers of that shape.
    """
    from onnx import load, numpy_helper

    program = load(report.path)
    for tensor in program.graph.initializer:
        if tensor.name == f"network.{name}" and tuple(tensor.dims) == values.shape:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
            break
    else:
        raise TrainingError(f"{report.path} holds no {name} of {values.shape} that could be set.")
    content = program.SerializeToString(deterministic=True)
    report.path.write_bytes(content)
    return replace(report, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
