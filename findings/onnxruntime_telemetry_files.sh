#!/usr/bin/env bash
# ONNX Runtime 1.32.0 from PyPI writes a device id and a telemetry database into the home folder on Linux.
#
# Input: a valid ONNX model of one Identity node, opened with InferenceSession on the CPU, in an empty home folder.
# Expected: no file is written; telemetry in ONNX Runtime is known as a matter of Windows, and
# disable_telemetry_events() is there to turn it off.
# Seen: opening the session makes ~/.cache/Microsoft/DeveloperTools/.onnxruntime with `deviceid` and `onnxruntime.db`,
# also after disable_telemetry_events(). With ORT_DISABLE_TELEMETRY=1 set before the import, nothing is written.
# Whether anything is sent was not looked at.
#
# Needs python3 with venv, and PyPI. Works in a temporary folder, which it removes. The status is 0 as long as the
# version behaves as said above.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0

cat > "$folder/show.py" <<'PYTHON'
import sys
from pathlib import Path

import onnx
import onnxruntime
from onnx import TensorProto, helper

if sys.argv[1] == "disabled":
    onnxruntime.disable_telemetry_events()
x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "graph", [x], [y])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
onnx.checker.check_model(model, full_check=True)
onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
found = sorted(path.name for path in Path.home().rglob("*") if path.is_file())
print(onnxruntime.__version__, sys.argv[1], found)
PYTHON

seen() {
  mkdir -p "$folder/home-$1"
  env -i HOME="$folder/home-$1" PATH="$PATH" ${2:+"$2"} "$folder/venv/bin/python" "$folder/show.py" "$1"
}

status=0
for how in plain disabled; do
  line=$(seen "$how")
  echo "$line"
  [[ "$line" == *deviceid*onnxruntime.db* ]] || { echo "No telemetry files ($how): this has changed." >&2; status=1; }
done
line=$(seen off ORT_DISABLE_TELEMETRY=1)
echo "$line"
[[ "$line" == *"[]" ]] || { echo "Files in spite of ORT_DISABLE_TELEMETRY=1: this has changed." >&2; status=1; }
exit $status
