#!/usr/bin/env bash
# ONNX Runtime 1.22.1 and 1.32.0 turn numbers to floats and back between 8-bit convolutions, with nothing between.
#
# Input: a valid ONNX model (it passes onnx.checker with full_check) of six convolutions, each with a Relu after it, and
# quantize_static in the QDQ format with op_types_to_quantize=["Conv"], since convolutions are what takes the time.
# Expected: the same optimised graph as with ["Conv", "Relu"]: six QLinearConv, one QuantizeLinear before them all and
# one DequantizeLinear after them. A Relu between a convolution and a QuantizeLinear needs no node of its own.
# Seen: with ["Conv"] the optimiser drops the five inner Relu, but leaves what was around them: between every two
# QLinearConv a DequantizeLinear stands with a QuantizeLinear straight after it. On one thread the network took 1.7
# times as long, and its mean error was 5.8 % instead of 3.8 %: before its Relu, a convolution has negative outputs too.
#
# Needs python3 with venv, and PyPI. Works in a temporary folder, which it removes. The status is 0 as long as both
# versions leave these pairs; neither errors nor times are checked.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip() { "$folder/venv/bin/python" -m pip "$@" -qq --disable-pip-version-check; }
pip install numpy==2.2.6 onnx==1.23.2

cat > "$folder/show.py" <<'PYTHON'
import collections
import logging
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

logging.disable()
folder, random = Path(sys.argv[1]), np.random.default_rng(0)
COUNT, SHAPE = 6, (1, 32, 64, 64)


class Examples(CalibrationDataReader):
    def __init__(self):
        self.left = [random.normal(size=SHAPE).astype(np.float32) for _ in range(4)]

    def get_next(self):
        return {"x": self.left.pop()} if self.left else None


def network():
    nodes, tensors, last = [], [], "x"
    for index in range(COUNT):
        weight = random.normal(scale=0.25, size=(32, 32, 1, 1)).astype(np.float32)
        tensors.append(numpy_helper.from_array(weight, f"w{index}"))
        nodes.append(helper.make_node("Conv", [last, f"w{index}"], [f"c{index}"], f"conv{index}"))
        nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"], f"relu{index}"))
        last = f"r{index}"
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("x", last))
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def opened(path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(folder / "optimised.onnx"), 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def seconds(session, x):
    begun = time.perf_counter()
    session.run(None, x)
    return time.perf_counter() - begun


onnx.save(network(), folder / "float.onnx")
x = {"x": random.normal(size=SHAPE).astype(np.float32)}
right = opened(folder / "float.onnx").run(None, x)[0]
sessions, seen = [], []
for kinds in (["Conv"], ["Conv", "Relu"]):
    path = folder / "quantised.onnx"
    quantize_static(folder / "float.onnx", path, Examples(), quant_format=QuantFormat.QDQ, op_types_to_quantize=kinds,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    sessions.append(opened(path))
    nodes = onnx.load(folder / "optimised.onnx").graph.node
    maker = {name: node.op_type for node in nodes for name in node.output}
    pairs = sum(node.op_type == "QuantizeLinear" and maker.get(node.input[0]) == "DequantizeLinear" for node in nodes)
    counts = collections.Counter(node.op_type for node in nodes)
    seen.append((counts["QLinearConv"], counts["Relu"], counts["QuantizeLinear"], counts["DequantizeLinear"], pairs))
    error = np.abs(sessions[-1].run(None, x)[0] - right).mean() / right.mean()
    print(f"onnxruntime {onnxruntime.__version__}, {kinds}: {dict(counts)}; pairs: {pairs}; mean error {error:.1%}")
first, second = (float(np.median([seconds(session, x) for _ in range(30)])) for session in sessions)
print(f"time: {first * 1000:.2f} ms against {second * 1000:.2f} ms, ratio {first / second:.2f}")
sys.exit(seen != [(COUNT, 1, COUNT, COUNT, COUNT - 1), (COUNT, 0, 1, 1, 0)])
PYTHON

status=0
for version in 1.22.1 1.32.0; do
  pip install "onnxruntime==$version"
  ORT_DISABLE_TELEMETRY=1 "$folder/venv/bin/python" "$folder/show.py" "$folder" ||
    { echo "onnxruntime $version: not as described" >&2; status=1; }
done
exit $status
