"""Write src/styleid/bundles/known_outputs.json: outputs of the built-in bundles' networks for synthetic inputs.

Run it after the networks of a built-in bundle have changed:

    python tools/known_outputs.py

The numbers are computed by the onnx package's reference evaluator, which is written in NumPy, with functions of PyTorch
and NumPy for what is slow or fails there; neither shares code with ONNX Runtime. Needs the extra lab.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from torch.nn import functional

from styleid.bundles.bundle import Bundle
from styleid.bundles.example_inputs import example_inputs
from styleid.bundles.known_outputs import KNOWN, difference, digest, most_difference, scale_of
from styleid.bundles.registry import built_in

_DIGITS = 5
_OPSET = 19
"""Lowest opset whose operators the evaluator has all; their meaning is unchanged since 18."""


class GridSample(OpRun):
    """Sample at a grid's points, between pixels."""

    def _run(self, x, grid, mode=None, padding_mode=None, align_corners=None):
        image, points = torch.from_numpy(x), torch.from_numpy(grid)
        sampled = functional.grid_sample(image, points, mode, padding_mode, align_corners=bool(align_corners))
        return (sampled.numpy(),)


class AveragePool(OpRun):
    """Average over windows; pixels beyond the edge are 0."""

    def _run(self, x, kernel_shape=None, pads=None, strides=None, count_include_pad=None, **others):
        before = pads[: len(kernel_shape)]
        if others.get("ceil_mode") or not count_include_pad or before != pads[len(kernel_shape) :]:
            raise NotImplementedError(f"AveragePool with {others}, pads {pads}")
        return (functional.avg_pool2d(torch.from_numpy(x), kernel_shape, strides, before).numpy(),)


class Resize(OpRun):
    """Enlarge an image linearly, or by whole numbers to the nearest pixel."""

    def _run(self, x, roi=None, scales=None, sizes=None, mode=None, coordinate_transformation_mode=None, **others):
        how = (mode, coordinate_transformation_mode)
        size = [round(n * factor) for n, factor in zip(x.shape, scales, strict=True)] if sizes is None else sizes
        whole = all(wanted % n == 0 for wanted, n in zip(size, x.shape, strict=True))
        image, target = torch.from_numpy(x), [int(n) for n in size[2:]]
        if how == ("nearest", "asymmetric") and whole:
            return (functional.interpolate(image, target).numpy(),)
        if how not in {("linear", "half_pixel"), ("linear", "align_corners")} or others.get("antialias"):
            raise NotImplementedError(f"Resize with {how}, {others}")
        corners = how[1] == "align_corners"
        return (functional.interpolate(image, target, mode="bilinear", align_corners=corners).numpy(),)


class GatherElements(OpRun):
    """Take elements along an axis; the evaluator's own fails for axes longer than NumPy's choose allows."""

    def _run(self, data, indices, axis=None):
        return (np.take_along_axis(data, indices, axis or 0),)


_OWN = [GridSample, AveragePool, Resize, GatherElements]


def main() -> int:
    """Compute the outputs, compare them with ONNX Runtime's, and write them."""
    known, too_far = {}, []
    for folder in built_in().values():
        bundle = Bundle(folder)
        for role, entry in bundle.spec.networks.items():
            outputs, apart = _outputs(bundle, role)
            known[entry.sha256] = [_record(output) for output in outputs]
            if apart > most_difference(folder / entry.file) / 2:
                too_far.append(role)
            print(f"{bundle.spec.name} {role}: {apart:.2g} of a standard deviation from ONNX Runtime")
    if too_far:
        print(f"{', '.join(too_far)}: too far for a check at twice that; nothing was written.", file=sys.stderr)
        return 1
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(values)}" for name, values in known.items())
    KNOWN.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    print(f"wrote {KNOWN}")
    return 0


def _outputs(bundle: Bundle, role: str) -> tuple[list[np.ndarray], float]:
    """Return the evaluator's outputs of a network, and the distance of ONNX Runtime's from them."""
    inputs = example_inputs(bundle, role)
    model = onnx.load(bundle.folder / bundle.spec.networks[role].file)
    model.opset_import[0].version = _OPSET
    outputs = ReferenceEvaluator(model, new_ops=_OWN).run(None, inputs)
    given = bundle.run(role, **inputs)
    return outputs, max(difference(a, b) for a, b in zip(given, outputs, strict=True))


def _record(output: np.ndarray) -> dict[str, Any]:
    digests = [[_short(value) for value in row] for row in digest(output)]
    return {"scale": _short(scale_of(output)), "digest": digests}


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


if __name__ == "__main__":
    sys.exit(main())
