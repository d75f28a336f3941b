"""Utility measures: what anonymised faces are still useful for. Their names say which network measures them.

Shares count every face. A face that was withheld, is not found, or does not look like a face counts as 0. Means are
over the faces that could be measured, and state their number.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from styleid.evaluate.statistics import Estimate, Sums, estimate
from styleid.evaluate.table import FaceTable, ToolTable

FloatArray = np.ndarray[Any, Any]
LANDMARKS_WITHIN, AGE_WITHIN, TONE_WITHIN = 0.1, 10.0, 10.0
SCORE = "utility score"
FOUND_BY_DLIB = "face found (dlib, of those it finds in the originals)"
SHARES = {
    "face found (CenterFace)": "found",
    "looks like a face (bundle's parser)": "kept",
    "landmarks within 10 % (bundle's parser)": "landmarks",
    "mouth open or closed agrees (bundle's parser)": "mouth",
    "sex agrees (bundle's attributes)": "sex",
    "age within 10 years (bundle's attributes)": "age",
    "skin tone within 10 degrees (typology angle)": "tone",
}
"""The shares whose mean is the utility score, by their titles."""
MEANS = {
    "landmark error, inter-ocular distances (bundle's parser)": "landmark_error",
    "landmark error, px at 256 (bundle's parser)": "landmark_error_px256",
    "landmark error, inter-ocular distances (dlib)": "witness_landmark_error",
    "yaw change, -1 to 1 (bundle's parser)": "yaw_change",
    "pitch change (bundle's parser)": "pitch_change",
    "roll change, degrees (bundle's parser)": "roll_change_deg",
    "mouth opening change, inter-ocular distances (bundle's parser)": "mouth_change",
    "smile change, inter-ocular distances (bundle's parser)": "smile_change",
    "eye opening change, inter-ocular distances (bundle's parser)": "eye_change",
    "brow height change, inter-ocular distances (bundle's parser)": "brow_change",
    "age change, years (bundle's attributes)": "age_change",
    "skin tone change, degrees (typology angle)": "tone_change",
    "sharpness, output over original": "sharpness_ratio",
    "change inside the face, of 255": "inside_change",
    "SSIM inside the face": "inside_ssim",
}
AROUND = {
    "change outside the faces, of 255": "outside_change",
    "SSIM outside the faces": "outside_ssim",
    "pixels outside the faces unchanged": "outside_unchanged",
}


def agreements(tool: ToolTable) -> dict[str, FloatArray]:
    """Return whether each property was kept, 1 or 0, (n,), by name. A face that could not be measured has 0."""
    found = tool.measure("found") == 1
    kept = found & (tool.measure("like_a_face") == 1)
    agree = {
        "found": found,
        "kept": kept,
        "landmarks": kept & (tool.measure("landmark_error") <= LANDMARKS_WITHIN),
        "mouth": kept & (tool.measure("mouth_agrees") == 1),
        "sex": kept & (tool.measure("sex_agrees") == 1),
        "age": kept & (tool.measure("age_change") <= AGE_WITHIN),
        "tone": kept & (tool.measure("tone_change") <= TONE_WITHIN),
    }
    return {name: values.astype(np.float64) for name, values in agree.items()}


def utility(table: FaceTable, tool: ToolTable, rows: FloatArray | None = None) -> dict[str, Estimate]:
    """Return all utility measures by title. rows: faces to use, (n,) bool; by default all."""
    rows = np.ones(len(table.subjects), bool) if rows is None else rows
    agree, labels = agreements(tool), table.labels
    tone_known = np.isfinite([subject.look.tone for subject in table.subjects]) if table.subjects else rows
    found: dict[str, Estimate] = {}
    score = np.mean([agree[name] for name in SHARES.values()], axis=0) if len(rows) else np.zeros(0)
    found[SCORE] = estimate(Sums.of(score[rows], labels[rows]))
    for title, name in SHARES.items():
        where = rows & tone_known if name == "tone" else rows
        found[title] = estimate(Sums.of(agree[name][where], labels[where]))
    seen = rows & np.array([bool(subject.found_by_dlib) for subject in table.subjects], bool)
    if any(subject.found_by_dlib is not None for subject in table.subjects):
        witnessed = (tool.measure("found_by_witness") == 1).astype(np.float64)
        found[FOUND_BY_DLIB] = estimate(Sums.of(witnessed[seen], labels[seen]))
    kept = agree["kept"] == 1
    for title, name in MEANS.items():
        inside = name.startswith(("inside", "sharpness"))
        found[title] = _mean(tool.measure(name), rows & (tool.measured if inside else kept), labels)
    lossless = tool.measure("lossless") == 1
    for title, name in AROUND.items():
        where = rows & (lossless if name == "outside_unchanged" else tool.measured)
        found[title] = _mean(tool.measure(name), where, labels)
    return {title: value for title, value in found.items() if value.count}


def _mean(values: FloatArray, rows: FloatArray, labels: FloatArray) -> Estimate:
    rows = rows & np.isfinite(values)
    return estimate(Sums.of(values[rows], labels[rows]), share=False)
