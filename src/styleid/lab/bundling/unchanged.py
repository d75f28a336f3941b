"""Networks of a bundle that are copied into its next version byte for byte.

`restore` returns the rounded weights of an 8-bit network. Quantising them again, calibrated on other faces, would
change the network a little with every version. If only the bank, the swapper or the expressions are new, the other
networks are therefore copied.
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
"""Roles of the networks that are copied, and the checkpoint of each besides the appearance model's."""


class Unchanged:
    """A bundle whose networks are copied into its next version.

    Args:
        bundle: The bundle's name or folder.
        checkpoints: Folder of the checkpoints that were restored from it.

    Raises:
        TrainingError: If a network's checkpoint has been trained since it was restored, the appearance model in
            `checkpoints` is not the bundle's, or the bundle lacks a network.
        BundleError: If the bundle is missing or altered.
    """

    def __init__(self, bundle: str | Path, checkpoints: Path) -> None:
        self._bundle = Bundle(find_bundle(bundle))
        for role, checkpoint in UNCHANGED.items():
            if not self._bundle.has(role):
                raise TrainingError(f"The bundle {self._bundle.folder} has no {role} to copy. Leave `unchanged` out.")
            self._bundle.check(role)
            if not checkpoint:
                continue
            state = json.loads((checkpoints / checkpoint / "state.json").read_text(encoding="utf-8"))
            if state["step"] != int(self._bundle.spec.quality.get(checkpoint, {}).get("step", -1)):
                raise TrainingError(
                    f"{checkpoints / checkpoint} has been trained since it was restored from {self._bundle.folder}, so "
                    "its network is not the bundle's. Leave `unchanged` out."
                )
        own, theirs = load_aam(checkpoints / "aam").state_dict(), appearance_model(self._bundle).state_dict()
        if own.keys() != theirs.keys() or not all(torch.equal(own[name], theirs[name]) for name in own):
            raise TrainingError(
                f"{checkpoints / 'aam'} is not the appearance model of {self._bundle.folder}. Leave `unchanged` out."
            )

    def take(self, role: str, folder: Path) -> ExportReport:
        """Copy the file of a network, by role, into a folder, and return its report from the bundle's records."""
        spec, quality = self._bundle.spec.networks[role], self._bundle.spec.quality
        shutil.copy(self._bundle.folder / spec.file, folder / spec.file)
        parity, rounding = (float(quality.get(name, {}).get(role, 0.0)) for name in ("parity", "8 bits"))
        return ExportReport(folder / spec.file, parity, spec.bytes, spec.opset, spec.sha256, rounding)


def with_numbers(report: ExportReport, name: str, values: np.ndarray[Any, Any]) -> ExportReport:
    """Replace a float32 buffer of an exported network in its file.

    Args:
        report: The exported file.
        name: The buffer's name.
        values: The new numbers, of the same shape.

    Returns:
        The report with the new size and hash.

    Raises:
        TrainingError: If the file has no such float32 buffer of this shape.
    """
    from onnx import load, numpy_helper

    program = load(report.path)
    for tensor in program.graph.initializer:
        if tensor.name == f"network.{name}" and tuple(tensor.dims) == values.shape:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
            break
    else:
        raise TrainingError(f"{report.path} holds no buffer {name} of shape {values.shape}.")
    content = program.SerializeToString(deterministic=True)
    report.path.write_bytes(content)
    return replace(report, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
