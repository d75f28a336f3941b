"""Compare CPU time and detected faces on photos of more than 10 megapixels between this source tree and another.

    python benchmarks/large_photos.py [--against SRC] [--photos 6] [--rounds 3] [--method none] [--bundle aam128]
        [--faces 10] [--megapixels 12]

The photos are synthetic: the head of scikit-image's portrait with faces of 20 to 900 px height at random places in
scikit-image's pictures, 12 to 24 megapixels, with noise, as JPEG. SRC is the folder `src` of another commit's worktree.
The two trees alternate. Prints a Markdown table of CPU seconds per photo (one process, one thread), faces found and
false alarms.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SIZES = ((4000, 3000), (5472, 3648), (6000, 4000))
HEAD, FACE = (95, 0, 355, 260), (181, 58, 270, 178)
_NOISE = 3.0

_CHILD = """
import json, sys, time
from pathlib import Path
import cv2
from styleid import AnonymizeOptions, Anonymizer, runtime
from styleid.engine.photo import Job, do_job
try:
    from styleid.engine.options import RunOptions
except ImportError:  # older trees
    from styleid.engine.run_options import RunOptions
runtime.limit_threads(1)
cv2.setNumThreads(1)
folder, out, chosen, bundle = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
chosen = {} if chosen == "default" else {"method": chosen}
anonymizer = Anonymizer.from_bundle(bundle, AnonymizeOptions(seed=1, **chosen))
options, told = RunOptions(out), []
for number, path in enumerate([None, *sorted(folder.glob("*.jpg"))]):
    job = Job(number, "photo", path or sorted(folder.glob("*.jpg"))[0], out / "photo.jpg")
    begun = time.process_time()
    done = do_job(job, anonymizer, options)
    spent = time.process_time() - begun
    told.append((spent, [face["box"] for face in done.record["faces"]]))
print(json.dumps(told[1:]))
"""


def make_photo(path: Path, seed: int, faces: int, sizes: Sequence[tuple[int, int]]) -> list[list[float]]:
    """Write a photo, and return the boxes of its faces in pixels."""
    import skimage.data

    rng = np.random.default_rng(seed)
    width, height = sizes[seed % len(sizes)]
    wall = (skimage.data.coffee, skimage.data.rocket, skimage.data.chelsea)[seed % 3]()
    image = cv2.resize(wall, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    portrait = skimage.data.astronaut()
    taken = np.zeros((height, width), bool)
    boxes: list[list[float]] = []
    while len(boxes) < faces:
        scale = float(np.exp(rng.uniform(np.log(20), np.log(900)))) / (FACE[3] - FACE[1])
        head = cv2.resize(portrait[HEAD[1] : HEAD[3], HEAD[0] : HEAD[2]], None, fx=scale, fy=scale,
                          interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)  # fmt: skip
        h, w = head.shape[:2]
        if h >= height or w >= width:
            continue
        x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
        if taken[y : y + h, x : x + w].any():
            continue
        taken[y : y + h, x : x + w] = True
        opacity = np.zeros((h, w), np.float32)
        cv2.ellipse(opacity, (w // 2, h // 2), (int(0.47 * w), int(0.49 * h)), 0, 0, 360, 1, -1)
        opacity = cv2.GaussianBlur(opacity, (0, 0), max(0.02 * w, 0.5))[..., None]
        image[y : y + h, x : x + w] = image[y : y + h, x : x + w] * (1 - opacity) + head * opacity
        boxes.append([x + scale * (v - HEAD[k % 2]) if k % 2 == 0 else y + scale * v for k, v in enumerate(FACE)])
    image += rng.standard_normal(image.shape, np.float32) * _NOISE
    bgr = image.clip(0, 255).astype(np.uint8)[..., ::-1]
    cv2.imwrite(str(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return boxes


def overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the intersection over union of two sets of boxes, (n, m)."""
    low, high = np.maximum(one[:, None, :2], other[None, :, :2]), np.minimum(one[:, None, 2:], other[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (one, other)]
    return both / (areas[0][:, None] + areas[1][None] - both)


def run(source: Path, folder: Path, method: str, bundle: str) -> list[tuple[float, list[list[float]]]]:
    """Return the CPU seconds and detected boxes of every photo."""
    with tempfile.TemporaryDirectory() as out:
        typed = [sys.executable, "-c", _CHILD, str(folder), out, method, bundle]
        done = subprocess.run(typed, env=os.environ | {"PYTHONPATH": str(source)}, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def figures(runs: list[Any], truth: list[list[list[float]]]) -> tuple[float, int, int]:
    """Return the least total CPU seconds of a run, and the faces found and false alarms of the last run."""
    found = false = 0
    for (_, boxes), faces in zip(runs[-1], truth, strict=True):
        table = overlap(np.array(boxes).reshape(-1, 4), np.array(faces).reshape(-1, 4)) > 0.3
        found += int(table.any(0).sum())
        false += int((~table.any(1)).sum())
    return min(sum(spent for spent, _ in one) for one in runs), found, false


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--photos", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--method", default="none", help="or `default`: each tree's default method")
    parser.add_argument("--bundle", default="aam128")
    parser.add_argument("--faces", type=int, default=10, help="faces in each photo")
    parser.add_argument("--megapixels", type=int, choices=(12, 20, 24), help="only photos of this size")
    options = parser.parse_args()
    sizes = [size for size in SIZES if options.megapixels in (None, round(size[0] * size[1] / 1e6))]
    trees = {"this tree": Path(__file__).resolve().parents[1] / "src"}
    trees |= {"the other": options.against.resolve()} if options.against else {}
    runs: dict[str, list[Any]] = {name: [] for name in trees}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        truth = [make_photo(folder / f"{k:02d}.jpg", k, options.faces, sizes) for k in range(options.photos)]
        for _ in range(options.rounds):
            for name, source in trees.items():
                runs[name].append(run(source, folder, options.method, options.bundle))
    faces = options.faces * options.photos
    print(f"| {options.photos} photos, {faces} faces | CPU s a photo | faces found | false alarms |")
    print("|---|---|---|---|")
    for name, done in runs.items():
        seconds, found, false = figures(done, truth)
        print(f"| {name} | {seconds / options.photos:.2f} | {found} | {false} |")


if __name__ == "__main__":
    main()
