"""A context pack of cartoon faces."""

from dataclasses import fields

import cv2
import numpy as np

from styleid.faces.geometry import with_forehead
from styleid.lab.data.context_pack import ContextPack
from styleid.lab.data.pack import Pack
from styleid.pixel.guides import PART_OF_CLASS, Part
from tests.lab.synthetic import synthetic_pack


def synthetic_context_pack(n: int = 24, inner_px: int = 64, margin_px: int = 8, seed: int = 0) -> ContextPack:
    """Return a pack of n cartoon faces with random embeddings; every sixth wears glasses."""
    pack, rng = synthetic_pack(n, inner_px, margin_px, seed), np.random.default_rng(seed)
    maps = [_map(pack, i) for i in range(n)]
    columns = {field.name: getattr(pack, field.name) for field in fields(Pack)}
    embedding, second = (rng.standard_normal((2, n, 128)) / np.sqrt(128)).astype(np.float16)
    looks = np.concatenate([rng.uniform(5, 80, (n, 1)), rng.uniform(0, 1, (n, 1)), np.full((n, 5), 0.2)], 1)
    return ContextPack(
        **columns
        | {"labels_png": np.concatenate(maps), "labels_offsets": np.cumsum([0, *map(len, maps)], dtype=np.int64)},
        embedding=embedding,
        second=second,
        looks=looks.astype(np.float16),
        luma=rng.uniform(60, 180, n).astype(np.float32),
        glasses=np.where(np.arange(n) % 6 == 0, 0.1, 0).astype(np.float32),
    )


def _map(pack: Pack, i: int) -> np.ndarray:
    """Return a face's label map at half the crop's side, as PNG bytes."""
    half = pack.template.size_px // 2
    parts = np.zeros((half, half), np.uint8)
    if (classes := pack.labels(i)) is not None:
        parts = PART_OF_CLASS[cv2.resize(classes, (half, half), interpolation=cv2.INTER_NEAREST)]
    hull = cv2.convexHull((with_forehead(pack.landmarks68[i]) / 2).round().astype(np.int32))
    cv2.fillConvexPoly(parts, hull, int(Part.FACE))
    return cv2.imencode(".png", parts)[1].reshape(-1)
