"""Joining of ONNX files into one, to run the built-in networks on another crop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styleid.errors import TrainingError


@dataclass(frozen=True)
class GraphPart:
    """One network of a joined model.

    Attributes:
        file: The network's ONNX file.
        names: Maps names of its inputs and outputs to their names in the joined model.
    """

    file: Path
    names: Mapping[str, str]


def join(parts: Sequence[GraphPart], inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """Join networks into one model that runs them in order.

    Args:
        parts: The networks; they may share inputs.
        inputs: Names of the joined model's inputs, each of which is an input of a part.
        outputs: Names of its outputs, each of which is an output of a part.

    Returns:
        The joined model's file content.

    Raises:
        TrainingError: If the networks have different ONNX operator sets or do not fit together.
    """
    import onnx

    models = [onnx.load(part.file) for part in parts]
    opsets = {entry.version for model in models for entry in model.opset_import if entry.domain in ("", "ai.onnx")}
    if len(opsets) != 1:
        raise TrainingError(f"The networks were exported for different ONNX operator sets: {sorted(opsets)}.")
    joined = onnx.ModelProto()
    joined.CopyFrom(models[0])
    joined.ClearField("graph")
    joined.graph.name = "network"
    known: dict[str, Any] = {}
    for number, (part, model) in enumerate(zip(parts, models, strict=True)):
        _rename(model.graph, part.names, f"p{number}_")
        joined.graph.node.extend(model.graph.node)
        joined.graph.initializer.extend(model.graph.initializer)
        known |= {value.name: value for value in (*model.graph.output, *model.graph.input)}
    try:
        joined.graph.input.extend(known[name] for name in inputs)
        joined.graph.output.extend(known[name] for name in outputs)
        onnx.checker.check_model(joined)
    except (KeyError, onnx.checker.ValidationError) as error:
        raise TrainingError(f"The networks do not fit together: {error}") from error
    return joined.SerializeToString(deterministic=True)


def _rename(graph: Any, names: Mapping[str, str], prefix: str) -> None:
    """Rename all values of a graph: the given names are replaced, all others get a prefix."""

    def new(name: str) -> str:
        return names.get(name, prefix + name) if name else name

    for node in graph.node:
        node.name = prefix + node.name
        for values in (node.input, node.output):
            values[:] = [new(name) for name in values]
    for value in (*graph.initializer, *graph.input, *graph.output):
        value.name = new(value.name)
