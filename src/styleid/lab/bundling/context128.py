"""Build of a context bundle from a trained generator and another bundle's networks: export, measure, describe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from styleid.bundles.bundle import Bundle
from styleid.bundles.registry import APPEARANCE_MODEL
from styleid.faces.align import CropTemplate
from styleid.lab.bundling.context_bank import inner_landmarks
from styleid.lab.bundling.context_figures import Drawn, compare, draw_faces, generator_inputs
from styleid.lab.bundling.context_parts import Parts
from styleid.lab.bundling.neutral import most_average, redraw, write_neutral
from styleid.lab.bundling.restore import restore
from styleid.lab.data.context_pack import ContextPack
from styleid.lab.export.context_generator import export_context_generator
from styleid.lab.export.network import ExportReport, export_network
from styleid.lab.networks.context_bundle import KEPT_ROWS, ContextInverter, GeometryEncoder, PlainInverter
from styleid.lab.networks.mask_encoder import MaskEncoder, MaskEncoderConfig
from styleid.lab.networks.targets import Z
from styleid.lab.tasks.context_options import BankOptions
from styleid.version import __version__

FORMAT = 2
VERSION = "3"
_LICENCE = "research, non-commercial; see CARD.md"
_PROVENANCE = "A generator that fills a face's region from its surroundings, trained by styleid from public face data."
_TAKEN = ("shape", "coarse", "medium", "fine")
_SWAPS: tuple[dict[str, Any], ...] = (
    {"levels": _TAKEN, "strength": 1.0, "light_cells": 3},
    {"levels": _TAKEN, "strength": 1.0, "light_cells": 2},
    {"levels": _TAKEN, "strength": 1.0, "light_cells": 2, "cover": 0.06},
)
"""Swaps in ascending order of change."""
_PIXEL: dict[str, Any] = {"levels": (_TAKEN[1:], _TAKEN), "region": "full", "side": 0, "outlined": False}
_LEVELS = {
    "shape": ("shape",),
    "coarse": ("m8", "m16"),
    "medium": ("m32",),
    "fine": ("m64", "m128", "m256"),
}
"""Prefixes of the rows' names, by level."""
_COPIED = ("parser", "identity", "attributes")
"""Networks that are copied from the other bundle."""
_KEEP = ("mean_shape", "shape_in", "shape_out", "average", "reading", "centre", "truncation")
"""Buffers that stay float32, because landmarks and averages of pixels need the precision."""
_EXAMPLES = 256
"""Number of faces for the calibration of the 8-bit generator."""


