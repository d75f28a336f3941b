"""Make bundles with known generators, such as one that returns the original face or noise.

W+ holds the crop itself, one row per colour, and the mapping gives the source back, so that a swap changes nothing and
the generator alone decides what comes out. The networks that look (parser, identity, attributes) are small ones with
known answers, or those of the built-in bundle where there is one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from styleid.bundles.registry import DEFAULT, built_in
from styleid.faces.align import CropTemplate, fit_similarity, transform_points
from styleid.faces.geometry import five_points
from styleid.pixel.regions import face_hull

SIDE_PX = 128
TEMPLATE = CropTemplate.tight(64, 32)
GENERATORS = ("copy", "noise", "flat", "other")
"""copy: the original face; noise: the same noise for all; flat: grey; other: the original under a chessboard, which the
small identity network takes for somebody else."""

Works = dict[str, tuple[Any, dict[str, Any], list[str]]]
LOOKING = ("parser", "identity", "attributes")
_PERIOD_PX = 12
_CONTRAST = 0.5
_ORIGINAL_SHARE = 0.08


def looking_networks() -> tuple[str, ...]:
    """Name the sets of networks that bundles can be made with: `small`, and `built-in` where there is one."""
    return ("small", "built-in") if DEFAULT in built_in() else ("small",)


def tiny_bundle(factory: pytest.TempPathFactory, generator: str, looking: str = "small") -> Path:
    """Return the folder of a bundle, made once a session; skips the test where torch or its exporter is missing."""
    root = factory.getbasetemp() / "tiny_bundles" / looking
    folder, common = root / generator, root / "common"
    if (folder / "bundle.json").is_file():
        return folder
    for package in ("torch", "onnxscript"):
        pytest.importorskip(package, reason=f"tiny bundles are made with {package}: pip install 'styleid[lab]'")
    if not (common / "bundle.json").is_file():
        _make_common(common, looking)
    shutil.copytree(common, folder, ignore=shutil.ignore_patterns("bundle.json"), dirs_exist_ok=True)
    record = json.loads((common / "bundle.json").read_text()) | {"name": f"tiny-{generator}"}
    _export_all(folder, record, _drawing(generator, record["resolution"]))
    return folder


def likeness(original: np.ndarray, output: np.ndarray, box) -> float:
    """Correlate the details of two images over the ellipse that a face's box holds; 0 where the output is flat."""
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    inside = np.zeros(original.shape[:2], np.uint8)
    cv2.ellipse(inside, ((x0 + x1) // 2, (y0 + y1) // 2), ((x1 - x0) // 2, (y1 - y0) // 2), 0, 0, 360, 1, -1)
    a, b = (_detail(image, max(1.0, 0.06 * (x1 - x0)))[inside > 0] for image in (original, output))
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))) if b.std() > 0.5 else 0.0


def _detail(image_rgb: np.ndarray, sigma: float) -> np.ndarray:
    luma = image_rgb.astype(np.float32).mean(-1)
    return luma - cv2.GaussianBlur(luma, (0, 0), sigma)


