"""The table of faces, with one row for each face and tool, as Parquet, or as CSV if pyarrow is not installed.

It contains names, outcomes, measures, and the similarity of each face to its original, but no embedding.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from styleid.evaluate.outputs import ALIGNMENTS
from styleid.evaluate.suite import Evaluation
from styleid.evaluate.verdict import Verdict
from styleid.media.storage.files import write_atomic

NAME = "faces"


def write_rows(evaluation: Evaluation, out: Path) -> Path:
    """Write faces.parquet, or faces.csv, and return its path. Raises OutputError if it cannot be written."""
    columns = columns_of(evaluation)
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        path, content = out / f"{NAME}.csv", text.getvalue().encode(errors="backslashreplace")
    else:
        sink = pyarrow.BufferOutputStream()
        parquet.write_table(pyarrow.table(columns), sink)
        path, content = out / f"{NAME}.parquet", sink.getvalue().to_pybytes()
    write_atomic(path, content)
    return path


def columns_of(evaluation: Evaluation) -> dict[str, list[Any]]:
    """Return the table by columns of equal length; numbers that could not be measured are None."""
    columns: dict[str, list[Any]] = {}
    measures = sorted({name for v in evaluation.verdicts for face in v.table.faces for name in face.measures})
    for verdict in evaluation.verdicts:
        for name, values in _of_tool(evaluation, verdict, measures).items():
            columns.setdefault(name, []).extend(values)
    return columns


def similarities(evaluation: Evaluation, verdict: Verdict) -> dict[str, np.ndarray[Any, Any]]:
    """Return the similarity of each face to its own original, (n,), by recogniser; the larger of both alignments."""
    found = {}
    for recogniser in (described["name"] for described in evaluation.recognisers):
        clear = evaluation.table.embeddings(recogniser, "clear")
        both = [(verdict.table.embeddings(recogniser, a, clear.shape[1]) * clear).sum(1) for a in ALIGNMENTS]
        found[recogniser] = np.fmax(*both)
    return found


def _of_tool(evaluation: Evaluation, verdict: Verdict, measures: list[str]) -> dict[str, list[Any]]:
    table, tool = evaluation.table, verdict.table
    columns: dict[str, list[Any]] = {
        "tool": [tool.name] * len(table.subjects),
        "file": [_text(subject.photo) for subject in table.subjects],
        "face": [subject.index for subject in table.subjects],
        "person": [_text(subject.person) or None for subject in table.subjects],
        "status": [str(status) for status in tool.statuses],
        "fate": [str(fate) for fate in verdict.fates],
    }
    columns |= {kind: [str(value) for value in values] for kind, values in table.groups.items()}
    for index, side in enumerate(("x0", "y0", "x1", "y1")):
        columns[side] = [round(float(subject.box[index]), 1) for subject in table.subjects]
    if table.subjects:
        for recogniser, values in similarities(evaluation, verdict).items():
            columns[f"similarity to the original ({recogniser})"] = _numbers(values)
    for name in measures:
        columns[name] = _numbers(tool.measure(name))
    return columns


def _numbers(values: np.ndarray[Any, Any]) -> list[float | None]:
    return [round(float(value), 4) if np.isfinite(value) else None for value in values]


def _text(name: str) -> str:
    """Return a file name with escapes for bytes that are not UTF-8."""
    return name.encode(errors="backslashreplace").decode()
