"""Anonymise an LFW-like folder (person/photo), and measure privacy and utility with independent recognisers.

    python benchmarks/lfw_dev.py FOLDER --out DIR --teacher identity.onnx [--bundle B] [--privacy P]

Prints one JSON object. Faces that were withheld or obscured stay in the count of faces; utility is measured on
anonymised faces only. The attackers are dlib's ResNet and SFace (extra `eval`), which neither the training nor the gate
uses, and the teacher, whose embedding a ridge regression tries to restore (attack A2).
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from evaluation_table import recognisers

from styleid.bundles.registry import DEFAULT, find_bundle
from styleid.core.options import AnonymizeOptions
from styleid.core.pipeline import Anonymizer
from styleid.engine.journal import Journal
from styleid.engine.local import RunOptions, process_files, threads
from styleid.evaluate.attacks.search import Split, search
from styleid.evaluate.attacks.trained import ridge_attack
from styleid.evaluate.battery import FMRS
from styleid.evaluate.instruments import Setup
from styleid.evaluate.outputs import OutputTask
from styleid.evaluate.protocol import pair_outputs, read_originals
from styleid.evaluate.survey import Surveyor
from styleid.evaluate.table import FaceTable, ToolTable
from styleid.evaluate.verification import impostor_similarities, threshold_at_fmr
from styleid.runtime import cpu_threads
from styleid.types import Action

_SEEDS = range(5)
_KEPT = {
    "face_found": "found",
    "sex_agrees": "sex_agrees",
    "group_agrees": "group_agrees",
    "mouth_agrees": "mouth_agrees",
    "age_error_years": "age_change",
    "landmarks_error": "landmark_error",
    "yaw_error": "yaw_change",
    "smile_error": "smile_change",
    "eyes_error": "eye_change",
}


@dataclass(frozen=True)
class Looked:
    """Originals and outputs as the recognisers see them.

    Attributes:
        table: The originals.
        tool: The outputs.
        rows: Rows of the named people's faces in the table.
        replaced: Whether each of these faces was replaced, bool, of the length of `rows`.
    """

    table: FaceTable
    tool: ToolTable
    rows: np.ndarray
    replaced: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True, help="MobileFaceNet, ONNX, 112 px, ImageNet statistics")
    parser.add_argument("--bundle", default=DEFAULT)
    parser.add_argument("--privacy", default="standard")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="file that keeps embeddings between runs")
    parser.add_argument("--attackers", default="dlib,sface,teacher")
    parser.add_argument("--record", action="store_true", help="write the figures into the bundle's bundle.json")
    args = parser.parse_args()

    anonymizer = Anonymizer.from_bundle(args.bundle, AnonymizeOptions(privacy=args.privacy, seed=args.seed))
    begun = time.perf_counter()
    summary = process_files([args.folder], anonymizer, RunOptions(args.out, resume=True))
    records = {record["input"]: record for record in Journal(args.out).records()}
    figures: dict = {"run": summary.to_json() | {"wall_s": round(time.perf_counter() - begun, 1)}}
    figures["run"].pop("failures")
    seconds = [record["seconds"] / len(record["faces"]) for record in records.values() if record.get("faces")]
    figures["photos_at_once"] = at_once = threads(cpu_threads())
    figures["ms_per_face_median"] = round(1000 * float(np.median(seconds)) / at_once, 1)
    actions = Counter(face["action"] for record in records.values() for face in record["faces"])
    figures["share_anonymised"] = round(actions[Action.ANONYMIZED] / sum(actions.values()), 4)
    reasons = Counter(face.get("reason") for record in records.values() for face in record["faces"] if "reason" in face)
    figures["obscured_because"] = dict(reasons.most_common(6))

    looked = look(args, records)
    figures["photos"] = len(looked.rows)
    figures["share_of_named_anonymised"] = share(looked.replaced)
    figures["photos_without_a_face"] = sum(not seen.subjects for seen in looked.table.seen)
    names = {"teacher": "mobilefacenet"}
    for attacker in ("teacher", *(name for name in args.attackers.split(",") if name != "teacher")):
        figures[attacker] = attack(looked, names.get(attacker, attacker))
    figures["utility"] = utility(looked)
    print(json.dumps(figures, indent=1))
    if args.record:
        record(find_bundle(args.bundle) / "bundle.json", args.privacy, figures)


def record(path: Path, privacy: str, figures: dict) -> None:
    """Write the figures into bundle.json, under the privacy level at which they were measured."""
    described = json.loads(path.read_text(encoding="utf-8"))
    described["quality"].setdefault("lfw", {})[privacy] = figures
    path.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def look(args: argparse.Namespace, records: Mapping[str, dict]) -> Looked:
    """Measure originals and outputs, and look up the journal entry of each photo's main face."""
    originals = read_originals(args.folder)
    outputs = pair_outputs(originals, args.out).outputs
    beside = args.out.parent / f"{args.out.name}-judged"
    beside.mkdir(parents=True, exist_ok=True)
    cache = args.cache or beside / "cache.sqlite"
    others = [name for name in args.attackers.split(",") if name != "teacher"]
    wanted = recognisers(args.teacher, beside).replace("auto", ",".join(others) or "gate")
    with Surveyor(Setup(cache, args.bundle, wanted), cpu_threads()) as surveyor:
        seen = surveyor.originals(originals)
        tasks = [OutputTask(one, outputs.get(one.original.name)) for one in seen]
        tool = ToolTable("styleid", surveyor.outputs(tasks, "outputs"))
    table = FaceTable(seen)
    rows = np.nonzero(table.named)[0]
    replaced = [_outcome(records, table, row)["action"] == Action.ANONYMIZED for row in rows]
    return Looked(table, tool, rows, np.array(replaced, bool))


