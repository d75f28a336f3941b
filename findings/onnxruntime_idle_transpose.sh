#!/usr/bin/env bash
# ONNX Runtime 1.23.2, 1.24.1 and 1.29.0 turn a matrix that they should leave alone.
#
# Input: a valid ONNX model (it passes onnx.checker with full_check) of a Transpose with perm [0, 1], which changes
# nothing, and a Gemm after it, on x of shape (n, 3) and a constant 3 x 2 matrix.
# Expected: x @ w for every n, which is what the model gives with all optimisations off, and in 1.30.0 and 1.32.0.
# Seen: n = 1 and n = 2 end in "GEMM: Dimension mismatch", and n = 3 gives transpose(x) @ w without an error.
# Cause: the optimiser GemmTransposeFusion sets transA whatever the Transpose's permutation is.
#
# Needs python3 with venv, and PyPI. Works in a temporary folder, which it removes. The status is 0 as long as every
# version behaves as said above.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip() { "$folder/venv/bin/python" -m pip "$@" -qq --disable-pip-version-check; }
pip install numpy==2.2.6 onnx==1.18.0

cat > "$folder/show.py" <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

w = np.arange(6, dtype=np.float32).reshape(3, 2)
nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 1]), helper.make_node("Gemm", ["t", "w"], ["y"])]
x_info = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
y_info = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
graph = helper.make_graph(nodes, "graph", [x_info], [y_info], [numpy_helper.from_array(w, "w")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
model.ir_version = 8
onnx.checker.check_model(model, full_check=True)


def run(level, n):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = level, 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.arange(3 * n, dtype=np.float32).reshape(n, 3)
    try:
        y = session.run(None, {"x": x})[0]
    except Exception as error:
        return "refused" if "Dimension mismatch" in str(error) else str(error)
    if np.array_equal(y, x @ w):
        return "right"
    return "turned" if n == 3 and np.array_equal(y, x.T @ w) else "wrong"


levels = onnxruntime.GraphOptimizationLevel
seen = [run(levels.ORT_ENABLE_ALL, n) for n in (1, 2, 3)]
plain = [run(levels.ORT_DISABLE_ALL, n) for n in (1, 2, 3)]
print(f"onnxruntime {onnxruntime.__version__}: n = 1, 2, 3: {', '.join(seen)}; without optimisations: {', '.join(plain)}")
sys.exit(seen != sys.argv[1].split(",") or plain != ["right"] * 3)
PYTHON

status=0
for version in 1.23.2 1.24.1 1.29.0 1.30.0 1.32.0; do
  case $version in 1.2*) expected=refused,refused,turned ;; *) expected=right,right,right ;; esac
  pip install "onnxruntime==$version"
  "$folder/venv/bin/python" "$folder/show.py" "$expected" || { echo "onnxruntime $version: not as described" >&2; status=1; }
done
exit $status
