#!/usr/bin/env bash
# The onnx package's reference evaluator gathers wrongly along an axis of 64 or more elements (onnx 1.18.0 and 1.23.2).
#
# Input: a valid ONNX model (it passes onnx.checker with full_check) of one GatherElements, on a matrix with 64 rows or
# columns and indices in range; scores of people who are picked by TopK look like that.
# Expected: numpy.take_along_axis, which is what ONNX Runtime gives, and the evaluator itself up to 63 elements.
# Seen: along 64 columns, two indices a row end in "cannot reshape array"; along 64 rows of one column, where each index
# asks for row 0, every row comes back as it was, without an error.
# Cause: numpy.choose (2.2.6) takes 63 choices at most; what stands in for it uses one index a row, whatever the axis is.
#
# Needs python3 with venv, and PyPI. Works in a temporary folder, which it removes. The status is 0 as long as both
# versions behave as said above.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip() { "$folder/venv/bin/python" -m pip "$@" -qq --disable-pip-version-check; }
pip install numpy==2.2.6 onnxruntime==1.22.1

cat > "$folder/show.py" <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator


def model(shape, axis):
    node = helper.make_node("GatherElements", ["x", "i"], ["y"], axis=axis)
    infos = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    infos.append(helper.make_tensor_value_info("i", TensorProto.INT64, ["a", "b"]))
    graph = helper.make_graph([node], "g", infos, [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b"])])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    made.ir_version = 8
    onnx.checker.check_model(made, full_check=True)
    return made


def seen(x, i, axis):
    made, feeds, right = model(x.shape, axis), {"x": x, "i": i}, np.take_along_axis(x, i, axis)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.array_equal(session.run(None, feeds)[0], right), "ONNX Runtime differs from NumPy"
    try:
        y = ReferenceEvaluator(made).run(None, feeds)[0]
    except ValueError as error:
        return "refused" if "cannot reshape array" in str(error) else str(error)
    return "right" if np.array_equal(y, right) else "as it was" if np.array_equal(y, x) else "wrong"


found = []
for n in (63, 64):
    columns = np.arange(2 * n, dtype=np.float32).reshape(2, n)
    found.append(seen(columns, np.array([[1, 3], [0, 2]]), 1))
    rows = np.arange(n, dtype=np.float32).reshape(n, 1)
    found.append(seen(rows, np.zeros((n, 1), np.int64), 0))
print(f"onnx {onnx.__version__}: 63 columns, 63 rows, 64 columns, 64 rows: {', '.join(found)}")
sys.exit(found != ["right", "right", "refused", "as it was"])
PYTHON

status=0
for version in 1.18.0 1.23.2; do
  pip install "onnx==$version"
  "$folder/venv/bin/python" "$folder/show.py" || { echo "onnx $version: not as described" >&2; status=1; }
done
exit $status
