"""Export of a network to one ONNX file with half-precision weights, and comparison of the file with torch.

Weights are rounded to float16 first. The file stores exactly the rounded values, each followed by a Cast to float32
that ONNX Runtime folds when it loads the file. The comparison with torch uses the rounded weights, too, so it shows the
exporter's errors and not the rounding. If calibration examples are given, convolutions are then quantised to 8 bits
(`styleid.lab.export.quantize`), and the quantisation error is measured on other examples.

Convention
----------
The first axis of every input and output is the batch, of any length from 1. Matrices and kernels of at least 256
numbers are stored as float16. Biases, normalisation, and constants that float16 cannot hold exactly stay float32.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from styleid.errors import MissingDependencyError, TrainingError
from styleid.lab.export.quantize import quantize, rounding_error
from styleid.runtime import open_session

_HALF_FROM = 256
_TRACED_ROWS = 3
_MAX_ERROR = 1e-3
_OF_SEVERAL = {"Max", "Min", "Sum", "Mean", "Concat"}
"""Operators that return a single input unchanged."""
_OWN_SHARE = 5.0
"""Largest error of a file relative to torch's own rounding error (`own_rounding`), if that allows more than
_MAX_ERROR."""


@dataclass(frozen=True)
class ExportReport:
    """Result of an export.

    Attributes:
        path: The file.
        max_error: Largest difference from torch over all outputs and batch sizes, in standard deviations of the output;
            for integer outputs the share of differing values.
        size_bytes: Size of the file.
        opset: Version of the ONNX operator set.
        sha256: Hash of the file.
        rounding: Root mean square change of the outputs by 8-bit quantisation, in standard deviations; 0 without it.
    """

    path: Path
    max_error: float
    size_bytes: int
    opset: int
    sha256: str
    rounding: float = 0.0


def export_network(
    network: nn.Module,
    inputs: dict[str, torch.Tensor],
    outputs: Sequence[str],
    path: Path,
    *,
    opset: int = 18,
    half: bool = True,
    keep: Sequence[str] = (),
    examples: Mapping[str, np.ndarray[Any, Any]] | None = None,
    products: bool = False,
) -> ExportReport:
    """Write a network to an ONNX file and compare it with torch at batch sizes 1 and 3.

    The network is not changed: a copy in evaluation mode on the CPU is exported.

    Args:
        network: The network.
        inputs: An example (n, ...) of each input by name, in the order of the network's arguments.
        outputs: One name per returned tensor.
        path: The file to write.
        opset: Version of the ONNX operator set.
        half: Store large weights as float16.
        keep: Names of parameters or buffers that stay float32, such as sampling grids, which must be exact.
        examples: More inputs, (m, ...) each, like those that the network will get, to calibrate 8-bit convolutions.
            None keeps floating point.
        products: With examples, also quantise products with large constant matrices.

    Returns:
        The file's measured errors, size and hash.

    Raises:
        TrainingError: If the network cannot be exported with a free batch size; if the file differs from torch by more
            than 1e-3 of an output's standard deviation (more is allowed if torch's own rounding error is large, see
            `own_rounding`); or if quantisation changes an output by more than a tenth of its standard deviation.
        MissingDependencyError: If onnxscript is not installed.
    """
    own = _Positional(_rounded(network, keep) if half else _copied(network), len(outputs))
    rows = [_three_rows(example.detach().cpu()) for example in inputs.values()]
    program = _trace(own, rows, input_names=list(inputs), output_names=list(outputs), opset_version=opset)
    _strip(program)
    content = _content(program, half)
    error = max(_compare(own, content, list(inputs), [part[:n] for part in rows], path) for n in (1, _TRACED_ROWS))
    allowed = _MAX_ERROR if error <= _MAX_ERROR else max(_MAX_ERROR, _OWN_SHARE * own_rounding(own, rows))
    if not error <= allowed:
        raise TrainingError(
            f"{path.name} differs from torch by {error:.1e} standard deviations of an output; at most {allowed:.0e} is "
            "allowed. Check the network for operations that depend on the batch or on random numbers."
        )
    rounding = 0.0
    if examples is not None:
        eight_bit = quantize(program, examples, products=products)
        _strip(eight_bit)
        content, whole = _content(eight_bit, half), content
        rounding = rounding_error(whole, content, examples)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)
    return ExportReport(path, error, len(content), opset, hashlib.sha256(content).hexdigest(), rounding)


def _content(program: Any, half: bool) -> bytes:
    """Return a model's file content, with large weights as float16 if `half`. The model is not changed."""
    program = copy.deepcopy(program)
    if half:
        _store_half(program.graph)
    return bytes(program.SerializeToString(deterministic=True))


class _Positional(nn.Module):
    """Wraps a network so that it takes only positional tensors and returns a tuple."""

    def __init__(self, network: nn.Module, outputs: int) -> None:
        super().__init__()
        self.network, self.outputs = network, outputs

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        result = self.network(*inputs)
        results = (result,) if isinstance(result, torch.Tensor) else tuple(result)
        if len(results) != self.outputs:
            raise TrainingError(
                f"The network returns {len(results)} tensors, but the argument outputs has {self.outputs} names."
            )
        return results


def _copied(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).cpu().float().eval().requires_grad_(False)


def _rounded(network: nn.Module, keep: Sequence[str]) -> nn.Module:
    own = _copied(network)
    tensors = dict(own.named_parameters()) | dict(own.named_buffers())
    if unknown := sorted(set(keep) - tensors.keys()):
        raise TrainingError(f"The network has no parameter or buffer named {', '.join(unknown)} to keep in float32.")
    for name, tensor in tensors.items():
        if name in keep or not tensor.is_floating_point() or tensor.ndim < 2 or tensor.numel() < _HALF_FROM:
            continue
        tensor.copy_(tensor.half().float())
        if not tensor.isfinite().all():
            raise TrainingError(
                f"'{name}' holds values beyond the range of float16. Scale them down, or name it in `keep`."
            )
    return own


