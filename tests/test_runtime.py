"""Networks exported by others are tidied without a change of their outputs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from styleid.runtime import dequantized, open_session, tidy_model

pytestmark = pytest.mark.versions

RNG = np.random.default_rng(0)


def dequantizing(values: np.ndarray, scale: np.ndarray, zero: np.ndarray | None, **attributes: int) -> onnx.ModelProto:
    """Return a network that adds unpacked weights to its input, which has their shape; it names one input too many."""
    parts = {"v": values, "s": scale, **({} if zero is None else {"z": zero})}
    nodes = [
        helper.make_node("DequantizeLinear", list(parts), ["w"], **attributes),
        helper.make_node("Add", ["x", "w"], ["y"]),
    ]
    wide = helper.make_tensor_value_info
    inputs = [wide("x", TensorProto.FLOAT, values.shape), wide("spare", TensorProto.FLOAT, [3])]
    graph = helper.make_graph(nodes, "g", inputs, [wide("y", TensorProto.FLOAT, values.shape)],
                              [numpy_helper.from_array(part, name) for name, part in parts.items()])  # fmt: skip
    opset = 21 if "block_size" in attributes else 13
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset < 21 else 10)


@pytest.mark.parametrize(
    ("scales", "with_zero", "attributes"),
    [
        ((), True, {}),
        ((), False, {}),
        ((6,), True, {"axis": 0}),
        ((8,), True, {}),
        ((8,), False, {"axis": -1}),
        ((6, 2), True, {"axis": 1, "block_size": 4}),
        ((2, 8), False, {"axis": 0, "block_size": 3}),
    ],
)
def test_weights_are_unpacked_to_what_they_were(scales, with_zero, attributes, tmp_path):
    values = RNG.integers(-128, 128, (6, 8)).astype(np.int8)
    scale = RNG.uniform(0.01, 0.1, scales).astype(np.float32)
    zero = RNG.integers(-9, 9, scales).astype(np.int8) if with_zero else None
    model = dequantizing(values, scale, zero, **attributes)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    x = RNG.standard_normal((6, 8)).astype(np.float32)
    tidied = open_session(tidy_model(path))
    assert [one.name for one in tidied.get_inputs()] == ["x"]
    (ours,) = tidied.run(None, {"x": x})
    np.testing.assert_allclose(ours, x + dequantized(values, scale, zero, **renamed(attributes)), rtol=1e-6)
    theirs = computed(model, {"x": x, "spare": np.zeros(3, np.float32)})
    if theirs is not None:
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    else:
        assert "block_size" in attributes


def renamed(attributes: dict[str, int]) -> dict[str, int]:
    return {{"block_size": "block"}.get(name, name): value for name, value in attributes.items()}


def computed(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> np.ndarray | None:
    """Return what ONNX Runtime computes, None in a version that does not know blocks."""
    try:
        return onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)[0]
    except Exception:  # it raises errors of several kinds
        return None


def test_inputs_of_graphs_inside_nodes_are_kept(tmp_path):
    wide = helper.make_tensor_value_info
    yes = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["a"])], "yes", [], [wide("a", TensorProto.FLOAT, [1])]
    )
    no = helper.make_graph([helper.make_node("Neg", ["x"], ["b"])], "no", [], [wide("b", TensorProto.FLOAT, [1])])
    node = helper.make_node("If", ["c"], ["y"], then_branch=yes, else_branch=no)
    inputs = [wide("c", TensorProto.BOOL, []), wide("x", TensorProto.FLOAT, [1])]
    graph = helper.make_graph([node], "g", inputs, [wide("y", TensorProto.FLOAT, [1])])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    session = open_session(tidy_model(path))
    x = np.ones(1, np.float32)
    assert session.run(None, {"c": np.array(False), "x": x})[0] == -1


_OPEN = """
from styleid.faces.centerface import find_centerface
from styleid.runtime import open_session
open_session(find_centerface())
"""


def test_opening_a_network_leaves_nothing_in_the_users_folders(tmp_path: Path) -> None:
    """ONNX Runtime's telemetry keeps a device id and a queue of events there; without it there is nothing."""
    own = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    own |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / ".cache"), "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    subprocess.run([sys.executable, "-c", _OPEN], env=own, check=True, cwd=tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
