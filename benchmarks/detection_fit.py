"""Fit the weights of the detector settings `standard` and `thorough`, for benchmarks/detection.py.

A logistic regression separates faces from false alarms by the figures of the second look. The misses and false alarms
at several thresholds are printed beside deface's for the same scenes. `standard` uses the threshold with half of
deface's false alarms, and `thorough` the one with 0.7 false alarms per photo.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

import numpy as np
from detection import Marked, judge
from detection_faces import Faces
from detection_finders import contestants
from detection_scenes import COUNTED_PX, Backgrounds, Studio

from styleid.faces import second_look
from styleid.faces.detect import DETECTORS, DetectorOptions, FaceDetector

_PENALTY = 3.0
_STEPS = 40


@dataclass
class Finds:
    """Detections in all scenes.

    Attributes:
        sure: Evidence of each detection from its score.
        seen: Figures of the second look, or None for a detection without one.
        faces: Indices of the counted faces that each detection matches.
        real: Whether each detection is not a false alarm.
    """

    sure: list[float] = field(default_factory=list)
    seen: list[np.ndarray | None] = field(default_factory=list)
    faces: list[tuple[int, ...]] = field(default_factory=list)
    real: list[bool] = field(default_factory=list)

    def add(self, detector: FaceDetector, photo: Marked, first: int) -> None:
        found, scores, doubtful, seen = detector.second_looks(photo.scene.image_rgb)
        boxes = photo.scene.boxes_xyxy
        counted = (boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf) >= COUNTED_PX
        places = {int(row): figures for row, figures in zip(doubtful, seen, strict=True)}
        for i, evidence in enumerate(second_look.evidence_of(scores)):
            row = np.append(found.boxes_xyxy[i], 1.0)[None].astype(float)
            met, alarms = judge(row, photo)
            self.sure.append(float(evidence))
            self.seen.append(places.get(i))
            self.real.append(alarms == 0)
            self.faces.append(tuple(first + int(k) for k in np.nonzero(met & counted)[0]))


def regression(figures: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Fit a logistic regression by Newton's method.

    Args:
        figures: (n, k).
        real: (n,), 1 for faces and 0 for false alarms.

    Returns:
        The k weights and the constant, (k + 1,).
    """
    rows = np.column_stack([figures, np.ones(len(figures))])
    penalty = np.diag([*[_PENALTY] * figures.shape[1], 1e-6])
    weights = np.zeros(rows.shape[1])
    for _ in range(_STEPS):
        odds = 1 / (1 + np.exp(-rows @ weights))
        slope = rows.T @ (odds - real) + penalty @ weights
        weights -= np.linalg.solve((rows * (odds * (1 - odds))[:, None]).T @ rows + penalty, slope)
    return weights


def sweep(finds: Finds, evidence: np.ndarray, photos: int, faces: int) -> list[tuple[float, float, float]]:
    """Return threshold, false alarms per photo and misses per thousand faces, from the strictest threshold on."""
    found: set[int] = set()
    alarms, rows = 0, []
    for i in np.argsort(-evidence):
        found.update(finds.faces[i])
        alarms += not finds.real[i]
        rows.append((float(evidence[i]), alarms / photos, 1000 * (1 - len(found) / faces)))
    return rows


def fit(args: argparse.Namespace) -> None:
    """Print the weights, and false alarms and misses at several thresholds."""
    levels = {name: FaceDetector(DetectorOptions(detector=name)) for name in DETECTORS if name != "fast"}
    finds = {name: Finds() for name in levels}
    deface = next(contestants())
    photos = marked = faces = alarms = missed = 0
    for scene in Studio(Faces(args.data, 1), Backgrounds(args.backgrounds, 1), 1).scenes(args.photos_of_each):
        photo = Marked(scene, np.empty((0, 4)))
        for name, detector in levels.items():
            finds[name].add(detector, photo, marked)
        rows = deface.find(scene.image_rgb)
        met, wrong = judge(rows[rows[:, 4] > 0.2], photo)
        counted = (scene.boxes_xyxy[:, 2:] - scene.boxes_xyxy[:, :2]).min(1, initial=np.inf) >= COUNTED_PX
        photos, alarms, missed = photos + 1, alarms + wrong, missed + int((~met & counted).sum())
        marked, faces = marked + len(met), faces + int(counted.sum())
    print(f"deface: {alarms / photos:.3f} false alarms per photo, {1000 * missed / faces:.0f} misses per thousand")
    for name, found in finds.items():
        doubtful = [i for i, seen in enumerate(found.seen) if seen is not None]
        figures = np.array([found.seen[i] for i in doubtful])
        weights = regression(figures, np.array(found.real)[doubtful].astype(float))
        evidence = np.array(found.sure) + 1e3
        evidence[doubtful] = figures @ weights[:-1] + weights[-1]
        rows = sweep(found, evidence, photos, faces)
        print(name, "weights", np.round(weights, 2).tolist(), len(doubtful) / photos, "looks per photo")
        for limit in (0.05, 0.1, 0.15, 0.3, 0.5, 0.7, 1.0, alarms / photos):
            bar, rate, share = [row for row in rows if row[1] <= limit][-1]
            print(f"  bar {bar:.2f}: {rate:.3f} false alarms per photo, {share:.0f} misses per thousand")
