"""A data pack of cartoon faces, to test trainings without data.

Convention
----------
Faces are laid out in the unit square of the tight crop, (x, y), and drawn with pixel centres at integers: a point p
lies at p * inner_px - 0.5 + margin_px of the crop, as `CropTemplate.tight` has it.
"""

from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np

from styleid.faces.align import UTKFACE_POINTS, CropTemplate
from styleid.lab.data import pack as packs
from styleid.lab.data.pack import Pack

_SKIN_RGB = np.array([(236, 205, 185), (110, 75, 55), (232, 200, 160), (175, 125, 90), (205, 160, 130)], np.float32)
_FINER = 4


def synthetic_pack(n: int = 24, inner_px: int = 32, margin_px: int = 4, seed: int = 0) -> Pack:
    """Return a pack of n faces.

    Every fifth is held out; every third has a label map; every fourth has no age and every seventh neither sex nor
    group. Even rows come from the source of generated people, odd rows from photos. Group sets the skin's colour, sex
    the hair's length, age its greyness.
    """
    rng = np.random.default_rng(seed)
    template = CropTemplate.tight(inner_px, margin_px)
    size, rows = template.size_px, np.arange(n)
    age, sex, group = rng.uniform(5, 90, n).astype(np.float32), rng.integers(0, 2, n), rng.integers(0, 5, n)
    crops, labels, landmarks = [], [], []
    for i in rows:
        points = layout(rng)
        pixels = points * inner_px - 0.5 + margin_px
        image, classes = _draw(pixels, size, inner_px, int(group[i]), int(sex[i]), float(age[i]), rng)
        crops.append(cv2.imencode(".webp", image[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 95])[1].reshape(-1))
        labels.append(cv2.imencode(".png", classes)[1].reshape(-1) if i % 3 == 0 else np.zeros(0, np.uint8))
        landmarks.append(pixels)
    points68 = np.stack(landmarks).astype(np.float32)
    corners = np.array([[0, 0], [size - 1, 0], [size - 1, size - 1], [0, size - 1]], np.float32)
    return Pack(
        template=template,
        webp=np.concatenate(crops),
        offsets=np.cumsum([0, *map(len, crops)], dtype=np.int64),
        names=np.array([f"face-{i:04d}" for i in rows]),
        source=np.where(rows % 2 == 0, 0, 3).astype(np.int8),
        held_out=rows % 5 == 4,
        valid_quads=np.repeat(corners[None], n, 0),
        landmarks5=five_of_68(points68),
        landmarks68=points68,
        age=np.where(rows % 4 == 3, np.nan, age).astype(np.float32),
        sex=np.where(rows % 7 == 6, -1, sex).astype(np.int8),
        group=np.where(rows % 7 == 6, -1, group).astype(np.int8),
        labels_png=np.concatenate(labels),
        labels_offsets=np.cumsum([0, *map(len, labels)], dtype=np.int64),
    )


def write_pack(pack: Pack, path: Path) -> None:
    """Write a pack to a file as `build_pack` does."""
    columns = [f.name for f in fields(Pack) if f.name not in ("template", "webp", "offsets")]
    rows = []
    for i in range(len(pack)):
        row = {name: getattr(pack, name)[i] for name in columns if not name.startswith("labels_")}
        row["webp"] = pack.webp[pack.offsets[i] : pack.offsets[i + 1]]
        row["labels_png"] = pack.labels_png[pack.labels_offsets[i] : pack.labels_offsets[i + 1]]
        rows.append(row)
    packs.write_rows(path, rows, pack.template)


def five_of_68(points: np.ndarray) -> np.ndarray:
    """Return the eyes' centres, the nose tip and the mouth's corners of (..., 68, 2) landmarks."""
    eyes = [points[..., 36:42, :].mean(-2), points[..., 42:48, :].mean(-2)]
    return np.stack([*eyes, points[..., 30, :], points[..., 48, :], points[..., 54, :]], -2).astype(np.float32)


