"""Description of a bundle built from upstream files: bundle.json, rankings.npz, CARD.md."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from styleid.bundles.build_options import BuildOptions
from styleid.bundles.bundle import Bundle
from styleid.faces.align import CropTemplate
from styleid.lab.export.network import ExportReport
from styleid.lab.networks.mapper import LEVELS
from styleid.lab.upstream.thresholds import Bounds
from styleid.types import FloatArray
from styleid.version import __version__

VERSION = "1"
_LICENCE = "research, non-commercial: the terms of each file it was built from apply, see CARD.md; do not pass it on"
_SWAPS = (("identity",), ("identity", "medium"), ("identity", "medium", "fine"))
_PIXEL_ROWS = ((5, 9), (5, 11))
"""Rows that come from the target in the public code, first and last: by default, and if attributes are requested."""
_PAPER_SIDE_PX = 256
_PAPER_SHARE = 3
"""The preset `paper` swaps the best third of a ranking. The public code leaves the number to its user."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Parts:
    """Components of a built bundle.

    Attributes:
        crop: Template of the generator's crop.
        identity_crop: Template of the recogniser's crop.
        layers: Rows of W+.
        width: Width of W+.
        thresholds: `low` and `high` similarity of strangers by false-match rate.
        origin: A text about the origin of the thresholds.
        reports: Exported files by role.
        rankings: Scores by name, see `read_rankings`.
    """

    crop: CropTemplate
    identity_crop: CropTemplate
    layers: int
    width: int
    thresholds: Bounds
    origin: str
    reports: Mapping[str, ExportReport]
    rankings: Mapping[str, FloatArray]


def write_description(folder: Path, options: BuildOptions, parts: Parts, stand_in: Bundle) -> None:
    """Write bundle.json, CARD.md and, if there are rankings, rankings.npz.

    Args:
        folder: The bundle's folder.
        options: The files that it was built from.
        parts: Its components.
        stand_in: The built-in bundle, whose networks replace missing ones.
    """
    sources = {role: (path.name, _sha256(path)) for role, path in _given(options).items()}
    levels = {name: (first, min(stop, parts.layers) - 1) for name, (first, stop) in LEVELS.items()}
    levels = {name: rows for name, rows in levels.items() if rows[0] <= rows[1]}
    swaps = list(dict.fromkeys(tuple(name for name in swap if name in levels) for swap in _SWAPS))
    record: dict[str, Any] = {
        "format": 1,
        "name": options.out.name,
        "version": VERSION,
        "licence": _LICENCE,
        "provenance": "Built by its user from the files of the public StyleID release that CARD.md names.",
        "made_with": f"styleid {__version__}",
        "resolution": parts.crop.size_px,
        "layers": parts.layers,
        "width": parts.width,
        "z": parts.width,
        "levels": {name: list(rows) for name, rows in levels.items()},
        "swaps": [{"levels": list(swap), "strength": 1.0} for swap in swaps],
        "crop": _template(parts.crop),
        "identity_crop": _template(parts.identity_crop),
        "thresholds": {rate: dict(bounds) for rate, bounds in parts.thresholds.items()},
        "max_landmark_error": stand_in.spec.max_landmark_error,
        "networks": {role: _entry(report) for role, report in parts.reports.items()},
        "quality": {
            "thresholds": parts.origin,
            "parity": {role: float(f"{report.max_error:.1e}") for role, report in parts.reports.items()},
        },
    }
    record |= _methods(parts)
    if parts.rankings:
        record["rankings"] = _write_rankings(folder, parts.rankings)
    (folder / "bundle.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (folder / "CARD.md").write_text(_card(options, parts, sources, stand_in), encoding="utf-8")


def _methods(parts: Parts) -> dict[str, Any]:
    """Return the settings of the method `pixel` and the preset `paper` with the public code's settings."""
    counts = [f"{name}:{max(1, scores.size // _PAPER_SHARE)}" for name, scores in sorted(parts.rankings.items())]
    paper: dict[str, Any] = {"units": counts[0] if counts else ""}
    out: dict[str, Any] = {"presets": {"paper": paper}}
    if "mask_encoder" in parts.reports:
        rows = [[first, min(last, parts.layers - 1)] for first, last in _PIXEL_ROWS]
        out["pixel"] = {"rows": rows, "region": "full", "side": 0}
        paper["pixel"] = {"rows": rows[:1], "region": "inner", "side": min(_PAPER_SIDE_PX, parts.crop.size_px)}
    return out


def _write_rankings(folder: Path, rankings: Mapping[str, FloatArray]) -> dict[str, Any]:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: scores.astype(np.float32) for name, scores in rankings.items()}
    np.savez_compressed(buffer, **arrays)
    content = buffer.getvalue()
    (folder / "rankings.npz").write_bytes(content)
    return {"file": "rankings.npz", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _card(options: BuildOptions, parts: Parts, sources: Mapping[str, tuple[str, str]], stand_in: Bundle) -> str:
    lines = [
        f"# {options.out.name}",
        "",
        "Built by `styleid bundles build` from the files below. It may be used for non-commercial research only. The",
        "terms of each file apply (styleid's THIRD_PARTY.md lists them); most do not allow you to pass the bundle on.",
        "",
        "| role | file | SHA-256 |",
        "|---|---|---|",
        *(f"| {role} | {name} | `{digest}` |" for role, (name, digest) in sources.items()),
        "",
        f"From the built-in bundle {stand_in.spec.name}: landmarks"
        + "".join(f", {role}" for role in ("parser", "attributes", "identity") if role not in sources)
        + ".",
        "",
        f"Thresholds of the gate: {parts.origin}. Nothing else was measured; see styleid's docs/ffhq1024.md.",
    ]
    return "\n".join(lines) + "\n"


def _given(options: BuildOptions) -> dict[str, Path]:
    roles = ("generator", "inverter", "mask_encoder", "swapper", "identity", "attributes", "parser")
    files = {role: getattr(options, role) for role in roles}
    return {role: path for role, path in files.items() if path is not None}


def _entry(report: ExportReport) -> dict[str, Any]:
    return {"file": report.path.name, "sha256": report.sha256, "bytes": report.size_bytes, "opset": report.opset}


def _template(crop: CropTemplate) -> dict[str, Any]:
    points = [[round(x, 4), round(y, 4)] for x, y in crop.points_px]
    return {"size": crop.size_px, "points": points, "rule": crop.rule}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
