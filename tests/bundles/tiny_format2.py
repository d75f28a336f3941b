"""Make a small bundle of format 2 from a few ONNX operators, whose outputs are known.

W+ has rows of several widths: those of the geometry hold the landmarks themselves, the others what is drawn. The
inverter writes the landmarks and the recogniser's embedding into W+, `geometry` reads the landmarks out again, the
mapping keeps the source's geometry and draws the rest from z, and a generator fills the region with the light and the
colour of its last row, darker where lines and glasses are.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, checker, helper, numpy_helper, save

from styleid.bundles.registry import DEFAULT, built_in
from styleid.faces.align import CropTemplate, fit_similarity, transform_points
from styleid.faces.geometry import five_points
from styleid.pixel.guides import Part
from styleid.pixel.regions import face_hull
from tests.faces.test_geometry import neutral_face

WIDTHS = {"pose": 8, "placement": 8, "expression": 8, "shape": 112, "m8": 8, "m32": 4, "m128": 4}
GEOMETRY = 136
"""How many numbers of W+ are landmarks: x and y of 68."""
SIZE = sum(WIDTHS.values())
LEVELS = {
    "pose": [0, 0],
    "placement": [1, 1],
    "expression": [2, 2],
    "shape": [3, 3],
    "coarse": [4, 4],
    "medium": [5, 5],
    "fine": [6, 6],
}
Z = 4
MAPS = {"context": 3, "region": 1, "lines": 2, "glasses": 1, "light": 3}
_SMALL_PX, _SMALL_SIDES, _SMALL_LIMIT = 64, (32, 64), 40
_WHOLE_SIDES, _WHOLE_LIMIT = (128, 256), 150
_EMBEDDING = 16
Shape = Sequence[int | str]


def tiny_format2(folder: Path, looking: str = "small", **changes: Any) -> Path:
    """Write the bundle into a folder and return the folder.

    looking: `small` for crops of 64 px and networks that see the same in all of them; `built-in` for the parser,
    recogniser and attribute network of the built-in bundle, with which real photos can be anonymised. changes: entries
    of bundle.json to set; None takes one out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = _small(folder) if looking == "small" else _built_in(folder)
    size_px, (small, large), limit = record["crop"]["size"], *record.pop("drawn")
    firsts = np.cumsum([0, *WIDTHS.values()]).tolist()
    rows = zip(WIDTHS.items(), firsts, strict=False)
    record |= {
        "format": 2,
        "name": "tiny",
        "version": "1",
        "licence": "none",
        "provenance": "made by a test",
        "resolution": size_px,
        "rows": [{"name": name, "first": first, "width": width} for (name, width), first in rows],
        "z": Z,
        "levels": LEVELS,
        "swaps": [
            {"levels": ["coarse", "medium", "fine"], "strength": 1.0, "light_cells": 3},
            {"levels": ["coarse", "medium", "fine"], "strength": 1.0, "light_cells": 2},
            {
                "levels": ["shape", "coarse", "medium", "fine"],
                "strength": 1.0,
                "light_cells": 2,
                "expression_noise": 0.1,
            },
        ],
        "generators": [
            {"network": "generator", "side": small, "most_face_px": limit},
            {"network": f"generator{large}", "side": large},
        ],
        "neutral": _write_neutral(folder, size_px),
    }
    embedding = record.pop("embedding")
    networks = {
        "inverter": _inverter(embedding),
        "mapping": _mapping(),
        "geometry": geometry_parts(),
        "swapper": _swapper(),
        "generator": generator_parts(small),
        f"generator{large}": generator_parts(large),
    }
    record["networks"] |= {role: write_network(folder / f"{role}.onnx", *parts) for role, parts in networks.items()}
    record = {name: value for name, value in (record | changes).items() if value is not None}
    (folder / "bundle.json").write_text(json.dumps(record, indent=1))
    return folder