def build_context_bundle(
    pack: ContextPack,
    source: Path,
    out: Path,
    say: Callable[[str], None] = print,
    *,
    bundle: str | Path = APPEARANCE_MODEL,
    bank: BankOptions | None = None,
    eight_bits: bool = True,
) -> None:
    """Write the bundle to a folder, completely or not at all. A CARD.md that is already in the folder is kept.

    Args:
        pack: The context pack, whose generated people form the bank.
        source: A checkpoint's folder of `styleid train context-generator`, or a .safetensors file of `ema.*` and `d.*`.
        out: The bundle's folder.
        say: Called with lines of progress.
        bundle: Name or folder of the bundle that provides parser, recogniser, attribute network and appearance model.
        bank: Options of the target bank; None uses the defaults.
        eight_bits: Quantise the generator's convolutions.

    Raises:
        TrainingError: If the checkpoint, the pack or the other bundle cannot be used, or a file differs from torch.
        BundleError: If the other bundle is missing or altered.
    """
    parts = Parts.gather(pack, source, bundle, bank)
    say(f"a bank of {len(parts.bank)} generated people")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    neutral = _neutral(parts, partial)
    reports = {role: _copy(parts.base, role, partial) for role in _COPIED}
    reports |= {role: _export(partial, role, *work) for role, work in _works(parts).items()}
    reports["generator"], drawn = _export_generator(parts, partial, eight_bits)
    for role, report in reports.items():
        say(f"{role}: {report.size_bytes / 1e6:.2f} MB, difference from torch {report.max_error:.1e}")
    say(_figures(drawn))
    description = _describe(parts, reports, neutral, drawn)
    (partial / "bundle.json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    if (out / "CARD.md").is_file():
        shutil.copy(out / "CARD.md", partial)
    else:
        (partial / "CARD.md").write_text(_card(parts, description), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


def _figures(drawn: Drawn | None) -> str:
    if drawn is None:
        return "the generator's convolutions stay in floating point"
    return (
        f"8-bit generator: held-out faces differ from torch's by {drawn.difference} of 255, cosine {drawn.alike}; "
        f"cosine to the target {drawn.asked} (torch {drawn.asked_before})"
    )


def _copy(base: Bundle, role: str, folder: Path) -> ExportReport:
    base.check(role)
    entry, quality = base.spec.networks[role], base.spec.quality
    shutil.copy(base.folder / entry.file, folder / entry.file)
    parity, rounding = (float(quality.get(name, {}).get(role, 0.0)) for name in ("parity", "8 bits"))
    return ExportReport(folder / entry.file, parity, entry.bytes, entry.opset, entry.sha256, rounding)


_CARD = """# {name}

A bundle for styleid with a generator that fills a face's region from its surroundings. It holds the parser, recogniser
and attribute network of {base}, and an inverter, geometry, mask encoder, mapping and generator of its own. Crops have
{crop} px, faces are drawn at {side} px; W+ has {size} numbers.

**Use**: non-commercial research only (`bundle.json`: research, non-commercial), because the public training data has
these terms. It lowers the risk of recognition in pictures. It is not a guarantee.

**Training**: {trained} of face photos and of generated faces. The bank has {people} generated people; the neutral crop
shows one of them, redrawn.

**Figures** are in bundle.json under `quality`. The leak of the bundle was not measured when it was built.
"""
Work = tuple[nn.Module, dict[str, torch.Tensor], str]
"""A network, examples of its inputs by name, and the name of its output."""


def _works(parts: Parts) -> dict[str, Work]:
    """Return the networks to export except the generator, by role."""
    pack, size_px = parts.pack, parts.base.spec.crop.size_px
    rows = parts.bank[:3]
    crop = torch.from_numpy(pack.crops(rows)).permute(0, 3, 1, 2).float() / 127.5 - 1
    crop = nn.functional.interpolate(crop, size_px, mode="bilinear", antialias=True)
    seen = {
        "crop": crop,
        "landmarks": inner_landmarks(pack, rows, size_px),
        "visible": torch.ones(len(rows), 1, size_px, size_px),
        "identity": torch.from_numpy(pack.embedding[rows].astype(np.float32)),
    }
    inverter: nn.Module = PlainInverter(parts.shapes, parts.styles)
    if parts.checkpoint.appearance is not None:
        inverter = ContextInverter(parts.shapes, parts.styles, parts.checkpoint.appearance, size_px)
    else:
        seen = {name: seen[name] for name in ("landmarks", "identity")}
    inverter = inverter.eval()
    with torch.no_grad():
        codes = inverter(*seen.values())
    draw = torch.Generator().manual_seed(0)
    looks = torch.from_numpy(pack.known_looks()[rows])
    works: dict[str, Work] = {
        "inverter": (inverter, seen, "w_plus"),
        "geometry": (parts.shapes, {"w_plus": codes}, "landmarks"),
        "mapping": (
            parts.mapping,
            {"z": torch.randn(len(rows), Z, generator=draw), "attributes": looks, "source": codes},
            "w_plus",
        ),
    }
    if parts.base.has("mask_encoder"):
        parts.base.check("mask_encoder")
        encoder = MaskEncoder(MaskEncoderConfig.of(parts.model))
        restore(encoder, parts.base.folder / parts.base.spec.networks["mask_encoder"].file)
        side = encoder.config.side_px
        labels = torch.randint(0, 19, (len(rows), side, side), generator=draw).float()
        works["mask_encoder"] = (GeometryEncoder(encoder, parts.size), {"labels": labels}, "w_plus")
    return works


def _export(folder: Path, role: str, network: nn.Module, inputs: dict[str, torch.Tensor], output: str) -> ExportReport:
    keep = [name for name, _ in network.named_buffers() if name.rsplit(".", 1)[-1] in _KEEP]
    return export_network(network, inputs, [output], folder / f"{role}.onnx", keep=keep)


def _export_generator(parts: Parts, folder: Path, eight_bits: bool) -> tuple[ExportReport, Drawn | None]:
    """Export the generator. With 8-bit convolutions, also return how its faces differ from torch's."""
    generator, path, first = parts.checkpoint.generator, folder / "generator.onnx", parts.shapes.numbers
    rows = np.random.default_rng(0).permutation(np.nonzero(~parts.pack.held_out)[0])[: _EXAMPLES if eight_bits else 3]
    inputs = generator_inputs(parts, draw_faces(parts, rows, varied=True))
    few = {name: value[:3] for name, value in inputs.items()}
    if not eight_bits:
        return export_context_generator(generator, path, few, geometry=first), None
    examples = {name: value.numpy() for name, value in inputs.items()}
    report = export_context_generator(generator, path, few, geometry=first, examples=examples)
    return report, compare(parts, path)


def _neutral(parts: Parts, folder: Path) -> dict[str, Any]:
    codes = parts.mapping.people(parts.mapping.people_q)[0]
    row = most_average(parts.pack, parts.bank, codes.numpy())
    code = parts.codes(np.array([row]))
    return write_neutral(redraw(parts.pack, row, parts.model, parts.checkpoint.generator, code), parts.base, folder)


def _describe(
    parts: Parts, reports: Mapping[str, ExportReport], neutral: Mapping[str, Any], drawn: Drawn | None
) -> dict[str, Any]:
    spec, config = parts.base.spec, parts.checkpoint.generator.config
    rows = rows_of(parts)
    levels = levels_of([row["name"] for row in rows])
    figures = {name: round(float(value), 4) for name, value in parts.checkpoint.figures.items()}
    quality: dict[str, Any] = {"generator": figures, "bank": {"people": len(parts.bank)}}
    quality |= {role: spec.quality[role] for role in (*_COPIED, "mask-encoder") if role in spec.quality}
    quality["parity"] = {role: float(f"{report.max_error:.1e}") for role, report in reports.items()}
    quality["8 bits"] = {role: round(report.rounding, 4) for role, report in reports.items() if report.rounding}
    if drawn is not None:
        quality["drawn"] = asdict(drawn)
    return {
        "format": FORMAT,
        "name": f"context{config.side}",
        "version": VERSION,
        "licence": _LICENCE,
        "provenance": _PROVENANCE,
        "made_with": f"styleid {__version__}",
        "resolution": spec.crop.size_px,
        "rows": rows,
        "z": Z,
        "levels": levels,
        "swaps": [step | {"levels": _known(step["levels"], levels)} for step in _SWAPS],
        "pixel": _PIXEL | {"levels": [_known(names, levels) for names in _PIXEL["levels"]]},
        "crop": _template(spec.crop),
        "identity_crop": _template(spec.identity_crop),
        "thresholds": {f"{fmr:g}": {"low": one.low, "high": one.high} for fmr, one in spec.thresholds.items()},
        "max_landmark_error": spec.max_landmark_error,
        "generators": [{"network": "generator", "side": config.side}],
        "neutral": dict(neutral),
        "networks": {
            role: {"file": report.path.name, "sha256": report.sha256, "bytes": report.size_bytes, "opset": report.opset}
            for role, report in reports.items()
        },
        "quality": quality,
    }


def rows_of(parts: Parts) -> list[dict[str, Any]]:
    """Return the entries of bundle.json for the rows of W+: name, first number, width."""
    config, width = parts.checkpoint.generator.config, parts.shapes.width
    names = ["pose", "placement", "expression"] + [f"shape{i}" for i in range(parts.shapes.rows - KEPT_ROWS)]
    rows = [{"name": name, "first": i * width, "width": width} for i, name in enumerate(names)]
    start = parts.shapes.numbers
    return rows + [
        {"name": name, "first": start + i * config.width, "width": config.width}
        for i, name in enumerate(config.layer_names)
    ]


def levels_of(names: Sequence[str]) -> dict[str, list[int]]:
    """Return the first and last row (inclusive) of each level of W+, given the rows' names."""
    levels = {name: [i, i] for i, name in enumerate(names[:KEPT_ROWS])}
    for level, prefixes in _LEVELS.items():
        if rows := [i for i, name in enumerate(names) if name.startswith(prefixes)]:
            levels[level] = [rows[0], rows[-1]]
    return levels


def _known(names: Sequence[str], levels: Mapping[str, Any]) -> list[str]:
    """Return the names that are in `levels`. For example, a generator of 64 px has no fine level."""
    return [name for name in names if name in levels]


def _template(crop: CropTemplate) -> dict[str, Any]:
    return {"size": crop.size_px, "points": [[round(x, 4), round(y, 4)] for x, y in crop.points_px]}


def _card(parts: Parts, description: Mapping[str, Any]) -> str:
    """Return a model card with the facts that the builder knows. Figures of the whole bundle are added by hand."""
    images = parts.checkpoint.figures.get("images")
    return _CARD.format(
        name=description["name"],
        base=parts.base.spec.name,
        crop=parts.base.spec.crop.size_px,
        side=parts.checkpoint.generator.config.side,
        size=parts.size,
        trained="an unknown number of views" if images is None else f"{images:,.0f} views",
        people=len(parts.bank),
    )
