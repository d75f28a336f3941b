"""A few synthetic photos drawn by the appearance model, and tools with known privacy."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from styleid import load_bundle
from styleid.bundles.registry import APPEARANCE_MODEL
from styleid.core.rendering import render
from styleid.faces.detect import DetectorOptions, FaceDetector

PEOPLE, EACH = 40, 2
SIDE_PX = 224
"""Enough people for a trained attack, and for a threshold at a false-match rate of 1e-2."""


def draw_people(folder: Path, people: int = PEOPLE) -> Path:
    """Draw people, each once, and photograph each twice, in other light: `folder/person/number.png`."""
    bundle = load_bundle(APPEARANCE_MODEL)
    spec = bundle.spec
    rng = np.random.default_rng(7)
    drawn = 3 * people
    plain = np.zeros((drawn, spec.size), np.float32)
    ages = rng.uniform(20, 60, drawn)
    women, groups = np.arange(drawn) % 2, np.eye(5)[rng.integers(0, 5, drawn)]
    described = np.column_stack([ages, women, groups]).astype(np.float32)
    codes = bundle.sample(rng.standard_normal((drawn, spec.z)).astype(np.float32), described, plain)
    faces = np.concatenate([render(bundle, part)[0] for part in np.array_split(codes, people)])
    detector = FaceDetector(DetectorOptions(threshold=0.7))  # well above what the judge asks for
    faces = faces[[len(detector.detect(_photographed(face, np.random.default_rng(0)))) == 1 for face in faces]]
    for person, face in enumerate(faces[_unlike(faces, people)]):
        for number in range(EACH):
            place = folder / f"p{person:02d}" / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(_photographed(face, rng)).save(place)
    return folder


def _unlike(faces: np.ndarray, n: int) -> list[int]:
    """Choose n faces of which no two are twins: each next one the least like those that were chosen."""
    size = faces.shape[1]
    inner = faces[:, size // 4 : -(size // 4), size // 4 : -(size // 4)].astype(np.float32).reshape(len(faces), -1)
    chosen, nearest = [0], np.full(len(faces), np.inf)
    while len(chosen) < n:
        nearest = np.minimum(nearest, ((inner - inner[chosen[-1]]) ** 2).mean(1))
        chosen.append(int(nearest.argmax()))
    return chosen


def _photographed(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put a face on a wall of another colour each time, a little brighter on one side, with grain."""
    light = np.linspace(0.95, 1.05, face.shape[1])[:: rng.choice([-1, 1]), None]
    seen = (face * light + rng.normal(0, 2, face.shape)).clip(0, 255).round().astype(np.uint8)
    photo = np.full((SIDE_PX, SIDE_PX, 3), rng.integers(90, 160, 3), np.uint8)
    start = (SIDE_PX - len(seen)) // 2 + rng.integers(-6, 7, 2)
    photo[start[0] : start[0] + len(seen), start[1] : start[1] + len(seen)] = seen
    return photo


def made(originals: Path, out: Path, change) -> Path:
    """Apply a change of pixels, uint8 to uint8, to every photo, as a tool would."""
    for path in sorted(originals.rglob("*.png")):
        target = out / path.relative_to(originals)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(change(np.asarray(Image.open(path)))).save(target)
    return out


def copied(originals: Path, out: Path, keep=lambda index: True) -> Path:
    """Copy the files whose number among all `keep` accepts."""
    for index, path in enumerate(sorted(originals.rglob("*.png"))):
        if keep(index):
            target = out / path.relative_to(originals)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return out


def boxed(image: np.ndarray) -> np.ndarray:
    """Cover everything of a drawn photo but a narrow frame."""
    hidden = np.full_like(image, 128)
    hidden[:4] = image[:4]
    return hidden


def with_thumbnail(image: np.ndarray, shown: np.ndarray) -> bytes:
    """Return a JPEG of an image whose EXIF thumbnail shows another one, as careless tools leave it."""
    small, main = io.BytesIO(), io.BytesIO()
    Image.fromarray(shown).resize((96, 96)).save(small, "JPEG", quality=90)
    Image.fromarray(image).save(main, "JPEG", quality=92)
    thumbnail, jpeg = small.getvalue(), main.getvalue()
    # TIFF header, an empty first directory, a second one that points at the thumbnail
    tiff = b"II*\0" + (8).to_bytes(4, "little") + (0).to_bytes(2, "little") + (14).to_bytes(4, "little")
    entries = [(0x0103, 3, 6), (0x0201, 4, 14 + 2 + 3 * 12 + 4), (0x0202, 4, len(thumbnail))]
    tiff += len(entries).to_bytes(2, "little")
    for tag, kind, value in entries:
        tiff += tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + (1).to_bytes(4, "little")
        tiff += value.to_bytes(4, "little")
    payload = b"Exif\0\0" + tiff + bytes(4) + thumbnail
    return jpeg[:2] + b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload + jpeg[2:]


def pixel_recogniser(folder: Path) -> Path:
    """Write a recogniser whose embedding is the crop itself, less its mean, so that a negative is exactly opposite."""
    from onnx import TensorProto, helper, save

    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["crop"], ["small"], kernel_shape=[14, 14], strides=[14, 14]),
            helper.make_node("Flatten", ["small"], ["flat"]),
            helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[1], keepdims=1),
            helper.make_node("Sub", ["flat", "mean"], ["embedding"]),
        ],
        "pixels",
        [helper.make_tensor_value_info("crop", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 192])],
    )
    path = folder / "pixels.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    path.with_suffix(".json").write_text(json.dumps({"name": "pixels", "size": 112}))
    return path
