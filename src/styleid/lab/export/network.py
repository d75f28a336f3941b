"""Export a network to one ONNX file with half-precision weights, and prove that it computes what torch does.

Weights are rounded through float16 first, and the file stores exactly the rounded values, each with a Cast to float32
after it that ONNX Runtime folds away when it loads the file. So the comparison with torch sees the exporter's errors
and not the rounding, and what the file holds is what was compared. Where examples are given to calibrate by,
convolutions are then made 8-bit ones (`styleid.lab.export.quantize`), and what that costs is measured on others.

Convention
----------
The first axis of every input and output is the batch and takes any length from 1. Matrices and kernels from 256 numbers
on are stored as float16; biases, normalisation and constants of the graph that float16 cannot hold stay float32.
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
"""Operators that give a single input back as it is."""
_OWN_SHARE = 5.0
"""How many times as far from torch a file may be as torch is from itself, where that is further than _MAX_ERROR."""


@dataclass(frozen=True)
class ExportReport:
    """Say what was written.

    max_error: largest difference from torch over all outputs and batch sizes, as a share of the output's standard
    deviation (for integer outputs: the share of differing values). sha256: of the file's bytes. rounding: by how much
    eight bits change the outputs, root mean square, as a share of the deviation; 0 where there are none.
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

    inputs: name to an example (n, ...), in the order of the network's arguments. outputs: one name per returned tensor.
    keep: names of parameters or buffers that stay float32, such as sampling grids, whose rounding would shift what they
    sample. examples: more inputs like those that the network will get, (m, ...) each, to make convolutions 8-bit by;
    None leaves them as they are. products: with examples, make products with large constant matrices 8-bit too. The
    network itself is not changed; the export takes a copy in evaluation mode on the CPU. Raises TrainingError where the
    network cannot be exported for any batch size; where the file differs from torch by more than 1e-3 of an output's
    standard deviation, unless the network blows up rounding errors so much that torch differs from itself as far
    (`own_rounding`); and where eight bits change it by more than a tenth of that.
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
            f"{path.name} differs from torch by {error:.1e} of an output's standard deviation; at most "
            f"{allowed:.0e} is allowed. Look for operations that depend on the batch or on random numbers."
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
    """Return a model as a file's content, large weights in half precision where that is asked; it stays as it is."""
    program = copy.deepcopy(program)
    if half:
        _store_half(program.graph)
    return bytes(program.SerializeToString(deterministic=True))


class _Positional(nn.Module):
    """Call a network with positional tensors only and return a tuple, whatever its own signature is."""

    def __init__(self, network: nn.Module, outputs: int) -> None:
        super().__init__()
        self.network, self.outputs = network, outputs

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        result = self.network(*inputs)
        results = (result,) if isinstance(result, torch.Tensor) else tuple(result)
        if len(results) != self.outputs:
            raise TrainingError(f"The network returns {len(results)} tensors, but {self.outputs} outputs were named.")
        return results


def _copied(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).cpu().float().eval().requires_grad_(False)


def _rounded(network: nn.Module, keep: Sequence[str]) -> nn.Module:
    own = _copied(network)
    tensors = dict(own.named_parameters()) | dict(own.named_buffers())
    if unknown := sorted(set(keep) - tensors.keys()):
        raise TrainingError(f"There is nothing named {', '.join(unknown)} to keep in float32 in this network.")
    for name, tensor in tensors.items():
        if name in keep or not tensor.is_floating_point() or tensor.ndim < 2 or tensor.numel() < _HALF_FROM:
            continue
        tensor.copy_(tensor.half().float())
        if not tensor.isfinite().all():
            raise TrainingError(f"'{name}' holds values that float16 cannot: scale it down, or keep it in float32.")
    return own


def _three_rows(example: torch.Tensor) -> torch.Tensor:
    """Return three rows of an example; where it has fewer, rows come again, somewhat weaker each time."""
    n = len(example)
    rows = example[torch.arange(_TRACED_ROWS) % n]
    if not rows.is_floating_point():
        return rows
    weaker = 1 - 0.1 * (torch.arange(_TRACED_ROWS) // n)
    return rows * weaker.view(-1, *[1] * (rows.ndim - 1)).to(rows.dtype)


def _trace(network: nn.Module, rows: list[torch.Tensor], **options: Any) -> Any:
    """Return the network as an ONNX model with a free batch axis, constants folded but no weight changed."""
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
                f"The network cannot be exported for any batch size: {str(error).strip().splitlines()[0]} "
                "Take the batch from x.shape[0] (not len(x)) or reshape with -1, and avoid branches on values."
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
    """Take out the nodes that change nothing, except those that give an output of the graph.

    ONNX Runtime up to 1.29 computes wrongly with a Transpose that keeps the order of its axes.
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
    """Silence the exporter's own deprecations and its remarks about packages that it does not need."""
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
    """Take out whatever tells of the machine or of the exporter's run, and name nodes by their order."""
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
    """Store the large float32 tensors that float16 holds exactly as such, each with a Cast back."""
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
    """Return how far torch is from itself when its convolutions add in another order, as `max_error` counts it.

    It is 0 for a network that does not give the same twice: that is chance and no rounding.
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
        raise TrainingError(f"An exported output has shape {given.shape}, where torch gives {wanted.shape}.")
    if not np.issubdtype(wanted.dtype, np.floating):
        return float((given != wanted).mean())
    largest = float(np.abs(given - wanted).max(initial=0.0))
    return largest / max(float(wanted.std()), 1e-3 * float(np.abs(wanted).max(initial=0.0)), 1e-12)
