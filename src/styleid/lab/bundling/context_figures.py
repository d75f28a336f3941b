"""Batches for the calibration of a context bundle's 8-bit generator, and the measurement of its error."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from styleid.lab.bundling.context_judges import judges_of_bundle
from styleid.lab.bundling.context_parts import Parts
from styleid.lab.export.context_generator import INPUTS
from styleid.lab.networks.context_bundle import FlatGenerator
from styleid.lab.tasks.context_batches import Batch, ContextFaces
from styleid.runtime import open_session

_FEW_TARGETS = 256
_AT_ONCE = 16


@dataclass(frozen=True)
class Drawn:
    """Differences between faces that an ONNX file draws and those that torch draws.

    Attributes:
        difference: Mean absolute difference inside the region, in levels of 0 to 255.
        alike: Mean cosine similarity of the recogniser's embeddings of both.
        asked: Mean cosine similarity of the file's faces to the embedding that was asked for.
        asked_before: The same for torch's faces.
    """

    difference: float
    alike: float
    asked: float
    asked_before: float


def draw_faces(parts: Parts, rows: np.ndarray[Any, Any], seed: int = 0, *, varied: bool) -> Batch:
    """Return a batch of faces of the pack, half of which are to be drawn as other people.

    Args:
        parts: The bundle's components.
        rows: Faces of the pack.
        seed: Seed of random numbers.
        varied: Augment the views as in training, and draw random faces of `rows`; else use `rows` without augmentation.
    """
    faces = ContextFaces(
        parts.pack, rows, parts.model, side=parts.checkpoint.generator.config.side, most_targets=_FEW_TARGETS
    )
    draw = torch.Generator().manual_seed(seed)
    return faces.batch(len(rows), draw) if varied else faces.plain(torch.arange(len(rows)), len(rows) // 2, draw)


def generator_inputs(parts: Parts, batch: Batch) -> dict[str, torch.Tensor]:
    """Return the generator's inputs for a batch, by name."""
    code = torch.zeros(len(batch.identity), parts.styles.config.appearance)
    with torch.no_grad():
        if parts.checkpoint.appearance is not None:
            code = parts.checkpoint.appearance(batch.appearance)
        scale = parts.model.config.size_px / batch.image.shape[-1]
        geometry = parts.shapes.read((batch.landmarks + 0.5) * scale - 0.5)
        w_plus = torch.cat([geometry, parts.styles(batch.identity, code)], 1)
    seen = {name: getattr(batch, name) for name in INPUTS if name != "w_plus"} | {"w_plus": w_plus}
    return {name: value.contiguous() for name, value in seen.items()}


def compare(parts: Parts, path: Path, faces: int = 64) -> Drawn:
    """Compare the faces that a generator's ONNX file and torch draw.

    Args:
        parts: The bundle's components.
        path: The generator's file.
        faces: Most held-out faces to draw.
    """
    held_out = np.nonzero(parts.pack.held_out)[0]
    rows = held_out[np.linspace(0, len(held_out) - 1, min(faces, len(held_out))).round().astype(int)]
    batch = draw_faces(parts, rows, varied=False)
    inputs = generator_inputs(parts, batch)
    network = FlatGenerator(parts.checkpoint.generator, parts.shapes.numbers)
    with torch.no_grad():
        before = torch.cat([network(*part) for part in zip(*(inputs[n].split(_AT_ONCE) for n in INPUTS), strict=True)])
    session = open_session(path)
    after = torch.from_numpy(session.run(None, {name: value.numpy() for name, value in inputs.items()})[0])
    judges = judges_of_bundle(parts.base.folder)
    with torch.no_grad():
        old, new = (
            judges.embed(batch.composed(drawn), batch.to_view, parts.pack.template) for drawn in (before, after)
        )
    apart = (batch.composed(before) - batch.composed(after)).abs().sum() / (3 * batch.region.sum())
    cosines = [float((a * b).sum(1).mean()) for a, b in ((old, new), (new, batch.identity), (old, batch.identity))]
    return Drawn(round(float(apart) * 127.5, 3), *(round(one, 4) for one in cosines))
