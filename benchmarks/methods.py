"""Compare the methods and some of their units and regions on an LFW-like folder (person/photo), for docs/privacy.md.

    python benchmarks/methods.py FOLDER --work DIR --teacher identity.onnx [--bundle B] [--photos 2] [--record]

The first step of every method changes every named face once, with the same z. The face is put into its photo and
measured with the figures of benchmarks/dial.py. ms: analysis, generation, compositing and checking of one face,
with one thread, after the networks are loaded. --record writes the table into docs/privacy.md.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from dial import Step, asked, attempt, begin, measured, note
from evaluation_table import END, recognisers, split

from styleid.bundles.registry import load_bundle
from styleid.core.attempt import Attempt, FaceProgress
from styleid.core.options import AnonymizeOptions
from styleid.core.pipeline import Anonymizer
from styleid.core.privacy import LEVELS
from styleid.evaluate.instruments import Setup
from styleid.evaluate.originals import Subject
from styleid.evaluate.protocol import read_originals
from styleid.evaluate.recognisers import embed, load_recognisers
from styleid.evaluate.survey import Surveyor
from styleid.evaluate.table import FaceTable
from styleid.media.image import read_photo
from styleid.runtime import cpu_threads
from styleid.types import ImageRGB

BEGIN = "<!-- table: benchmarks/methods.py -->"
_DOCS = Path(__file__).resolve().parents[1] / "docs/privacy.md"
METHODS: dict[str, dict[str, Any]] = {
    "`latent` (default)": {},
    "`latent`, `--units channels:400@ratio`": {"units": "channels:400@ratio"},
    "`latent`, `--units layers:best-9`": {"units": "layers:best-9"},
    "`swapper`": {"method": "swapper"},
    "`pixel`": {"method": "pixel"},
    "`pixel`, `--region inner`": {"method": "pixel", "region": "inner"},
}


def main() -> None:
    parser = asked(__doc__)
    parser.add_argument("--photos", type=int, default=2, help="most photos of a person")
    args = parser.parse_args()

    bundle = load_bundle(args.bundle)
    anonymizers = {name: Anonymizer(bundle, AnonymizeOptions(seed=args.seed, **how)) for name, how in METHODS.items()}
    wanted = recognisers(args.teacher, args.work).replace("auto", "dlib")
    with Surveyor(Setup(args.work / "cache.sqlite", args.bundle, wanted), cpu_threads()) as surveyor:
        table = FaceTable(surveyor.originals(read_originals(args.folder)))
    named = np.nonzero(table.named)[0]
    people = table.labels[named]
    rows = np.sort(np.concatenate([named[people == who][: args.photos] for who in np.unique(people)]))
    attackers = load_recognisers(wanted, bundle)
    done = {name: Step({attacker.name: [] for attacker in attackers}) for name in anonymizers}
    ms: dict[str, list[float]] = {name: [] for name in anonymizers}
    for row in rows:
        subject = table.subjects[row]
        image = read_photo(args.folder / subject.photo).image_rgb
        for name, anonymizer in anonymizers.items():
            begun = time.perf_counter()
            photo, made = change(anonymizer, image, subject)
            note(done[name], made)
            ms[name].append((time.perf_counter() - begun) * 1e3)
            for attacker in attackers:
                done[name].embeddings[attacker.name].append(embed(attacker, photo, subject.landmarks))
    figures = {}
    for name, step in done.items():
        figures[name] = measured(step, table, rows, bundle.spec.thresholds) | {"ms": round(float(np.median(ms[name])))}
    print(json.dumps(figures, indent=1))
    if args.record:
        before, after = split(_DOCS, BEGIN)
        _DOCS.write_text(f"{before}{BEGIN}\n\n{table_of(figures, bundle.spec.name)}\n{END}{after}", encoding="utf-8")


def change(anonymizer: Anonymizer, image_rgb: ImageRGB, subject: Subject) -> tuple[ImageRGB, Attempt]:
    """Return the photo with the face changed by a method's first step, and the attempt."""
    source, target = begin(anonymizer, image_rgb, subject)
    wplus = anonymizer.method.swap(anonymizer.bundle, source.wplus[None], target, [0])
    return attempt(anonymizer, image_rgb, FaceProgress(source), wplus)


def table_of(figures: dict[str, dict[str, Any]], bundle: str) -> str:
    """Return the figures as a Markdown table with one row per method."""
    first = next(iter(figures.values()))
    heads = ["method", *(f"passes {name}" for name in LEVELS), "leak (five splits)"]
    heads += [*(f"distance, {name}" for name in first["distance"]), "sex", "mouth", "landmarks", "ms a face"]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for name, found in figures.items():
        low, high = found["leak_range"]
        cells = [name, *(f"{share:.1%}" for share in found["passes"].values())]
        cells += [f"{found['leak']:+.3f} ({low:+.3f} to {high:+.3f})"]
        cells += [f"{distance:.2f}" for distance in found["distance"].values()]
        cells += [f"{found['kept'][what]:.1%}" for what in ("sex", "mouth")]
        cells += [f"{found['landmark_error']:.1%}", str(found["ms"])]
        lines.append("| " + " | ".join(cells) + " |")
    return f"{first['faces']} faces, bundle {bundle}.\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