def _outcome(records: Mapping[str, dict], table: FaceTable, row: int) -> dict:
    subject = table.subjects[row]
    faces = records[subject.photo]["faces"]
    return min(faces, key=lambda face: float(np.abs(np.array(face["box"]) - subject.box).max()))


def attack(looked: Looked, recogniser: str) -> dict:
    """Attack the named faces with one recogniser, aligned by the originals' landmarks."""
    rows, replaced, people = looked.rows, looked.replaced, looked.table.labels[looked.rows]
    clear, hidden = (looked.table.embeddings(recogniser, view)[rows] for view in ("clear", "filled"))
    anonymized = looked.tool.embeddings(recogniser, "original", clear.shape[1])[rows]
    impostors = impostor_similarities(clear, people)
    other_photo = (people[:, None] == people[None, :]) & ~np.eye(len(people), dtype=bool)
    across, itself = anonymized @ clear.T, (anonymized * clear).sum(1)
    figures: dict = {"impostor_pairs": len(impostors), "anonymised_faces": int(replaced.sum())}
    for fmr in FMRS:
        threshold = threshold_at_fmr(impostors, fmr)
        figures[f"fmr_{fmr:g}"] = {
            "clear_pairs_accepted": share((clear @ clear.T)[other_photo] > threshold),
            "other_photos_accepted": share(across[replaced][other_photo[replaced]] > threshold),
            "same_photo_accepted": share(itself[replaced] > threshold),
        }

    def naive(probes: np.ndarray) -> dict[str, float]:
        return mean_of(lambda s: search(probes, clear, people, Split.other_photos(people, s)).hits[1].value)

    figures["rank1_naive"], figures["rank1_naive_floor"] = naive(anonymized), naive(hidden)
    figures["rank1_clear"], figures["rank1_chance"] = naive(clear), round(1 / len(np.unique(people)), 4)
    for name, probes in (("rank1_ridge", anonymized), ("rank1_ridge_floor", hidden)):
        figures[name] = mean_of(lambda s, probes=probes: ridge_attack(clear, probes, people, s).hits[1].value)
    return figures


def utility(looked: Looked) -> dict[str, float]:
    """Measure what the anonymised faces keep, with the bundle's parser and attribute network."""
    shown = looked.rows[looked.replaced]
    return {name: round(float(np.mean(looked.tool.measure(key)[shown])), 4) for name, key in _KEPT.items()}


def share(values: np.ndarray) -> float:
    return round(float(values.mean()), 4) if len(values) else float("nan")


def mean_of(figure: Callable[[int], float]) -> dict[str, float]:
    values: Sequence[float] = [figure(seed) for seed in _SEEDS]
    return {"mean": round(float(np.mean(values)), 4), "low": round(min(values), 4), "high": round(max(values), 4)}


if __name__ == "__main__":
    main()
