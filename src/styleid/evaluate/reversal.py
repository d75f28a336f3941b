"""Attack A3: learn from pairs to reverse the anonymisation of the pixels, and use recognisers on the result.

The reversal is linear. Crops of 48 px are reduced to their first principal components, and a ridge regression maps
those of anonymised faces to those of original faces. A deep network may do better, so A3 is a lower bound.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from styleid.evaluate.attacks.search import Search, Split, search
from styleid.evaluate.attacks.trained import Sides, TrainedAttack
from styleid.evaluate.battery import Figure
from styleid.evaluate.instruments import Instruments
from styleid.evaluate.statistics import estimate
from styleid.evaluate.table import FaceTable
from styleid.evaluate.verdict import Verdict
from styleid.faces.align import fit_similarity
from styleid.types import FloatArray, ImageRGB

SIDE_PX = 48
COMPONENTS = 200
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
_TINY = 1e-9


def reversal(table: FaceTable, verdicts: list[Verdict], tools: Instruments) -> list[str]:
    """Add the results of A3 to all verdicts.

    Args:
        table: The faces of the originals.
        verdicts: The tools; figures are added to them.
        tools: Recognisers, and the bundle whose crops are used.

    Returns:
        Why A3 was not measured; empty if it was.
    """
    named = np.nonzero(table.named)[0]
    people = table.labels[named]
    try:
        sides = Sides.of(people, 0, TrainedAttack().train_share)
    except ValueError as error:
        return [f"A3: {error}"]
    clear = np.stack([_small(table.subjects[row].crop) for row in named])
    for verdict in verdicts:
        crops = [verdict.table.faces[row].crop for row in named]
        there = np.array([crop is not None for crop in crops])
        shown = np.stack([_small(crop) if crop is not None else np.zeros_like(clear[0]) for crop in crops])
        if (there & (sides.learn | sides.check)).sum() < 50 or not (there & sides.attack).any():
            verdict.reversal = {"not_measured": "too few of its faces could be measured"}
            continue
        restored, trained = restore(clear, shown, there, sides)
        verdict.reversal = trained
        for recogniser in tools.recognisers:
            before = table.embeddings(recogniser.name, "clear")[named]
            after = np.full_like(before, np.nan)
            for row in np.nonzero(there & sides.attack)[0]:
                after[row] = _embedded(restored[row], recogniser, tools, before.shape[1])
            verdict.figures += _figures(after, before, people, sides, verdict.table.lost[named], recogniser.name)
    return []


def restore(
    clear: FloatArray, shown: FloatArray, there: np.ndarray[Any, Any], sides: Sides
) -> tuple[FloatArray, dict[str, Any]]:
    """Learn to turn anonymised crops into original ones, and apply it to all crops.

    Args:
        clear: Pixels of the originals, (n, p) in [0, 1].
        shown: Pixels of the outputs, (n, p) in [0, 1].
        there: Whether the output exists, (n,) bool.
        sides: Which faces the attacker learns from.

    Returns:
        The restored pixels, (n, p) in [0, 1], and how they were learnt.
    """
    learn, check = sides.learn & there, sides.check & there
    clear_space, shown_space = _components(clear[learn]), _components(shown[learn])
    x, y = _weights(shown, shown_space), _weights(clear, clear_space)

    def learnt(penalty: float, rows: np.ndarray[Any, Any]) -> FloatArray:
        scale = max(float((x[rows] ** 2).sum(0).mean()), _TINY)
        return np.linalg.solve(x[rows].T @ x[rows] + penalty * scale * np.eye(x.shape[1]), x[rows].T @ y[rows])

    errors = {p: float(((x[check] @ learnt(p, learn) - y[check]) ** 2).sum(1).mean()) for p in PENALTIES}
    best = min(errors, key=lambda penalty: errors[penalty])
    restored = x @ learnt(best, learn | check) @ clear_space[1] + clear_space[0]
    return restored.clip(0, 1), {
        "how": f"ridge regression between the first {x.shape[1]} principal components of {SIDE_PX} px crops, from "
        "pairs of other people",
        "pairs": int((learn | check).sum()),
        "penalty": best,
    }


def _figures(
    after: FloatArray, before: FloatArray, people: FloatArray, sides: Sides, lost: np.ndarray[Any, Any], recogniser: str
) -> list[Figure]:
    rows, found = sides.attack, []
    for name, split in (("other photos", Split.other_photos), ("same photo", Split.same_photo)):
        results = [
            search(after[rows], before[rows], people[rows], split(people[rows], s), lost[rows]) for s in range(3)
        ]
        merged = Search.merged(results)
        found += [
            Figure("A3", f"rank-{rank}, {name}", recogniser, "original", estimate(sums), merged.chance(rank))
            for rank, sums in merged.hits.items()
        ]
    return found


def _components(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the mean, (p,), and the first principal components, (k, p), of rows, (n, p)."""
    mean = rows.mean(0)
    centred = rows - mean
    values, vectors = np.linalg.eigh(centred @ centred.T)
    kept = values > values.max() * 1e-5 + _TINY
    kept[-1] = True  # if all rows are equal, such as filled faces, keep one component without variance
    values = np.maximum(values, _TINY)
    values, vectors = values[kept][-COMPONENTS:], vectors[:, kept][:, -COMPONENTS:]
    return mean, ((centred.T @ vectors) / np.sqrt(values)).T


def _weights(rows: FloatArray, space: tuple[FloatArray, FloatArray]) -> FloatArray:
    return (rows - space[0]) @ space[1].T


def _small(crop: ImageRGB | None) -> FloatArray:
    assert crop is not None
    small = cv2.resize(crop, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32).reshape(-1) / 255


def _embedded(pixels: FloatArray, recogniser: Any, tools: Instruments, width: int) -> FloatArray:
    """Embed a restored crop, after aligning it to the template of the recogniser."""
    spec = tools.bundle.spec.crop
    crop = (pixels.reshape(SIDE_PX, SIDE_PX, 3) * 255).round().astype(np.uint8)
    points = (np.asarray(spec.points_px, np.float32) + 0.5) * SIDE_PX / spec.size_px - 0.5
    matrix = fit_similarity(points, np.asarray(recogniser.template.points_px, np.float32))
    embedding = recogniser.embed_crop(recogniser.template.crop(crop, matrix))
    padded = np.zeros(
        width, np.float32
    )  # in the context "photo", embeddings also describe the photo, which is not restored
    padded[: len(embedding)] = embedding
    return padded
