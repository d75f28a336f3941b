"""Build of the bundle aam128 from checkpoints: export, measure, describe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from styleid.core.attempt import FaceProgress
from styleid.core.options import AnonymizeOptions
from styleid.core.pipeline import Anonymizer
from styleid.faces.align import CropTemplate
from styleid.lab.bundling.bank import ReadFaces, fit_bank
from styleid.lab.bundling.unchanged import UNCHANGED, Unchanged, with_numbers
from styleid.lab.data.augment import base_matrix, cut_views
from styleid.lab.data.pack import SOURCES, Pack
from styleid.lab.data.teachers import IdentityTeacher
from styleid.lab.export.network import ExportReport, export_network
from styleid.lab.networks.aam import ATTRIBUTE_ROW, ActiveAppearanceModel
from styleid.lab.networks.aam_networks import AAMInverter
from styleid.lab.networks.identity import TEMPLATE as IDENTITY_TEMPLATE
from styleid.lab.networks.mask_encoder import MaskEncoder, MaskEncoderConfig
from styleid.lab.networks.swapper import Swapper
from styleid.lab.networks.targets import TargetMapping, Z
from styleid.lab.tasks.aam_fit import expression_features, face_visibility, fit_expressions
from styleid.lab.tasks.loop import load_network
from styleid.lab.tasks.swapper import load_swapper
from styleid.lab.tasks.target_separation import load_target_separation
from styleid.lab.tasks.trained import Trained
from styleid.runtime import open_session
from styleid.types import Faces
from styleid.version import __version__

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
"""Swaps in ascending order of change; benchmarks/dial.py measures the leak of each."""
_PIXEL = {
    "levels": (("attributes", "texture"), ("light", "attributes", "texture"), ("light", *_IDENTITY)),
    "region": "full",
    "side": 0,
    "outlined": True,
}
"""The method `pixel` draws the positions of parts from the labels. Colours come from the target, in the last step the
shape, too."""
_SAME_PERSON = 0.45
"""Similarity by the teacher from which a pair may show one person. Fewer than 1 in 10,000 pairs of strangers reach it
(0.40 has this rate on LFW)."""
_CLEAR_PHOTOS = ("parsing",)
"""Sources of sharp photos that show the surroundings of the face."""
_EIGHT_BIT = ("parser", "identity", "attributes", "generator", "inverter")
"""Networks that are quantised, because convolutions or products take most of their time."""
_EIGHT_BIT_PRODUCTS = ("inverter",)
"""Networks whose large products are quantised, too. The generator's are not, because the first numbers of a texture are
a hundred times as large as the last, and the error would be visible."""
_EXAMPLES = 256
"""Number of faces for the calibration of 8-bit networks."""
_EXPRESSION_ATTEMPTS = 2400
"""Number of attempts for the fit of expressions."""
KEEP = (
    "rectangle",
    "mean_shape",
    "texture_warp",
    "crop_warp",
    "shape_in",
    "shape_out",
    "basis_scale",
    "directions",
    "express",
)


def build_aam_bundle(
    pack: Pack,
    wide: Pack,
    checkpoints: Path,
    teachers: Path,
    out: Path,
    say: Callable[[str], None] = print,
    *,
    unchanged: Path | None = None,
) -> None:
    """Write the bundle to a folder, completely or not at all. A CARD.md that is already in the folder is kept.

    Args:
        pack: The data pack.
        wide: A pack with the margin that the recogniser's view needs, for the recogniser's calibration and thresholds.
        checkpoints: Folder of the checkpoints aam, parser, identity, attributes, mask-encoder, refiner, spread and
            swapper.
        teachers: Folder of the identity teacher.
        out: The bundle's folder.
        say: Called with lines of progress.
        unchanged: Name or folder of the bundle that the checkpoints were restored from; its networks in
            `styleid.lab.bundling.unchanged.UNCHANGED` are copied instead of exported. None exports all networks.

    Raises:
        TrainingError: If a checkpoint or the teacher is missing or does not fit, `unchanged` cannot be used, or a file
            differs too much from torch.
        BundleError: If the bundle `unchanged` is missing or altered.
    """
    trained = Trained.load(checkpoints)
    model = trained.model
    encoder = load_network(MaskEncoder(MaskEncoderConfig.of(model)), checkpoints / "mask-encoder", "mask_encoder")
    separation = load_target_separation(checkpoints, model.config)
    swapper = load_swapper(checkpoints, model.config)
    kept = None if unchanged is None else Unchanged(unchanged, checkpoints)
    say("running the networks on the pack")
    faces = ReadFaces.of(pack, trained)
    mapping = fit_bank(pack, faces, trained, separation)
    say(f"a bank of {len(mapping.traits)} generated people")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    works = _works(pack, wide, faces, trained=trained, mapping=mapping, encoder=encoder, swapper=swapper)
    reports = {
        role: kept.take(role, partial) if kept is not None and role in UNCHANGED else _export(partial, role, work)
        for role, work in works.items()
    }
    if kept is not None:
        reports["generator"] = with_numbers(reports["generator"], "express", trained.generator.express.numpy())
    checkpointed = ("identity", "parser", "attributes", "mask-encoder", "refiner", "spread", "swapper")
    quality = {name: _history(checkpoints / name) for name in checkpointed}
    description = _describe(pack.template, model, _thresholds(partial, wide, teachers), quality)
    _write(partial, description, reports)
    say(f"measuring expressions in {_EXPRESSION_ATTEMPTS} attempts, to match the strength of the originals")
    express = fit_expressions(*measure_expressions(partial, pack, _EXPRESSION_ATTEMPTS), rows=trained.generator.rows)
    if kept is not None:
        reports["generator"] = with_numbers(reports["generator"], "express", express)
    else:
        trained.generator.express.copy_(torch.from_numpy(express))
        reports["generator"] = _export(partial, "generator", works["generator"])
    _write(partial, description, reports)
    for role, report in reports.items():
        eight_bit = f", 8-bit error {report.rounding:.3f}" if report.rounding else ""
        say(f"{role}: {report.size_bytes / 1e6:.1f} MB, difference from torch {report.max_error:.1e}{eight_bit}")
    if (out / "CARD.md").is_file():
        shutil.copy(out / "CARD.md", partial)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


@dataclass(frozen=True)
class _Work:
    """A network to export, with examples of its inputs by name and the names of its outputs."""

    network: nn.Module
    inputs: dict[str, torch.Tensor]
    outputs: list[str]


def _views(wide: Pack, rows: np.ndarray) -> torch.Tensor:
    """Return the recogniser's views of faces, (n, 3, 112, 112) in [-1, 1]."""
    base = base_matrix(wide.template, IDENTITY_TEMPLATE).expand(len(rows), 2, 3)
    return cut_views(torch.from_numpy(wide.crops(rows)), base, IDENTITY_TEMPLATE.size_px)


