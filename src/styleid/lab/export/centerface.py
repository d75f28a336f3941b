"""Make CenterFace with 8-bit arithmetic from its weights in float32.

Convolutions, the activations after them and sums have 8 bits, so that nothing is converted between them. The four last
convolutions, which give scores and boxes, and the transposed convolutions stay in floating point. The input is uint8:
pixels need no rounding.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from styleid.errors import TrainingError
from styleid.faces.centerface import DIGEST, kernels
from styleid.lab.export.quantize import fold_normalization, quantize_nodes
from styleid.runtime import tidy_model

_KINDS = ("Conv", "Relu", "Add")
_OPSET = 13
"""Version of ONNX's operators: the first with a scale for each channel of a weight."""


def eight_bit_centerface(weights: Path, views_rgb: UInt8[np.ndarray, "n h w 3"]) -> bytes:
    """Return the content of an ONNX file with CenterFace in 8 bits.

    Its input is `views_rgb`, uint8 (n, height, width, 3), whose sides are multiples of 32.

    Args:
        weights: The ONNX file in float32.
        views_rgb: Views like those that the network will get, on which ranges are measured; sides as above.

    Raises:
        TrainingError: If the views contain no black or no white pixel: then the input's range would not be 0 to 255.
    """
    if not (len(views_rgb) and views_rgb.min() == 0 and views_rgb.max() == 255):
        raise TrainingError("The views for the ranges must contain pixels of 0 and of 255. Give more or other views.")
    model = _prepared(weights)
    image = model.graph.input[0].name
    examples = {image: views_rgb.transpose(0, 3, 1, 2).astype(np.float32)}
    eight_bit = quantize_nodes(model, examples, _inner(model.graph), _KINDS)
    _take_pixels(eight_bit.graph, image)
    return bytes(eight_bit.SerializeToString(deterministic=True))


def without_weights(content: bytes) -> bytes:
    """Return a complete 8-bit network without the weights of its convolutions, for `faces.centerface.with_weights`.

    Args:
        content: What `eight_bit_centerface` returns.
    """
    import onnx

    model, digest = onnx.load_from_string(content), hashlib.sha256()
    for kernel in kernels(model.graph):
        digest.update(kernel.raw_data)
        kernel.ClearField("raw_data")
    model.metadata_props.add(key=DIGEST, value=digest.hexdigest())
    return bytes(model.SerializeToString(deterministic=True))


def _prepared(weights: Path) -> Any:
    """Return the float32 model with names for its nodes, and without normalisations and unused weights."""
    import onnx
    from onnx.version_converter import convert_version

    model = onnx.load_from_string(tidy_model(weights, free_dimensions=True))
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    model = fold_normalization(convert_version(model, _OPSET))
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


def _inner(graph: Any) -> list[str]:
    """Return the names of the nodes to quantise: all but those that compute the outputs, and what these read."""
    makers = {name: node for node in graph.node for name in node.output}
    last = [makers[value.name] for value in graph.output]
    last = [makers[node.input[0]] if node.op_type == "Sigmoid" else node for node in last]
    apart = {node.name for node in last} | {makers[node.input[0]].name for node in last}
    return [node.name for node in graph.node if node.op_type in _KINDS and node.name not in apart]


def _take_pixels(graph: Any, image: str) -> None:
    """Let a quantised graph read uint8 pixels (n, height, width, 3) in place of floats (n, 3, height, width)."""
    from onnx import TensorProto, helper, numpy_helper

    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    (rounding,) = (node for node in graph.node if node.input[0] == image)
    scale, zero = (float(values[name]) for name in rounding.input[1:])
    if not (math.isclose(scale, 1.0, abs_tol=1e-6) and zero == 0):
        raise TrainingError(f"The input's scale is {scale} and its zero {zero:.0f}, not 1 and 0.")
    rounded = rounding.output[0]
    graph.node.remove(rounding)
    graph.node.insert(0, helper.make_node("Transpose", ["views_rgb"], [rounded], perm=[0, 3, 1, 2]))
    del graph.input[:]
    shape = ["batch", "height", "width", 3]
    graph.input.append(helper.make_tensor_value_info("views_rgb", TensorProto.UINT8, shape))
