"""Quantisation of an exported network's convolutions and large matrix products to 8 bits, which is three times as fast.

Weights have 7 bits and a scale per output channel, activations 8 bits and a range that is measured on examples
(post-training quantisation, Krishnamoorthi 2018). Weights have 7 bits because processors without VNNI add two products
in 16 bits, which would overflow with 8; with 7, all processors compute the same. Other operations stay in floating
point, because sums over heat maps, warps and normalisation need the precision. Convolutions of the network's inputs
stay in floating point, too: they take little time, and quantising them cost the recogniser 6 of 1,000 pairs.
"""

from __future__ import annotations

import copy
import logging
import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from styleid.errors import TrainingError
from styleid.runtime import open_session

_AT_ONCE = 16
_CALIBRATING = 0.75
"""Share of the examples that ranges are measured on. The quantisation error is measured on the others."""
_MOST_ROUNDING = 0.1
_LARGE = 1 << 20
"""Size of a matrix, in numbers, from which reading it dominates the time of a product."""
_ANY_SIZE = 1 << 40

Examples = Mapping[str, np.ndarray[Any, Any]]


def quantize(model: Any, examples: Examples, *, products: bool = False) -> Any:
    """Return a quantised copy of an ONNX model.

    Convolutions are quantised, except those of the model's inputs. Batch normalisation is folded into convolutions.

    Args:
        model: An ONNX model.
        examples: Inputs by name, (m, ...) each, like those that the network will get.
        products: Also quantise products with large constant matrices; their outputs stay in floating point.

    Raises:
        TrainingError: If there are too few examples.
    """
    model = fold_normalization(model)
    if products:
        model = _fold_constants(model)
    inputs = {value.name for value in model.graph.input}
    inner = [node.name for node in model.graph.node if node.op_type == "Conv" and node.input[0] not in inputs]
    chosen = inner + _large_products(model) * products
    return quantize_nodes(model, _part(examples, calibrating=True), chosen, ("Conv", "MatMul"))


def quantize_nodes(model: Any, examples: Examples, nodes: list[str], kinds: tuple[str, ...]) -> Any:
    """Return a copy of an ONNX model in which some nodes compute with 8 bits.

    Args:
        model: An ONNX model.
        examples: Inputs by name, (m, ...) each, on which the ranges are measured.
        nodes: Names of the nodes.
        kinds: Their operators, of which the outputs of MatMul stay in floating point.
    """
    from onnx import load
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    reader: Any = _Batches(examples)
    with tempfile.TemporaryDirectory(prefix="styleid-") as folder, _quiet():
        path = Path(folder) / "quantized.onnx"
        quantize_static(
            model,
            path,
            reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(kinds),
            nodes_to_quantize=nodes,
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return load(path)


def fold_normalization(model: Any) -> Any:
    """Return a copy of an ONNX model whose batch normalisations are folded into the convolutions before them.

    Otherwise each would convert the output of an 8-bit convolution to floating point and back. A convolution's new bias
    is named after its weight, so that `styleid.lab.bundling.restore` finds it.
    """
    from onnxscript.rewriter import rewrite
    from onnxscript.rewriter.rules.common import fuse_batchnorm_into_conv_rule

    folded = rewrite(copy.deepcopy(model), pattern_rewrite_rules=[fuse_batchnorm_into_conv_rule])
    tensors = {tensor.name: tensor for tensor in folded.graph.initializer}
    for node in folded.graph.node:
        if node.op_type == "Conv" and len(node.input) == 3 and node.input[1].endswith(".weight"):
            name = node.input[1].removesuffix("weight") + "bias"
            if node.input[2] in tensors and name not in tensors:
                tensors[node.input[2]].name = name
                node.input[2] = name
    return folded


def _fold_constants(model: Any) -> Any:
    """Return a copy of an ONNX model in which expressions of weights alone are replaced by their values."""
    import onnxscript.optimizer as simplifier

    folded = copy.deepcopy(model)
    simplifier.fold_constants(folded, input_size_limit=_ANY_SIZE, output_size_limit=_ANY_SIZE)
    simplifier.remove_unused_nodes(folded)
    return folded


def _large_products(model: Any) -> list[str]:
    """Return the names of nodes that multiply by a large constant matrix."""
    large = {tensor.name for tensor in model.graph.initializer if math.prod(tensor.dims) >= _LARGE}
    return [node.name for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in large]


def rounding_error(whole: bytes, rounded: bytes, examples: Examples) -> float:
    """Return the quantisation error on the examples that were not used for calibration.

    Args:
        whole: File content of the floating-point model.
        rounded: File content of the quantised model.
        examples: The examples that were given to `quantize`.

    Returns:
        The root mean square difference in standard deviations of the output, for the worst output.

    Raises:
        TrainingError: If it exceeds a tenth, or there are too few examples.
    """
    inputs = _part(examples, calibrating=False)
    before, after = (open_session(content).run(None, dict(inputs)) for content in (whole, rounded))
    shares = [float(np.sqrt(((a - b) ** 2).mean()) / max(b.std(), 1e-12)) for a, b in zip(after, before, strict=True)]
    if not max(shares) <= _MOST_ROUNDING:
        raise TrainingError(
            f"Eight bits change an output by {max(shares):.2f} of its standard deviation; at most "
            f"{_MOST_ROUNDING} is allowed. Give more or more varied examples, or keep floating point."
        )
    return max(shares)


class _Batches:
    """Data reader that gives examples to ONNX Runtime's calibration in small batches."""

    def __init__(self, examples: Examples) -> None:
        self._examples = examples
        self._starts = iter(range(0, len(next(iter(examples.values()))), _AT_ONCE))

    def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
        start = next(self._starts, None)
        if start is None:
            return None
        return {name: values[start : start + _AT_ONCE] for name, values in self._examples.items()}


def _part(examples: Examples, *, calibrating: bool) -> dict[str, np.ndarray[Any, Any]]:
    count = len(next(iter(examples.values())))
    middle = round(_CALIBRATING * count)
    if not 0 < middle < count:
        raise TrainingError(f"8-bit quantisation needs at least 2 examples for its calibration, not {count}.")
    chosen = slice(None, middle) if calibrating else slice(middle, None)
    return {name: np.ascontiguousarray(values[chosen], np.float32) for name, values in examples.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantiser's advice to run preprocessing tools, which is not needed here."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