def _embed(wide: Pack, rows: np.ndarray, network: Callable[[torch.Tensor], np.ndarray]) -> np.ndarray:
    """Return a network's embeddings of faces, (n, d)."""
    with torch.no_grad():
        return np.concatenate([network(_views(wide, part)) for part in np.array_split(rows, max(1, len(rows) // 64))])


def measure_expressions(bundle: Path, pack: Pack, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Anonymise training faces with a bundle, one attempt each, and measure their expressions.

    Args:
        bundle: The bundle's folder.
        pack: The data pack.
        count: Most faces.

    Returns:
        W+ of the new faces, (n, layers, width), and `expression_features` (n, 4) of the originals and of the new faces.
    """
    anonymizer = Anonymizer.from_bundle(bundle, AnonymizeOptions(privacy="low", seed=0))
    side, method, seen = pack.template.size_px, anonymizer.method, []
    whole = np.array([[0, 0, side, side]], np.float32) - 0.5
    chosen = np.random.default_rng(0).permutation(np.nonzero(~pack.held_out)[0])[:count]
    for number, row in enumerate(chosen):
        (crop,) = pack.crops([row])
        faces = Faces(whole, np.ones(1, np.float32), pack.landmarks5[row][None])
        (source,) = anonymizer.analyse(crop, faces, np.array([0]))
        face = FaceProgress(source, step=number % len(method.steps))
        target = anonymizer.targets.sample(anonymizer.bundle, str(pack.names[row]), [face], 0)
        wplus = method.swap(anonymizer.bundle, source.wplus[None], target, [face.step])
        after = anonymizer.attempt([face], [crop], wplus)[0].observation
        rows = wplus[0].reshape(anonymizer.bundle.spec.code_shape)
        seen.append((rows, source.observation.landmarks, after.landmarks))
    codes, before, came = (np.stack(column) for column in zip(*seen, strict=True))
    return codes, expression_features(before), expression_features(came)


def _works(
    pack: Pack,
    wide: Pack,
    faces: ReadFaces,
    *,
    trained: Trained,
    mapping: TargetMapping,
    encoder: MaskEncoder,
    swapper: Swapper,
) -> dict[str, _Work]:
    chance = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(pack), generator=chance)[:_EXAMPLES].numpy()
    crops_u8 = torch.from_numpy(pack.crops(rows))
    crop = crops_u8.permute(0, 3, 1, 2).float() / 127.5 - 1
    whole = torch.randperm(len(wide), generator=chance)[:_EXAMPLES].numpy()
    landmarks, inverter = torch.from_numpy(pack.landmarks68[rows]), AAMInverter(trained.model)
    visible = torch.cat([face_visibility(trained.parser, part) for part in crop.split(64)])
    z = torch.randn(len(rows), Z, generator=chance)
    traits, codes = faces.traits[rows], faces.codes[rows]
    with torch.no_grad():
        targets = mapping(z, traits, codes)
    # half of the generator's examples are original faces, half are swapped ones
    others = torch.cat([codes[::2, :ATTRIBUTE_ROW], targets[::2, ATTRIBUTE_ROW:]], 1)
    drawn = torch.cat([codes[1::2], others])
    with torch.no_grad():
        labels = trained.parser(crop[:16])[0].argmax(1).float()
    return {
        "parser": _Work(trained.parser, {"crop": crop}, ["labels", "landmarks"]),
        "identity": _Work(trained.identity, {"crop": _views(wide, whole)}, ["embedding"]),
        "attributes": _Work(trained.attributes, {"crop": crop}, ["attributes"]),
        "inverter": _Work(inverter, {"crop": crop, "landmarks": landmarks, "visible": visible}, ["w_plus"]),
        "mask_encoder": _Work(encoder, {"labels": labels}, ["w_plus"]),
        "mapping": _Work(mapping, {"z": z, "attributes": traits, "source": codes}, ["w_plus"]),
        "swapper": _Work(swapper, {"source": codes, "target": targets}, ["share"]),
        "generator": _Work(trained.generator, {"w_plus": drawn}, ["image", "landmarks"]),
    }


def _export(folder: Path, role: str, work: _Work) -> ExportReport:
    keep = [name for name, _ in work.network.named_buffers() if name.rsplit(".", 1)[-1] in KEEP]
    examples = {name: value.numpy() for name, value in work.inputs.items()} if role in _EIGHT_BIT else None
    few, products = {name: value[:3] for name, value in work.inputs.items()}, role in _EIGHT_BIT_PRODUCTS
    return export_network(
        work.network, few, work.outputs, folder / f"{role}.onnx", keep=keep, examples=examples, products=products
    )


def _thresholds(folder: Path, wide: Pack, teachers: Path) -> dict[str, dict[str, float]]:
    """Return the thresholds of the exported identity network, measured on all pairs of clear photos.

    Blurred or tightly cropped faces, children, and generated people are more similar to each other than strangers in
    ordinary photos, and would make the gate too lenient. Training photos are used, too: the training did not use
    identities, and held-out photos give the same thresholds. The photos have no names, and some people occur more than
    once, so pairs that the teacher considers one person are left out.
    """
    clear = np.nonzero(np.isin(wide.source, [SOURCES.index(name) for name in _CLEAR_PHOTOS]))[0]
    session, teacher = open_session(folder / "identity.onnx"), IdentityTeacher(teachers)
    embeddings = _embed(wide, clear, lambda views: session.run(None, {"crop": views.numpy()})[0])
    by_teacher = _embed(wide, clear, lambda views: teacher(views).numpy())
    upper = np.triu(np.ones((len(embeddings), len(embeddings)), bool), 1)
    strangers = (embeddings @ embeddings.T)[upper & (by_teacher @ by_teacher.T < _SAME_PERSON)]
    bounds = {}
    for fmr in FALSE_MATCH_RATES:
        low, high = np.quantile(strangers, [fmr, 1 - fmr])
        bounds[f"{fmr:g}"] = {"low": round(float(low), 4), "high": round(float(high), 4)}
    return bounds


def _history(folder: Path) -> dict[str, Any]:
    """Return a checkpoint's last figures with its training progress."""
    record = json.loads((folder / "state.json").read_text())
    last = record["history"][-1] if record["history"] else {}
    return {name: round(float(value), 4) for name, value in last.items()}


def _describe(
    template: CropTemplate,
    model: ActiveAppearanceModel,
    thresholds: dict[str, dict[str, float]],
    quality: dict[str, Any],
) -> dict[str, Any]:
    def crop(of: CropTemplate) -> dict[str, Any]:
        return {"size": of.size_px, "points": [[round(x, 4), round(y, 4)] for x, y in of.points_px]}

    return {
        "format": 1,
        "name": NAME,
        "version": VERSION,
        "licence": _LICENCE,
        "provenance": _PROVENANCE,
        "made_with": f"styleid {__version__}",
        "resolution": template.size_px,
        "layers": model.config.layers,
        "width": model.config.width,
        "z": Z,
        "levels": {name: list(rows) for name, rows in model.config.levels.items()},
        "swaps": [step | {"levels": list(step["levels"])} for step in _SWAPS],
        "pixel": _PIXEL,
        "crop": crop(template),
        "identity_crop": crop(IDENTITY_TEMPLATE),
        "thresholds": thresholds,
        "max_landmark_error": MAX_LANDMARK_ERROR,
        "networks": {},
        "quality": quality,
    }


def _write(folder: Path, description: dict[str, Any], reports: dict[str, ExportReport]) -> None:
    """Write bundle.json with the networks that have been exported so far."""
    description["networks"] = {
        role: {"file": report.path.name, "sha256": report.sha256, "bytes": report.size_bytes, "opset": report.opset}
        for role, report in reports.items()
    }
    description["quality"]["parity"] = {role: float(f"{report.max_error:.1e}") for role, report in reports.items()}
    rounded = {role: round(report.rounding, 4) for role, report in reports.items() if report.rounding}
    description["quality"]["8 bits"] = rounded
    (folder / "bundle.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
