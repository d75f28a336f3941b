"""Anonymise an LFW-like folder at every privacy level, evaluate it beside every baseline, and write the table.

    python benchmarks/evaluation_table.py FOLDER --work DIR [--teacher identity.onnx] [--people 60] [--write FILE]

The folder contains person/photo. Finished photos and embeddings are stored in DIR, so the same command continues an
interrupted run. The table replaces the text between the markers in docs/evaluation-table.md; the full report is in
DIR/report-....
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from styleid.bundles.bundle import bundle_hash
from styleid.bundles.registry import DEFAULT, find_bundle
from styleid.core.options import AnonymizeOptions
from styleid.core.pipeline import Anonymizer
from styleid.core.privacy import LEVELS
from styleid.engine.journal import Journal
from styleid.engine.local import RunOptions, process_files
from styleid.evaluate.record import to_json
from styleid.evaluate.report import write_report
from styleid.evaluate.suite import EvaluateOptions, evaluate
from styleid.evaluate.utility import SCORE
from styleid.types import Action

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/evaluation-table.md"
BEGIN, END = "<!-- table: benchmarks/evaluation_table.py -->", "<!-- end of table -->"
_CARD = {"name": "mobilefacenet", "size": 112, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
_FEWEST_IN_GROUP = 10
_ATTACKS = (
    ("A0 rank-1", "A0", ("rank-1",)),
    ("A0, accepted at 1e-3", "A0", ("accepted, FMR 0.001",)),
    ("A0s rank-1", "A0s", ("rank-1",)),
    ("A0s, accepted at 1e-3", "A0s", ("accepted, FMR 0.001",)),
    ("A1 rank-1", "A1", ("rank-1",)),
    ("A2 rank-1", "A2", ("rank-1, ridge", "rank-1, network")),
    ("A3 rank-1", "A3", ("rank-1, other photos",)),
    ("A4 AUC", "A4", ("linkage AUC",)),
    ("A5 rank-1", "A5", ("rank-1, other photos",)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for outputs, the cache and the report")
    parser.add_argument("--teacher", type=Path, help="a third recogniser: MobileFaceNet, ONNX, ImageNet statistics")
    parser.add_argument("--people", type=int, default=0, help="take only the first N people")
    parser.add_argument("--bundle", default=DEFAULT)
    parser.add_argument("--levels", default=",".join(LEVELS), help="of the privacy dial")
    parser.add_argument("--baselines", default="all")
    parser.add_argument("--attacks", default="A0,A0s,A1,A2,A3,A4,A5,A6,A7")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path, default=PAGE, help="file with the two markers")
    args = parser.parse_args()
    before, after = split(args.write)

    photos = first_people(args.folder, args.work, args.people) if args.people else args.folder
    size = f"{args.people or 'all'}-{bundle_hash(find_bundle(args.bundle))[:8]}"
    made = {level: anonymise(photos, level, args, args.work / f"{level}-{size}") for level in args.levels.split(",")}
    options = EvaluateOptions(
        args.work / f"report-{size}",
        recognisers=recognisers(args.teacher, args.work),
        attacks=args.attacks,
        baselines=args.baselines,
        bundle=args.bundle,
        cache=args.work / "cache.sqlite",
    )
    begun = time.perf_counter()
    evaluation = evaluate(photos, {f"styleid {level}": folder for level, folder in made.items()}, options, watch)
    record = to_json(evaluation)
    pages = write_report(evaluation, record, options.out)
    said = lead(record, args, time.perf_counter() - begun)
    parts = [said, privacy_table(record), utility_table(record), actions_table(made), group_table(record)]
    text = "\n\n".join(part for part in parts if part)
    args.write.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    print(f"{args.write} and {', '.join(str(page) for page in pages)}")


def split(path: Path, begin: str = BEGIN) -> tuple[str, str]:
    """Return the text before and after the table; exit if a marker is missing."""
    before, begun, rest = path.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(END)
    if not begun or not ended or begin in after:
        sys.exit(f"{path} must hold the line {begin} once, and {END} after it.")
    return before, after


def first_people(folder: Path, work: Path, people: int) -> Path:
    """Return a folder of links to the folders of the first people."""
    chosen = work / f"first-{people}"
    chosen.mkdir(parents=True, exist_ok=True)
    for person in sorted(path for path in folder.iterdir() if path.is_dir())[:people]:
        if not (chosen / person.name).is_symlink():
            (chosen / person.name).symlink_to(person.resolve())
    return chosen


def anonymise(photos: Path, level: str, args: argparse.Namespace, out: Path) -> Path:
    anonymizer = Anonymizer.from_bundle(args.bundle, AnonymizeOptions(privacy=level, seed=args.seed))
    summary = process_files([photos], anonymizer, RunOptions(out, resume=True), watch=watch)
    print(f"{level}: {json.dumps(summary.to_json()['faces'])}, {summary.seconds:.0f} s", file=sys.stderr)
    return out


def recognisers(teacher: Path | None, work: Path) -> str:
    """Return the list of recognisers; a teacher is copied, and a card is written beside it."""
    if teacher is None:
        return "auto"
    work.mkdir(parents=True, exist_ok=True)
    copy = work / "mobilefacenet.onnx"
    shutil.copy(teacher, copy)
    copy.with_suffix(".json").write_text(json.dumps(_CARD), encoding="utf-8")
    return f"auto,{copy}"


def watch(done: int, total: int, name: str) -> None:
    if done % 100 == 0 or done == total:
        print(f"{done} of {total}: {name}", file=sys.stderr, flush=True)


def lead(record: Mapping[str, Any], args: argparse.Namespace, seconds: float) -> str:
    counts = record["originals"]
    judges = ", ".join(f"{r['name']}{' (the gate uses it)' if r['in_gate'] else ''}" for r in record["recognisers"])
    pairs = min((r.get("impostor_pairs", 0) for r in record["recognisers"]), default=0)
    part = f", the first {args.people} people" if args.people else ""
    parts = [
        f"Measured on {args.folder.name}{part}: {counts['files']} photos of {counts['people']} people, ",
        f"{counts['faces']} faces, {counts['named_faces']} of them named; bundle {record['bundle']['name']} ",
        f"(`{record['bundle']['sha256'][:12]}`), seed {args.seed}. Recognisers: {judges}. Thresholds from {pairs} ",
        "pairs of different people. Each cell: value (95 % interval; number of values). ",
        f"Evaluation took {seconds / 60:.0f} minutes.",
        *(f"\n- Not measured: {why}" for why in record["not_measured"]),
    ]
    return "".join(parts)


def privacy_table(record: Mapping[str, Any]) -> str:
    """Return a table with one row per tool: for each attack, its best recogniser and alignment, and the floor."""
    names = [title for title, attack, _ in _ATTACKS if attack in record["settings"]["attacks"].split(",")]
    rows = []
    for tool in record["tools"]:
        figures = [_worst(tool, attack, kinds) for title, attack, kinds in _ATTACKS if title in names]
        strongest = tool["strongest"]
        found = f"{_cell(strongest)}, {strongest['attack']} {strongest['recogniser']}" if strongest else "-"
        rows.append([tool["name"], found, *map(_cell, figures), _cell(tool["end_to_end"]["exposed"])])
    first = record["tools"][0]
    floors = [_worst(first, attack, kinds) for title, attack, kinds in _ATTACKS if title in names]
    rows.append(["*faces filled: the floor*", "", *(_cell(figure and figure["floor"]) for figure in floors),
                 _cell(record["exposed_when_filled"])])  # fmt: skip
    chances = ["*chance*", "", *("-" if f is None else f"{f['chance']:.4f}" for f in floors), ""]
    return "**Privacy** (lower is better)\n\n" + _markdown(["", "strongest attack, rank-1", *names, "exposed (A6)"],
                                                           [*rows, chances])  # fmt: skip


def utility_table(record: Mapping[str, Any]) -> str:
    titles = list(dict.fromkeys(title for tool in record["tools"] for title in [*tool["utility"], *tool["variety"]]))
    rows = [
        [
            f"**{title}**" if title == SCORE else title,
            *(_cell((t["utility"] | t["variety"]).get(title)) for t in record["tools"]),
        ]
        for title in titles
    ]
    return "**What is kept**\n\n" + _markdown(["", *(tool["name"] for tool in record["tools"])], rows)


def actions_table(made: Mapping[str, Path]) -> str:
    """Return a table of styleid's journals, with the number of faces by action for each privacy level."""
    rows = []
    for level, folder in made.items():
        faces = [face for record in Journal(folder).records() for face in record.get("faces", [])]
        counts = [sum(face["action"] == action for face in faces) for action in Action]
        rows.append([level, str(len(faces)), *map(str, counts)])
    return "**What styleid did with the faces that it found**\n\n" + _markdown(["level", "faces", *Action], rows)


def group_table(record: Mapping[str, Any]) -> str:
    rows = []
    for tool in record["tools"]:
        if tool["baseline"]:
            continue
        for kind, groups in tool["groups"].items():
            for name, figures in groups.items():
                few = " (too few people)" if figures["exposed (A6)"]["people"] < _FEWEST_IN_GROUP else ""
                cells = [_cell(figures["exposed (A6)"]), _cell(figures.get(SCORE))]
                rows.append([tool["name"], f"{kind}: {name}{few}", *cells])
    return "**By group**\n\n" + _markdown(["", "group", "exposed (A6)", SCORE], rows) if rows else ""


def _worst(tool: Mapping[str, Any], attack: str, names: Sequence[str]) -> Any:
    found = [f for f in tool["worst"] if f["attack"] == attack and f["name"] in names and f["value"] is not None]
    return max(found, key=lambda figure: figure["value"], default=None)


def _cell(one: Any) -> str:
    if one is None or one["value"] is None:
        return "-"
    return f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f}; {one['count']})"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    main()
