"""Join the networks of aam128 into a bundle: export, measure, describe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import styleid
from styleid.bundles.spec import FORMAT
from styleid.faces.align import CropTemplate
from styleid.lab.aam import AAMGenerator, AAMInverter, ActiveAppearanceModel, load_aam
from styleid.lab.aam_fit import face_visibility
from styleid.lab.attributes import AttributesConfig, AttributesNet
from styleid.lab.augment import base_matrix, cut_views
from styleid.lab.export import ExportReport, export_network
from styleid.lab.identity import TEMPLATE as IDENTITY_TEMPLATE
from styleid.lab.identity import IdentityNet
from styleid.lab.loop import load_network
from styleid.lab.pack import Pack
from styleid.lab.parser import ParserConfig, ParserNet
from styleid.lab.refiner import Refiner, RefinerConfig
from styleid.lab.targets import TargetMapping, Z, fit_mapping
from styleid.lab.teachers import IdentityTeacher

NAME = "aam128"
VERSION = "1"
FALSE_MATCH_RATES = (1e-1, 1e-2, 1e-3, 1e-4)
MAX_LANDMARK_ERROR = 0.16
_LICENCE = "research, non-commercial; see CARD.md"
_PROVENANCE = (
    "An active appearance model with a learned refiner, trained by styleid on two CPU cores from public face data."
)
_IDENTITY = ("attributes", "shape", "texture")
_SWAPS: tuple[dict[str, Any], ...] = (
    {"levels": _IDENTITY, "strength": 1.0},
    {"levels": ("light", *_IDENTITY), "strength": 1.0},
    {"levels": ("light", *_IDENTITY), "strength": 1.0, "cover": 0.06},
)
"""From the least change to the most; benchmarks/dial.py measures what each leaks."""
_SAME_PERSON = 0.45
"""Similarity by the teacher that fewer than one in ten thousand pairs of strangers reach (0.40 does on LFW)."""
_GROWN_UP = 18
_HIDDEN_SHARE = 0.3
"""Share of the synthetic people, those with most hair and glasses before the face, that do not serve as targets."""
_KEEP = ("rectangle", "mean_shape", "texture_warp", "crop_warp", "shape_in", "shape_out", "basis_scale", "directions")


def build_aam_bundle(
    pack: Pack, checkpoints: Path, teachers: Path, out: Path, say: Callable[[str], None] = print
) -> None:
    """Write the bundle to a folder, whole or not at all.

    checkpoints: folder of the checkpoints aam, parser, identity, attributes and refiner. teachers: folder of the
    teachers' files.
    """
    side = pack.template.size_px
    networks: dict[str, Any] = {
        "parser": load_network(ParserNet(ParserConfig(side)), checkpoints / "parser", "parser"),
        "identity": load_network(IdentityNet(), checkpoints / "identity", "identity"),
        "attributes": load_network(AttributesNet(AttributesConfig(side)), checkpoints / "attributes", "attributes"),
    }
    model = load_aam(checkpoints / "aam")
    refiner = load_network(Refiner(RefinerConfig(side)), checkpoints / "refiner", "refiner")
    say("reading the pack with the networks")
    faces = _read_faces(pack, model, networks)
    nobody = pack.synthetic & ~pack.held_out
    bank = nobody & (faces["bare"] >= np.quantile(faces["bare"][nobody], _HIDDEN_SHARE))
    mapping = fit_mapping(torch.from_numpy(faces["codes"]), torch.from_numpy(faces["traits"]), bank)
    say(f"a bank of {int(bank.sum())} synthetic people")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    reports = _export(partial, pack, faces, model=model, refiner=refiner, mapping=mapping, networks=networks)
    for role, report in reports.items():
        say(f"{role}: {report.size_bytes / 1e6:.1f} MB, parity {report.max_error:.1e}")
    grown = pack.held_out & ~pack.synthetic & ~(pack.age < _GROWN_UP)
    thresholds = _thresholds(faces["embeddings"][grown], _embed_by_teacher(pack, np.nonzero(grown)[0], teachers))
    quality = {name: _history(checkpoints / name) for name in ("identity", "parser", "attributes", "refiner")}
    quality["parity"] = {role: float(f"{report.max_error:.1e}") for role, report in reports.items()}
    description = _describe(pack.template, model, reports, thresholds, quality)
    (partial / "bundle.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    if (out / "CARD.md").is_file():
        shutil.copy(out / "CARD.md", partial)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


def _read_faces(pack: Pack, model: ActiveAppearanceModel, networks: dict[str, nn.Module]) -> dict[str, np.ndarray]:
    """Return every face's codes, traits, embeddings and share of bare face."""
    out: dict[str, list[np.ndarray]] = {"codes": [], "traits": [], "embeddings": [], "bare": []}
    base = base_matrix(pack.template, IDENTITY_TEMPLATE)
    for start in range(0, len(pack), 64):
        rows = np.arange(start, min(start + 64, len(pack)))
        crops_u8 = torch.from_numpy(pack.crops(rows))
        crops = crops_u8.permute(0, 3, 1, 2).float() / 127.5 - 1
        valid = torch.from_numpy(np.stack([pack.valid_mask(i) for i in rows]))[:, None].float() / 255
        with torch.no_grad():
            visible = face_visibility(networks["parser"], crops) * valid
            codes = model.encode(crops, torch.from_numpy(pack.landmarks68[rows]), visible)
            coverage = model(codes)[1]
            views = cut_views(crops_u8, base.expand(len(rows), 2, 3), IDENTITY_TEMPLATE.size_px)
            out["codes"].append(codes.numpy())
            out["traits"].append(networks["attributes"](crops).numpy())
            out["embeddings"].append(networks["identity"](views).numpy())
            out["bare"].append(((visible * coverage).sum((1, 2, 3)) / coverage.sum((1, 2, 3))).numpy())
    return {name: np.concatenate(parts) for name, parts in out.items()}


