"""Measure privacy and utility of each step of a bundle's swaps, on an LFW-like folder (person/photo).

    python benchmarks/dial.py FOLDER --work DIR --teacher identity.onnx [--bundle B] [--steps FILE] [--record]

Every step swaps every named face once, with the same target; the face is put into its photo and measured again. Printed
for each step: the share of faces that pass each privacy level at the first attempt; the leak, which is the rank-1 rate
of a ridge regression trained on anonymised faces of other people (attack A2), less the rate of the same attack on
photos in which every face is filled; and what was kept. --steps names a JSON file with a list like `swaps` in
bundle.json, to use instead of the bundle's. --record writes the figures into the bundle's bundle.json and the table
into docs/privacy.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from evaluation_table import END, recognisers, split

from styleid.bundles.registry import DEFAULT, find_bundle, load_bundle
from styleid.bundles.spec import BundleSpec
from styleid.bundles.steps import SwapStep, read_steps
from styleid.core.attempt import Attempt, FaceProgress
from styleid.core.face import SourceFace
from styleid.core.options import AnonymizeOptions
from styleid.core.pipeline import Anonymizer
from styleid.core.privacy import LEVELS
from styleid.core.swap import swap_units
from styleid.core.targets import FreshTargets
from styleid.evaluate.attacks.trained import ridge_attack
from styleid.evaluate.instruments import Setup
from styleid.evaluate.originals import Subject
from styleid.evaluate.protocol import read_originals
from styleid.evaluate.recognisers import embed, load_recognisers
from styleid.evaluate.survey import Surveyor
from styleid.evaluate.table import FaceTable
from styleid.media.image import read_photo
from styleid.runtime import cpu_threads
from styleid.types import Faces, FloatArray, ImageRGB

BEGIN = "<!-- table: benchmarks/dial.py -->"
_DOCS = Path(__file__).resolve().parents[1] / "docs/privacy.md"
_SPLITS = range(5)
_TEACHER = "mobilefacenet"
_LOST = {"sex": "sex", "mouth": "mouth", "no face is found after the swap": "found"}


@dataclass
class Step:
    """Results of one step.

    Attributes:
        embeddings: Embedding of each new face, by recogniser.
        similarity: Similarity of each new face to its original.
        landmark_error: Landmark error of each face.
        kept: For each face, whether each entry of `_LOST` was kept.
    """

    embeddings: dict[str, list[FloatArray]] = field(default_factory=dict)
    similarity: list[float] = field(default_factory=list)
    landmark_error: list[float] = field(default_factory=list)
    kept: list[list[bool]] = field(default_factory=list)


def main() -> None:
    parser = asked(__doc__)
    parser.add_argument("--steps", type=Path)
    args = parser.parse_args()

    bundle = load_bundle(args.bundle)
    spec = bundle.spec
    steps = read_steps(json.loads(args.steps.read_text()), spec.levels, spec.rows) if args.steps else spec.swaps
    bundle.spec = replace(spec, swaps=tuple(replace(step, leak=None, passes={}) for step in steps))
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=args.seed))
    wanted = recognisers(args.teacher, args.work).replace("auto", "dlib")
    with Surveyor(Setup(args.work / "cache.sqlite", args.bundle, wanted), cpu_threads()) as surveyor:
        table = FaceTable(surveyor.originals(read_originals(args.folder)))
    rows = np.nonzero(table.named)[0]
    attackers = load_recognisers(wanted, anonymizer.bundle)
    done = [Step({attacker.name: [] for attacker in attackers}) for _ in steps]
    for row in rows:
        subject = table.subjects[row]
        image = read_photo(args.folder / subject.photo).image_rgb
        for step, (photo, made) in zip(done, swap_face(anonymizer, image, subject, steps), strict=True):
            for attacker in attackers:
                step.embeddings[attacker.name].append(embed(attacker, photo, subject.landmarks))
            note(step, made)
    figures = [measured(step, table, rows, spec.thresholds) for step in done]
    print(json.dumps(figures, indent=1))
    if args.record and not args.steps:
        record(find_bundle(args.bundle) / "bundle.json", figures)
        before, after = split(_DOCS, BEGIN)
        _DOCS.write_text(f"{before}{BEGIN}\n\n{table_of(steps, figures, spec)}\n{END}{after}", encoding="utf-8")


def asked(text: str) -> argparse.ArgumentParser:
    """Return the parser of the arguments that benchmarks of swaps share; `text` is the benchmark's docstring."""
    parser = argparse.ArgumentParser(description=text.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for what recognisers said of the originals")
    parser.add_argument("--teacher", type=Path, required=True, help="MobileFaceNet, ONNX, 112 px, ImageNet statistics")
    parser.add_argument("--bundle", default=DEFAULT)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true")
    return parser


def swap_face(
    anonymizer: Anonymizer, image_rgb: ImageRGB, subject: Subject, steps: Sequence[SwapStep]
) -> list[tuple[ImageRGB, Attempt]]:
    """Return, for each step, the photo with the swapped face and the attempt."""
    source, target = begin(anonymizer, image_rgb, subject)
    made = []
    for number, step in enumerate(steps):
        wplus = swap_units(source.wplus[None], target, step, anonymizer.bundle.spec)
        made.append(attempt(anonymizer, image_rgb, FaceProgress(source, step=number), wplus))
    return made


def begin(anonymizer: Anonymizer, image_rgb: ImageRGB, subject: Subject) -> tuple[SourceFace, FloatArray]:
    """Return the analysed face and its first target, W+ (1, size)."""
    face = Faces(subject.box[None], np.ones(1, np.float32), subject.landmarks[None])
    (source,) = anonymizer.analyse(image_rgb, face, np.array([0]))
    attributes, own = source.observation.attributes[None], source.wplus[None]
    fresh = FreshTargets(anonymizer.options.seed)
    return source, fresh.draw(anonymizer.bundle, subject.photo, [(0, 0)], 0, attributes, own)


def attempt(
    anonymizer: Anonymizer, image_rgb: ImageRGB, face: FaceProgress, wplus: FloatArray
) -> tuple[ImageRGB, Attempt]:
    """Return the photo with a face generated from W+ (1, size), and the attempt."""
    (made,) = anonymizer.attempt([face], [image_rgb], wplus)
    x0, y0, x1, y1 = face.source.window
    photo = image_rgb.copy()
    photo[y0:y1, x0:x1][made.mask] = made.patch[made.mask]
    return photo, made


def note(step: Step, made: Attempt) -> None:
    """Add the gate's figures of one face to a step."""
    verdict = made.verdict
    step.similarity.append(verdict.figures["similarity"])
    step.landmark_error.append(verdict.figures["landmark_error"])
    lost = (*verdict.drifts, *verdict.failures)
    step.kept.append([what not in lost for what in _LOST])


def measured(step: Step, table: FaceTable, rows: np.ndarray, thresholds: Any) -> dict[str, Any]:
    """Return the figures of one step.

    Args:
        step: Results of the step.
        table: Originals and their embeddings.
        rows: Rows of the named faces in the table.
        thresholds: Similarity thresholds of the bundle, by false-match rate.
    """
    people, similarity = table.labels[rows], np.array(step.similarity)
    clear, hidden = (table.embeddings(_TEACHER, view)[rows] for view in ("clear", "filled"))

    def found(probes: FloatArray) -> np.ndarray:
        return np.array([ridge_attack(clear, probes, people, seed).hits[1].value for seed in _SPLITS])

    excess = found(np.stack(step.embeddings[_TEACHER])) - found(hidden)
    distances = {"gate": np.sqrt(np.maximum(2 - 2 * similarity, 0))}
    for name, embeddings in step.embeddings.items():
        own = table.embeddings(name, "clear")[rows]
        distances[name] = np.linalg.norm(np.stack(embeddings) - own, axis=1)
    return {
        "leak": round(float(excess.mean()), 4),
        "leak_range": [round(float(excess.min()), 4), round(float(excess.max()), 4)],
        "passes": {f"{p:g}": round(float((similarity <= thresholds[p].high).mean()), 4) for p in LEVELS.values()},
        "distance": {name: round(float(values.mean()), 3) for name, values in distances.items()},
        "kept": dict(zip(_LOST.values(), np.mean(step.kept, 0).round(4).tolist(), strict=True)),
        "landmark_error": round(float(np.mean(step.landmark_error)), 4),
        "faces": len(rows),
    }


def table_of(steps: Sequence[SwapStep], figures: Sequence[dict[str, Any]], spec: BundleSpec) -> str:
    """Return the figures as a Markdown table with one row per step."""
    levels = {spec.rows_of((name,)): name for name in spec.levels}
    attackers = list(figures[0]["distance"])
    heads = ["taken from the target", "leak (five splits)", *(f"passes {name}" for name in LEVELS)]
    heads += [*(f"distance, {name}" for name in attackers), "sex", "mouth", "landmarks"]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for step, found in zip(steps, figures, strict=True):
        names = [name for rows, name in levels.items() if set(rows) <= set(step.rows)]
        low, high = found["leak_range"]
        cells = [", ".join(names) + (f", {step.strength:.0%} of them" if step.strength < 1 else "")]
        cells[0] += f"; light {step.light_cells} x {step.light_cells}" if spec.generators else ""
        if step.cover is not None:
            cells[0] += f"; drawn over what is in front of the face, to {step.cover:.0%} beyond the outline"
        cells += [f"{found['leak']:+.3f} ({low:+.3f} to {high:+.3f})"]
        cells += [f"{share:.1%}" for share in found["passes"].values()]
        cells += [f"{found['distance'][name]:.2f}" for name in attackers]
        cells += [f"{found['kept'][what]:.1%}" for what in ("sex", "mouth")] + [f"{found['landmark_error']:.1%}"]
        lines.append("| " + " | ".join(cells) + " |")
    return f"{figures[0]['faces']} faces, bundle {spec.name}.\n\n" + "\n".join(lines) + "\n"


def record(path: Path, figures: Sequence[dict[str, Any]]) -> None:
    """Write the figures of each step into bundle.json."""
    described = json.loads(path.read_text(encoding="utf-8"))
    for step, found in zip(described["swaps"], figures, strict=True):
        step |= {"leak": found["leak"], "passes": found["passes"]}
    described["quality"]["dial"] = list(figures)
    path.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