def _make_common(folder: Path, looking: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    record = _small(folder) if looking == "small" else _copied(folder)
    side = record["resolution"]
    record |= {
        "format": 1,
        "version": "1",
        "licence": "none",
        "provenance": "made by a test",
        "layers": 3,
        "width": side * side,
        "z": 4,
        "levels": {"light": [0, 0], "rest": [1, 2]},
        "swaps": [{"levels": ["rest"], "strength": 1.0}, {"levels": ["light", "rest"], "strength": 1.0}],
    }
    _export_all(folder, record, _passing(side))


def edit_bundle(folder: Path, out: Path, **changes: Any) -> Path:
    """Copy a bundle with other entries in bundle.json; None takes an entry out."""
    shutil.copytree(folder, out)
    record = json.loads((out / "bundle.json").read_text()) | changes
    record = {name: value for name, value in record.items() if value is not None}
    (out / "bundle.json").write_text(json.dumps(record))
    return out


def checks() -> np.ndarray:
    """Return what `other` adds to a crop, (SIDE_PX, SIDE_PX): a soft chessboard, which no face looks like."""
    x, y = np.meshgrid(np.arange(SIDE_PX) - (SIDE_PX - 1) / 2, np.arange(SIDE_PX) - (SIDE_PX - 1) / 2)
    window = np.exp(-(x**2 + y**2) / (2 * 26**2))
    return (np.sin(2 * np.pi * x / _PERIOD_PX) * np.sin(2 * np.pi * y / _PERIOD_PX) * window).astype(np.float32)


def landmarks() -> np.ndarray:
    """Return the 68 landmarks that the small parser gives for every crop, on its template's five points."""
    from tests.faces.test_geometry import neutral_face

    neutral = np.asarray(neutral_face(), np.float32)
    return transform_points(neutral, fit_similarity(five_points(neutral), np.float32(TEMPLATE.points_px)))


def _small(folder: Path) -> dict[str, Any]:
    import torch

    from styleid.lab.networks.attributes import AttributesConfig, AttributesNet
    from styleid.lab.networks.identity import IdentityConfig

    torch.manual_seed(0)
    crop = {"size": SIDE_PX, "points": [list(point) for point in TEMPLATE.points_px]}
    record: dict[str, Any] = {
        "resolution": SIDE_PX,
        "crop": crop,
        "identity_crop": crop,
        "thresholds": {f"{fmr:g}": {"low": -0.9, "high": 0.6} for fmr in (1e-1, 1e-2, 1e-3, 1e-4)},
        "max_landmark_error": 0.16,
        "networks": {},
    }
    example = {"crop": torch.rand(2, 3, SIDE_PX, SIDE_PX) * 2 - 1}
    kinds = _kinds()
    describing = AttributesNet(AttributesConfig(SIDE_PX, 32, IdentityConfig((8, 8, 8, 8), (1, 1, 1, 1))))
    networks: Works = {
        "parser": (kinds["parser"](), example, ["labels", "landmarks"]),
        "identity": (kinds["identity"](), example, ["embedding"]),
        "attributes": (describing, example, ["attributes"]),
    }
    _export_all(folder, record, networks)
    return record


def _copied(folder: Path) -> dict[str, Any]:
    source = built_in()[DEFAULT]
    record = json.loads((source / "bundle.json").read_text())
    kept = ("resolution", "crop", "identity_crop", "thresholds", "max_landmark_error")
    networks = {role: record["networks"][role] for role in LOOKING}
    for entry in networks.values():
        shutil.copy(source / entry["file"], folder)
    return {name: record[name] for name in kept} | {"networks": networks}


def _passing(side: int) -> Works:
    import torch

    crop = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    given = {"z": torch.ones(2, 4), "source": crop.flatten(2)}
    kinds = _kinds()
    return {
        "inverter": (kinds["inverter"](), {"crop": crop}, ["w_plus"]),
        "mapping": (kinds["mapping"](), given, ["w_plus"]),
    }


def _drawing(generator: str, side: int) -> Works:
    import torch

    w_plus = torch.rand(2, 3, side * side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return {"generator": (_kinds()["generator"](generator, side), {"w_plus": w_plus}, ["image"])}


def _export_all(folder: Path, record: dict[str, Any], works: Works) -> None:
    """Export networks into a bundle's folder and finish its description."""
    from styleid.lab.export.network import export_network

    for role, (network, inputs, outputs) in works.items():
        report = export_network(network, inputs, outputs, folder / f"{role}.onnx", half=False)
        content = report.path.read_bytes()
        record["networks"][role] = {
            "file": report.path.name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "opset": report.opset,
        }
    (folder / "bundle.json").write_text(json.dumps(record, indent=1))


def _kinds() -> dict[str, Any]:
    """Return the network classes; they stand in a function since torch may be missing."""
    import torch
    from torch import nn

    class Inverter(nn.Module):
        def forward(self, crop: torch.Tensor) -> torch.Tensor:
            return crop.flatten(2)

    class Mapping(nn.Module):
        def forward(self, z: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
            return source + 0 * z.sum(1)[:, None, None]

    class Generator(nn.Module):
        def __init__(self, kind: str, side: int) -> None:
            super().__init__()
            self.side, self.share = side, 0.0 if kind in ("noise", "flat") else 1.0
            added = torch.full((1, 3, side, side), 0.1)
            if kind == "noise":
                added = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(5)) * 2 - 1
            elif kind != "flat":
                added = torch.from_numpy(checks() * _CONTRAST * (kind == "other")).expand(1, 3, -1, -1)
                added = nn.functional.interpolate(added, (side, side))
            self.register_buffer("added", added)

        def forward(self, w_plus: torch.Tensor) -> torch.Tensor:
            return w_plus.reshape(-1, 3, self.side, self.side) * self.share + self.added

    class Parser(nn.Module):
        """The same for every crop, but that the face is wider under the chessboard, so that surroundings must move."""

        def __init__(self) -> None:
            super().__init__()
            hull = face_hull(landmarks(), SIDE_PX)[::2, ::2] > 0.1
            labels = np.where(np.arange(19)[:, None, None] == np.where(hull, 1, 0), 8.0, 0.0)
            self.register_buffer("labels", torch.from_numpy(labels.astype(np.float32))[None])
            points = torch.from_numpy(landmarks())[None]
            self.register_buffer("points", points)
            self.register_buffer("wider", (points - points.mean(1, keepdim=True)) * 0.1)
            self.register_buffer("pattern", torch.from_numpy(checks() / (checks() ** 2).sum())[None])

        def forward(self, crop: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            found = (crop.mean(1) * self.pattern).sum((1, 2))[:, None, None]
            return self.labels + 0 * found[..., None], self.points + (5 * found).tanh() * self.wider

    class Identity(nn.Module):
        """How much of the chessboard is there, against a constant."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("pattern", torch.from_numpy(checks() / (checks() ** 2).sum())[None])

        def forward(self, crop: torch.Tensor) -> torch.Tensor:
            found = (crop.mean(1) * self.pattern).sum((1, 2))
            return nn.functional.normalize(torch.stack([0 * found + _ORIGINAL_SHARE, found], 1))

    return {
        "inverter": Inverter,
        "mapping": Mapping,
        "generator": Generator,
        "parser": Parser,
        "identity": Identity,
    }