def layout(rng: np.random.Generator) -> np.ndarray:
    """Return 68 landmarks (iBUG order) in the unit square, with a person's and an expression's variation."""
    left_eye, right_eye, nose, left_mouth, right_mouth = np.asarray(UTKFACE_POINTS)
    wide, long, opening = rng.uniform(0.92, 1.08), rng.uniform(0.95, 1.05), rng.uniform(0, 0.05)
    turn = np.linspace(np.pi, 0, 17)
    jaw = np.stack([0.5 + 0.40 * wide * np.cos(turn), 0.36 + 0.56 * long * np.sin(turn)], 1)
    arch = np.stack([np.linspace(-0.11, 0.11, 5), -0.025 * np.sin(np.linspace(0, np.pi, 5))], 1)
    lift = np.array([0, -0.09 - rng.uniform(0, 0.03)])
    bridge = np.stack([np.full(4, 0.5), np.linspace(left_eye[1], nose[1], 4)], 1)
    wings = np.stack(
        [0.5 + 0.07 * wide * np.linspace(-1, 1, 5), nose[1] + np.array([0.03, 0.04, 0.045, 0.04, 0.03])], 1
    )
    lid = rng.uniform(0.6, 1.2) * 0.025
    eye = np.array([[-0.07, 0], [-0.025, -lid], [0.025, -lid], [0.07, 0], [0.025, lid], [-0.025, lid]])
    mouth = (left_mouth + right_mouth) / 2
    half = (right_mouth - left_mouth)[0] / 2 * wide
    top, bottom = np.linspace(np.pi, 0, 7), np.linspace(0, np.pi, 7)[1:-1]
    outer = [[half * np.cos(a), -0.035 * np.sin(a)] for a in top]
    outer += [[half * np.cos(a), (0.045 + opening) * np.sin(a)] for a in bottom]
    inner = [[0.75 * half * np.cos(a), -0.006 * np.sin(a)] for a in np.linspace(np.pi, 0, 5)]
    inner += [
        [0.75 * half * np.cos(a), (0.008 + opening) * np.sin(a)] for a in (0.25 * np.pi, 0.5 * np.pi, 0.75 * np.pi)
    ]
    parts = [jaw, left_eye + lift + arch, right_eye + lift + arch, bridge, wings, left_eye + eye, right_eye + eye]
    points = np.concatenate([*parts, mouth + np.array(outer), mouth + np.array(inner)])
    return (points + rng.normal(0, 0.006, 2) + rng.normal(0, 0.002, points.shape)).astype(np.float32)


def _draw(
    points: np.ndarray, size: int, inner_px: int, group: int, sex: int, age: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a face's crop, uint8 (size, size, 3), and its CelebAMask-HQ classes, uint8 (size, size)."""
    side = size * _FINER
    image = np.empty((side, side, 3), np.uint8)
    image[:] = np.linspace(rng.integers(60, 200, 3), rng.integers(60, 200, 3), side)[:, None]
    classes = np.zeros((side, side), np.uint8)
    skin = np.clip(_SKIN_RGB[group] + rng.normal(0, 8, 3), 0, 255)
    hair = np.array([70, 50, 35]) * (1 - age / 100) + 190 * age / 100
    lips = 0.6 * skin + 0.4 * np.array([190, 60, 70])
    centre, unit = points[:17].mean(0), inner_px

    def fill(polygon: np.ndarray, colour: np.ndarray, label: int) -> None:
        corners = np.round((np.asarray(polygon) + 0.5) * _FINER - 0.5).astype(np.int32)
        cv2.fillPoly(image, [corners], [float(v) for v in colour])
        cv2.fillPoly(classes, [corners], label)

    def oval(middle: np.ndarray, radius_x: float, radius_y: float) -> np.ndarray:
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        return middle + np.stack([radius_x * np.cos(angle), radius_y * np.sin(angle)], 1) * unit

    brows_up = np.array([0, 0.2]) * unit
    forehead = np.concatenate([points[26:21:-1], points[21:16:-1]]) - brows_up * np.array([0, 0.6])
    fill(centre + np.array([[-0.2, 0], [0.2, 0], [0.25, 1], [-0.25, 1]]) * unit, skin * 0.85, 17)
    fill(centre + np.array([[-0.9, 0.5], [0.9, 0.5], [0.9, 1.2], [-0.9, 1.2]]) * unit, rng.integers(20, 220, 3), 18)
    fill(oval(centre - np.array([0, 0.22]) * unit, 0.48, 0.5 + 0.35 * sex), hair, 13)
    fill(np.concatenate([points[:17], forehead]), skin, 1)
    for part, label in ((points[17:22], 6), (points[22:27], 7)):
        fill(np.concatenate([part, part[::-1] + np.array([0, 0.025 * unit])]), hair * 0.7, label)
    fill(points[[27, 31, 32, 33, 34, 35]], skin * 0.9, 2)
    for part, label in ((points[36:42], 4), (points[42:48], 5)):
        fill(part, np.array([245, 245, 245]), label)
        fill(oval(part.mean(0), 0.018, 0.018), np.array([50, 40, 30]), label)
    fill(np.concatenate([points[48:55], points[64:59:-1]]), lips, 11)
    fill(np.concatenate([points[54:60], points[[48, 60, 67, 66, 65, 64]]]), lips, 12)
    fill(points[60:68], np.array([90, 20, 30]), 10)
    small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    noisy = np.clip(small + rng.normal(0, 3, small.shape), 0, 255).astype(np.uint8)
    return noisy, np.ascontiguousarray(classes[_FINER // 2 :: _FINER, _FINER // 2 :: _FINER])