def _embed_by_teacher(pack: Pack, faces: np.ndarray, teachers: Path) -> np.ndarray:
    """Return the identity teacher's embeddings of some faces, given by their rows."""
    teacher, base = IdentityTeacher(teachers), base_matrix(pack.template, IDENTITY_TEMPLATE)
    parts = []
    for rows in np.array_split(faces, max(1, len(faces) // 64)):
        views = cut_views(torch.from_numpy(pack.crops(rows)), base.expand(len(rows), 2, 3), IDENTITY_TEMPLATE.size_px)
        with torch.no_grad():
            parts.append(teacher(views).numpy())
    return np.concatenate(parts)


def _export(
    folder: Path,
    pack: Pack,
    faces: dict[str, np.ndarray],
    *,
    model: ActiveAppearanceModel,
    refiner: nn.Module,
    mapping: TargetMapping,
    networks: dict[str, nn.Module],
) -> dict[str, ExportReport]:
    crops_u8 = torch.from_numpy(pack.crops([0, 1, 2]))
    crop = crops_u8.permute(0, 3, 1, 2).float() / 127.5 - 1
    base = base_matrix(pack.template, IDENTITY_TEMPLATE)
    views = cut_views(crops_u8, base.expand(3, 2, 3), IDENTITY_TEMPLATE.size_px)
    landmarks = torch.from_numpy(pack.landmarks68[:3])
    visible = face_visibility(networks["parser"], crop)
    z = torch.randn(3, Z, generator=torch.Generator().manual_seed(0))
    traits, codes = (torch.from_numpy(faces[name][:3]) for name in ("traits", "codes"))
    works: dict[str, tuple[nn.Module, dict[str, torch.Tensor], list[str]]] = {
        "parser": (networks["parser"], {"crop": crop}, ["labels", "landmarks"]),
        "identity": (networks["identity"], {"crop": views}, ["embedding"]),
        "attributes": (networks["attributes"], {"crop": crop}, ["attributes"]),
        "inverter": (AAMInverter(model), {"crop": crop, "landmarks": landmarks, "visible": visible}, ["w_plus"]),
        "mapping": (mapping, {"z": z, "attributes": traits, "source": codes}, ["w_plus"]),
        "generator": (AAMGenerator(model, refiner), {"w_plus": codes}, ["image", "landmarks"]),
    }
    reports = {}
    for role, (network, inputs, outputs) in works.items():
        keep = [name for name, _ in network.named_buffers() if name.rsplit(".", 1)[-1] in _KEEP]
        reports[role] = export_network(network, inputs, outputs, folder / f"{role}.onnx", keep=keep)
    return reports


def _thresholds(embeddings: np.ndarray, by_teacher: np.ndarray) -> dict[str, dict[str, float]]:
    """Return the similarities that bound strangers, from all pairs of faces of different people.

    The faces are those of grown people who exist: children, and people drawn by one network, are more alike than
    strangers are, and would make the gate lax.
    embeddings, by_teacher: (n, d) of the same faces by the bundle's network and by its teacher. The sources name
    nobody, and some people come more than once: pairs that the teacher all but knows to be one person are left out.
    """
    upper = np.triu(np.ones((len(embeddings), len(embeddings)), bool), 1)
    strangers = (embeddings @ embeddings.T)[upper & (by_teacher @ by_teacher.T < _SAME_PERSON)]
    bounds = {}
    for fmr in FALSE_MATCH_RATES:
        low, high = np.quantile(strangers, [fmr, 1 - fmr])
        bounds[f"{fmr:g}"] = {"low": round(float(low), 4), "high": round(float(high), 4)}
    return bounds


def _history(folder: Path) -> dict[str, Any]:
    """Return a checkpoint's last measurements, with how much it was trained."""
    record = json.loads((folder / "state.json").read_text())
    last = record["history"][-1] if record["history"] else {}
    return {name: round(float(value), 4) for name, value in last.items()}


def _describe(
    template: CropTemplate,
    model: ActiveAppearanceModel,
    reports: dict[str, ExportReport],
    thresholds: dict[str, dict[str, float]],
    quality: dict[str, Any],
) -> dict[str, Any]:
    def crop(of: CropTemplate) -> dict[str, Any]:
        return {"size": of.size_px, "points": [[round(x, 4), round(y, 4)] for x, y in of.points_px]}

    return {
        "format": FORMAT,
        "name": NAME,
        "version": VERSION,
        "licence": _LICENCE,
        "provenance": _PROVENANCE,
        "made_with": f"styleid {styleid.__version__}",
        "resolution": template.size_px,
        "layers": model.config.layers,
        "width": model.config.width,
        "z": Z,
        "levels": {name: list(rows) for name, rows in model.config.levels.items()},
        "swaps": [step | {"levels": list(step["levels"])} for step in _SWAPS],
        "crop": crop(template),
        "identity_crop": crop(IDENTITY_TEMPLATE),
        "thresholds": thresholds,
        "max_landmark_error": MAX_LANDMARK_ERROR,
        "networks": {
            role: {"file": report.path.name, "sha256": report.sha256, "bytes": report.size_bytes, "opset": report.opset}
            for role, report in reports.items()
        },
        "quality": quality,
    }