def _three_rows(example: torch.Tensor) -> torch.Tensor:
    """Return three rows of an example. If it has fewer, rows are repeated, 10 % smaller each time."""
    n = len(example)
    rows = example[torch.arange(_TRACED_ROWS) % n]
    if not rows.is_floating_point():
        return rows
    weaker = 1 - 0.1 * (torch.arange(_TRACED_ROWS) // n)
    return rows * weaker.view(-1, *[1] * (rows.ndim - 1)).to(rows.dtype)


def _trace(network: nn.Module, rows: list[torch.Tensor], **options: Any) -> Any:
    """Return the network as an ONNX model with a free batch axis. Small constants are folded, weights unchanged."""
    try:
        import onnxscript.optimizer as simplifier
    except ImportError as error:
        raise MissingDependencyError("the ONNX exporter", "onnxscript") from error
    batch = torch.export.Dim("batch")
    with _quiet(), torch.no_grad():
        try:
            traced = torch.export.export(network, tuple(rows), dynamic_shapes=(tuple({0: batch} for _ in rows),))
        except TrainingError:
            raise
        except Exception as error:  # the tracer's errors share no public base class
            raise TrainingError(
                f"The network cannot be exported with a free batch size: {str(error).strip().splitlines()[0]} "
                "Take the batch size from x.shape[0] (not len(x)) or reshape with -1, and avoid branches on values."
            ) from error
        program = torch.onnx.export(traced, dynamo=True, optimize=False, verbose=False, **options)
        if program is None:
            raise TrainingError("The ONNX exporter returned nothing.")
        simplifier.inline(program.model)
        simplifier.fold_constants(program.model, input_size_limit=_HALF_FROM, output_size_limit=4 * _HALF_FROM)
        simplifier.remove_unused_nodes(program.model)
        traced_model = program.model_proto
    _remove_idle(traced_model.graph)
    return traced_model


def _remove_idle(graph: Any) -> None:
    """Remove nodes that return their input unchanged, except those that produce an output of the graph.

    ONNX Runtime up to 1.29 returns wrong results for a Transpose that keeps the order of its axes.
    """
    outputs = {value.name for value in graph.output}
    kept, same = [], {}
    for node in graph.node:
        if _changes_nothing(node) and node.output[0] not in outputs:
            same[node.output[0]] = same.get(node.input[0], node.input[0])
        else:
            node.input[:] = [same.get(name, name) for name in node.input]
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _changes_nothing(node: Any) -> bool:
    if node.op_type == "Transpose":
        order = [list(attribute.ints) for attribute in node.attribute if attribute.name == "perm"]
        return bool(order) and order[0] == sorted(order[0])
    return node.op_type == "Identity" or (node.op_type in _OF_SEVERAL and len(node.input) == 1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's deprecation warnings and its log lines about optional packages."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _strip(model: Any) -> None:
    """Remove metadata of the machine and the exporter's run, and number the nodes, so that files are reproducible."""
    model.producer_name, model.producer_version, model.doc_string = "styleid", "", ""
    model.graph.name, model.graph.doc_string = "network", ""
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    for number, node in enumerate(model.graph.node):
        node.name, node.doc_string = f"{node.op_type}_{number}", ""
        del node.metadata_props[:]
    for tensor in model.graph.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output):
        value.doc_string = ""
        del value.metadata_props[:]
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def _store_half(graph: Any) -> None:
    """Store large float32 tensors that float16 holds exactly as float16, each followed by a Cast to float32."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _HALF_FROM:
            continue
        value = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            short = value.astype(np.float16)
        if not np.array_equal(short.astype(np.float32), value):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(short, f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], f"Cast_{name}", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _compare(network: nn.Module, content: bytes, inputs: list[str], rows: list[torch.Tensor], path: Path) -> float:
    try:
        given = open_session(content).run(None, {n: part.numpy() for n, part in zip(inputs, rows, strict=True)})
    except Exception as error:  # ONNX Runtime's errors share no public base class
        raise TrainingError(f"ONNX Runtime cannot run {path.name}: {error}") from error
    with torch.no_grad():
        wanted = [output.numpy() for output in network(*rows)]
    return max(_difference(a, b) for a, b in zip(given, wanted, strict=True))


def own_rounding(network: nn.Module, rows: Sequence[torch.Tensor]) -> float:
    """Return torch's own rounding error: how much outputs change if convolutions sum in another order.

    Args:
        network: The network; it returns a tuple.
        rows: Its inputs.

    Returns:
        The difference as `ExportReport.max_error` counts it; 0 for a network with random outputs, whose differences are
        no rounding errors.
    """
    with torch.no_grad():
        usual, again = network(*rows), network(*rows)
        if not all(torch.equal(a, b) for a, b in zip(usual, again, strict=True)):
            return 0.0
        with _quiet(), torch.backends.mkldnn.flags(enabled=False):
            other = network(*rows)
    return max(_difference(a.numpy(), b.numpy()) for a, b in zip(other, usual, strict=True))


def _difference(given: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> float:
    if given.shape != wanted.shape:
        raise TrainingError(f"An exported output has shape {given.shape}, but torch's has {wanted.shape}.")
    if not np.issubdtype(wanted.dtype, np.floating):
        return float((given != wanted).mean())
    largest = float(np.abs(given - wanted).max(initial=0.0))
    return largest / max(float(wanted.std()), 1e-3 * float(np.abs(wanted).max(initial=0.0)), 1e-12)
