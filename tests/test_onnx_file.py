"""Transpose nodes that change nothing are removed."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from styleid.bundles.bundle import Bundle
from styleid.bundles.registry import built_in
from styleid.onnx_file import without_idle_transposes
from styleid.runtime import open_session

pytestmark = pytest.mark.versions

WEIGHT = np.arange(6, dtype=np.float32).reshape(3, 2)


def _model(*perms: list[int] | None, rows: int | str = "batch", packed: bool = False) -> bytes:
    """Return a row of Transpose nodes and a Gemm after them, on x (rows, 3)."""
    nodes = [
        helper.make_node("Transpose", [f"t{i}"], [f"t{i + 1}"], f"turn_{i}", **({} if perm is None else {"perm": perm}))
        for i, perm in enumerate(perms)
    ]
    nodes.append(helper.make_node("Gemm", [f"t{len(perms)}", "w"], ["y"]))
    x = helper.make_tensor_value_info("t0", TensorProto.FLOAT, [rows, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, 2])
    graph = helper.make_graph(nodes, "network", [x], [y], [numpy_helper.from_array(WEIGHT, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 8
    content = model.SerializeToString()
    if packed:  # the integers of an attribute may also lie in one field
        assert content.count(b"\x40\x00\x40\x01") == 1
        content = content.replace(b"\x40\x00\x40\x01", b"\x42\x02\x00\x01")
        onnx.load_model_from_string(content)
    return content


def _kinds(content: bytes) -> list[str]:
    model = onnx.load_model_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(
    ("perms", "kinds"),
    [
        ([[0, 1]], ["Identity", "Gemm"]),
        ([[0, 1], [0, 1]], ["Identity", "Identity", "Gemm"]),
        ([[1, 0], [0, 1], [1, 0]], ["Transpose", "Identity", "Transpose", "Gemm"]),
        ([[1, 0], [1, 0]], ["Transpose", "Transpose", "Gemm"]),
        ([None, None], ["Transpose", "Transpose", "Gemm"]),
        ([], ["Gemm"]),
    ],
)
@pytest.mark.parametrize("as_file", [False, True])
def test_only_those_that_keep_the_order_become_identities(perms, kinds, as_file: bool, tmp_path: Path) -> None:
    content = _model(*perms)
    given: bytes | Path = content
    if as_file:
        given = tmp_path / "network.onnx"
        given.write_bytes(content)
    changed = without_idle_transposes(given)
    if "Identity" not in kinds:
        assert changed is given
        return
    assert isinstance(changed, bytes)
    assert _kinds(changed) == kinds
    model = onnx.load_model_from_string(changed)
    assert model.graph.initializer == onnx.load_model_from_string(content).graph.initializer
    assert not as_file or given.read_bytes() == content
    for n in (1, 2, 3, 7):
        x = np.random.default_rng(n).standard_normal((n, 3)).astype(np.float32)
        for wanted in (x @ WEIGHT, ReferenceEvaluator(model).run(None, {"t0": x})[0]):
            assert np.allclose(open_session(given).run(None, {"t0": x})[0], wanted, atol=1e-6)


def test_integers_in_one_field_are_read_too() -> None:
    assert _kinds(without_idle_transposes(_model([0, 1], packed=True))) == ["Identity", "Gemm"]


def test_a_name_that_looks_like_an_operator_does_not_count() -> None:
    node = helper.make_node("Relu", ["x"], ["y"], 'a name: "\tTranspose')
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", "y")]
    graph = helper.make_graph([node], "network", values[:1], values[1:])
    content = helper.make_model(graph).SerializeToString()
    assert b"\x22\x09Transpose" in content
    assert without_idle_transposes(content) is content


@given(st.integers(0, 10**6), st.booleans())
def test_what_is_no_onnx_file_is_left_to_onnx_runtime(cut: int, noise: bool) -> None:
    content = _model([0, 1])
    damaged = content[: cut % len(content)]
    if noise:
        damaged += bytes(np.random.default_rng(cut).integers(0, 256, 40, np.uint8)) + b"\x22\x09Transpose"
    changed = without_idle_transposes(damaged)
    assert changed is damaged or isinstance(changed, bytes)


def test_a_damaged_file_is_given_back_as_a_path(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    for content in (b"", _model([0, 1])[:-9], b"\x07" + _model([0, 1])):
        path.write_bytes(content)
        assert without_idle_transposes(path) is path


@pytest.mark.parametrize("name", built_in())
def test_bundles_have_none_left_when_opened(name: str) -> None:
    folder = built_in()[name]
    for role, entry in Bundle(folder).spec.networks.items():
        changed = without_idle_transposes((folder / entry.file).read_bytes())
        idle = [node for node in onnx.load_model_from_string(changed).graph.node if _is_idle(node)]
        assert not idle, role


def _is_idle(node: onnx.NodeProto) -> bool:
    perms = [list(attribute.ints) for attribute in node.attribute if attribute.name == "perm"]
    return node.op_type == "Transpose" and bool(perms) and perms[0] == sorted(perms[0])