def write_network(
    path: Path,
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
    nodes: Sequence[NodeProto],
    constants: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Write a network of float32 inputs and outputs, shapes without the batch; return its entry for bundle.json."""

    def told(values: Mapping[str, Shape]) -> list[Any]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name, shape in values.items()]

    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), path.stem, told(inputs), told(outputs), held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    checker.check_model(model)
    save(model, path)
    return entry_of(path, opset=18)


def entry_of(path: Path, **more: Any) -> dict[str, Any]:
    """Return a file's entry for bundle.json."""
    content = path.read_bytes()
    return {"file": path.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **more}


def landmarks_of(size_px: int) -> np.ndarray:
    """Return 68 landmarks of a face from the front in the middle of a crop, float32 (68, 2)."""
    neutral, template = np.asarray(neutral_face(), np.float32), CropTemplate.tight(size_px // 2, size_px // 4)
    points = transform_points(neutral, fit_similarity(five_points(neutral), np.float32(template.points_px)))
    return np.float32(points)


def _write_neutral(folder: Path, size_px: int) -> dict[str, Any]:
    points = landmarks_of(size_px)
    parts = np.where(face_hull(points, size_px)[::2, ::2] > 0.5, Part.FACE, Part.OTHER).astype(np.uint8)
    ramp = np.linspace(60, 180, size_px)
    crop = np.stack([np.add.outer(ramp, ramp) / 2 + shift for shift in (20, 0, -20)], -1).astype(np.uint8)
    out = io.BytesIO()
    np.savez_compressed(out, crop=crop, parts=parts, landmarks=points)
    (folder / "neutral.npz").write_bytes(out.getvalue())
    return entry_of(folder / "neutral.npz")


def _small(folder: Path) -> dict[str, Any]:
    size_px = _SMALL_PX
    template = CropTemplate.tight(size_px // 2, size_px // 4)
    crop = {"size": size_px, "points": [list(point) for point in template.points_px]}
    hull = face_hull(landmarks_of(size_px), size_px)[::2, ::2] > 0.1
    logits = np.where(np.arange(19)[:, None, None] == np.where(hull, 1, 0), 8.0, 0.0).astype(np.float32)
    seen, nothing = {"crop": (3, size_px, size_px)}, np.zeros(1, np.float32)
    every = [
        helper.make_node("ReduceMean", ["crop", "axes"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
    ]
    flat = [*every, helper.make_node("Reshape", ["zero", "column"], ["zeros"])]
    axes = {"axes": np.array([1, 2, 3]), "nothing": nothing, "column": np.array([-1, 1])}
    parser = write_network(
        folder / "parser.onnx",
        seen,
        {"labels": logits.shape, "landmarks": (68, 2)},
        [
            *every,
            helper.make_node("Add", ["zero", "seen"], ["labels"]),
            helper.make_node("Reshape", ["zero", "row"], ["zeros"]),
            helper.make_node("Add", ["zeros", "points"], ["landmarks"]),
        ],
        {**axes, "seen": logits[None], "points": landmarks_of(size_px)[None], "row": np.array([-1, 1, 1])},
    )
    identity = write_network(
        folder / "identity.onnx",
        seen,
        {"embedding": (_EMBEDDING,)},
        [
            helper.make_node("AveragePool", ["crop"], ["small"], kernel_shape=[size_px // 4] * 2,
                             strides=[size_px // 4] * 2),
            helper.make_node("ReduceMean", ["small", "colours"], ["grey"], keepdims=0),
            helper.make_node("Flatten", ["grey"], ["row"]),
            helper.make_node("Add", ["row", "little"], ["moved"]),
            helper.make_node("LpNormalization", ["moved"], ["embedding"], axis=1, p=2),
        ],
        {"colours": np.array([1]), "little": np.full(1, 0.01, np.float32)},
    )  # fmt: skip
    attributes = write_network(
        folder / "attributes.onnx",
        seen,
        {"attributes": (7,)},
        [*flat, helper.make_node("Add", ["zeros", "person"], ["attributes"])],
        {**axes, "person": np.float32([[30, 0.9, 1, 0, 0, 0, 0]])},
    )
    return {
        "crop": crop,
        "identity_crop": crop,
        "thresholds": {f"{fmr:g}": {"low": -0.9, "high": 0.6} for fmr in (1e-1, 1e-2, 1e-3, 1e-4)},
        "max_landmark_error": 0.16,
        "networks": {"parser": parser, "identity": identity, "attributes": attributes},
        "embedding": _EMBEDDING,
        "drawn": (_SMALL_SIDES, _SMALL_LIMIT),
    }


def _built_in(folder: Path) -> dict[str, Any]:
    source = built_in()[DEFAULT]
    record = json.loads((source / "bundle.json").read_text())
    networks = {role: record["networks"][role] for role in ("parser", "identity", "attributes")}
    for entry in networks.values():
        shutil.copy(source / entry["file"], folder)
    kept = {name: record[name] for name in ("crop", "identity_crop", "thresholds", "max_landmark_error")}
    return kept | {"networks": networks, "embedding": 128, "drawn": (_WHOLE_SIDES, _WHOLE_LIMIT)}


Parts = tuple[Mapping[str, Shape], Mapping[str, Shape], Sequence[NodeProto], Mapping[str, np.ndarray]]


def _inverter(embedding: int) -> Parts:
    return (
        {"landmarks": (68, 2), "identity": (embedding,)},
        {"w_plus": (SIZE,)},
        [
            helper.make_node("Flatten", ["landmarks"], ["places"]),
            helper.make_node("Slice", ["identity", "first", "last", "axis"], ["who"]),
            helper.make_node("Concat", ["places", "who"], ["w_plus"], axis=1),
        ],
        {"first": np.array([0]), "last": np.array([SIZE - GEOMETRY]), "axis": np.array([1])},
    )


def _mapping() -> Parts:
    draw = np.random.default_rng(5).standard_normal((Z, SIZE - GEOMETRY)).astype(np.float32)
    return (
        {"z": (Z,), "source": (SIZE,)},
        {"w_plus": (SIZE,)},
        [
            helper.make_node("Slice", ["source", "first", "last", "axis"], ["kept"]),
            helper.make_node("MatMul", ["z", "draw"], ["drawn"]),
            helper.make_node("Tanh", ["drawn"], ["new"]),
            helper.make_node("Concat", ["kept", "new"], ["w_plus"], axis=1),
        ],
        {"first": np.array([0]), "last": np.array([GEOMETRY]), "axis": np.array([1]), "draw": draw},
    )


def geometry_parts() -> Parts:
    return (
        {"w_plus": (SIZE,)},
        {"landmarks": (68, 2)},
        [
            helper.make_node("Slice", ["w_plus", "first", "last", "axis"], ["places"]),
            helper.make_node("Reshape", ["places", "shape"], ["landmarks"]),
        ],
        {"first": np.array([0]), "last": np.array([GEOMETRY]), "axis": np.array([1]), "shape": np.array([-1, 68, 2])},
    )


def _swapper() -> Parts:
    return (
        {"source": (SIZE,), "target": (SIZE,)},
        {"share": (SIZE,)},
        [helper.make_node("Sub", ["source", "target"], ["apart"]), helper.make_node("Sigmoid", ["apart"], ["share"])],
        {},
    )


def generator_parts(side: int) -> Parts:
    """image = context + region * (light + colour) / 2 - (mean of lines + glasses) / 2, bounded."""
    return (
        {**{name: (channels, side, side) for name, channels in MAPS.items()}, "w_plus": (SIZE,)},
        {"image": (3, side, side)},
        [
            helper.make_node("Slice", ["w_plus", "first", "last", "axis"], ["three"]),
            helper.make_node("Reshape", ["three", "shape"], ["colour"]),
            helper.make_node("Add", ["light", "colour"], ["bright"]),
            helper.make_node("Mul", ["region", "bright"], ["twice"]),
            helper.make_node("ReduceMean", ["lines", "axis"], ["drawn"], keepdims=1),
            helper.make_node("Add", ["drawn", "glasses"], ["dark"]),
            helper.make_node("Sub", ["twice", "dark"], ["double"]),
            helper.make_node("Mul", ["double", "half"], ["face"]),
            helper.make_node("Add", ["context", "face"], ["whole"]),
            helper.make_node("Clip", ["whole", "least", "most"], ["image"]),
        ],
        {
            "first": np.array([SIZE - 4]),
            "last": np.array([SIZE - 1]),
            "axis": np.array([1]),
            "shape": np.array([-1, 3, 1, 1]),
            "half": np.float32([0.5]),
            "least": np.float32(-1),
            "most": np.float32(1),
        },
    )
