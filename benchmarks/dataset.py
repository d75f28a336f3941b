"""Measure the overhead of a COCO round trip over `styleid anonymize`, and the time for a large annotation file.

Every run is a separate process; the two commands alternate. Faces are only obscured (`--method none`), so that the
work on the photos, to which the overhead is compared, is small.

    python benchmarks/dataset.py                 24 photos made from scikit-image's astronaut, 100,000 annotations
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from against_deface import conditions, spread
from photos import make

RESULT = Path(__file__).resolve().parent / "results" / "dataset.md"
PER_PHOTO = 7
"""Annotations per photo, as in COCO 2017."""


def annotations(names: list[str], count: int) -> dict:
    images = [{"id": i, "file_name": name, "width": 1280, "height": 960} for i, name in enumerate(names)]
    polygon = [float(v) / 7 for v in range(40)]
    left = [10.5 + 170.0 * (i // len(names) % PER_PHOTO) for i in range(count)]
    rows = [
        {"id": i, "image_id": i % len(names), "category_id": 1, "bbox": [left[i], 300.25, 100.0, 220.75],
         "area": 22075.0, "iscrowd": 0, "segmentation": [polygon]}
        for i in range(count)
    ]  # fmt: skip
    return {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "person"}]}


def timed(command: list[str], out: Path) -> tuple[float, float]:
    """Run a command into a fresh folder; return its wall-clock and CPU seconds."""
    shutil.rmtree(out, ignore_errors=True)
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "styleid", *command, "--method", "none", "--quiet"], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu


def compare(root: Path, repeats: int, out: Path) -> list[str]:
    coco = ["dataset", "coco", str(root), str(out)]
    commands = {
        "`anonymize`": ["anonymize", str(root), "--out", str(out)],
        "`dataset coco`": coco,
        "`dataset coco --add-faces`": [*coco, "--add-faces"],
        "`dataset coco --boxes from-annotations`": [*coco, "--boxes", "from-annotations"],
    }
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    timed(commands["`anonymize`"], out)  # warm-up: fills the file cache
    for number in range(repeats):
        names = list(commands)
        for name in (*names[number % len(names) :], *names[: number % len(names)]):
            runs[name].append(timed(commands[name], out))
            print(f"round {number + 1}: {name}: {runs[name][-1][0]:.2f} s", file=sys.stderr)
    lines = ["| | seconds | CPU seconds | CPU seconds over `anonymize`'s |", "|---|---|---|---|"]
    base = [cpu for _, cpu in runs["`anonymize`"]]
    for name, measured in runs.items():
        cells = [spread(s for s, _ in measured), spread(c for _, c in measured)]
        cells.append(spread(c / b for (_, c), b in zip(measured, base, strict=True)))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def large_file(count: int, work: Path) -> list[str]:
    """Time reading and rewriting one annotation file, without photos."""
    from styleid.datasets.formats.coco.annotations import read_coco, rewrite_coco
    from styleid.datasets.passthrough import why_withheld

    path = work / "large.json"
    path.write_text(json.dumps(annotations([f"{i}.jpg" for i in range(max(count // PER_PHOTO, 1))], count)))
    data = path.read_bytes()
    steps = {
        "look for pictures in its text": lambda: why_withheld(path.name, data),
        "read, with boxes": lambda: read_coco(path, boxes=True),
        "add a class, drop one photo": lambda: rewrite_coco(data, {3}, {}, "face", lambda key: key),
        "for comparison: json.loads and json.dumps": lambda: json.dumps(json.loads(data)),
    }
    lines = [
        f"One file of {count:,} annotations, {len(data) / 2**20:.0f} MiB:",
        "",
        "| step | CPU seconds |",
        "|---|---|",
    ]
    for name, step in steps.items():
        begun = time.process_time()
        step()
        lines.append(f"| {name} | {time.process_time() - begun:.2f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=24, help="how many photos to make (default: 24)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--annotations", type=int, default=100_000, help="in the large file (default: 100000)")
    parser.add_argument("--out", type=Path, default=RESULT, help="the Markdown file to write")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="styleid-bench-") as name:
        work = Path(name)
        faces = make(work / "in" / "images", given.photos)
        names = sorted(path.name for path in (work / "in" / "images").iterdir())
        (work / "in" / "annotations").mkdir()
        record = annotations(names, PER_PHOTO * len(names))
        (work / "in" / "annotations" / "instances.json").write_text(json.dumps(record))
        lines = compare(work / "in", given.repeats, work / "out")
        large = large_file(given.annotations, work)
    what = (
        f"On {given.photos} photos made from scikit-image's astronaut, with {faces} faces pasted in; start-up included."
    )
    page = "\n".join(
        ["# A COCO round trip", "", what, "", *conditions(given.repeats, load), "", *lines, "", *large, ""]
    )
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
