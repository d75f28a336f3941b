"""Measure the value of anonymised training data: train a small detector on anonymised scenes, test it on clear ones.

    python benchmarks/train_on_anonymised.py --data DIR --backgrounds DIR --work DIR [--seeds 5]

Faces and heads of UTKFace and of the set with label maps are pasted into pictures without people, at known places.
There are four versions of these scenes: clear, with new faces, with blurred faces and with filled faces. styleid makes
them with the known boxes of the faces, as for an annotated data set. A small network learns from each version to detect
faces and persons, where a person is all visible parts: face, hair, neck and clothes. It is tested on clear scenes with
other people.

Each seed selects another three quarters of the scenes and other initial weights. Intervals are 95 % by Student's t over
the seeds. `--data` and `--backgrounds` are those of detection.py. Scenes and results are stored in `--work`; the same
command continues an interrupted run. Needs the extra `lab`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from detection_faces import Cutout, Faces
from detection_scenes import Backgrounds, pasted
from torch import nn
from torch.nn import functional

from styleid.core.options import AnonymizeOptions
from styleid.core.pipeline import Anonymizer
from styleid.evaluate.originals import overlaps
from styleid.faces.detect import DetectorOptions

CLASSES = ("face", "person")
CLEAR, NEW, BLURRED, FILLED = "as they are", "new faces", "blurred", "filled"
TREATMENTS = (CLEAR, NEW, BLURRED, FILLED)
RESULTS = Path(__file__).parent / "results" / "train_on_anonymised"
SIDE_PX = 480
"""Side of a scene; the network sees a third of it."""
INPUT_PX, STRIDE_PX = 160, 8
_SIZES_PX = (48.0, 200.0)
_TRAIN, _TEST = 480, 240
_SHARE, _BATCH, _RATE = 0.75, 16, 2e-3
_LEAST_SCORE, _SAME = 0.02, 0.5
_T_95 = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}
"""Student's t for a 95 % interval, by the number of seeds."""


# --------------------------------------------------------------------------------------------------------- scenes


@dataclass
class Scenes:
    """Scenes at the network's resolution.

    Attributes:
        images: uint8 (n, s, s, 3).
        boxes: Boxes of each scene (k, 4), in pixels.
        classes: Class of each box, (k,).
    """

    images: np.ndarray
    boxes: list[np.ndarray]
    classes: list[np.ndarray]


def made_scene(faces: Faces, backgrounds: Backgrounds, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a scene, uint8 (SIDE_PX, SIDE_PX, 3), and the boxes of its faces and persons, (n, 2, 4) pixels."""
    canvas, boxes = backgrounds.draw(rng, (SIDE_PX, SIDE_PX)), []
    for _ in range(rng.integers(1, 6)):
        cutout = faces.draw(rng)
        face_px = float(np.exp(rng.uniform(*np.log(_SIZES_PX))))
        centre = rng.uniform(0.6 * face_px, SIDE_PX - 0.6 * face_px, 2)
        both = np.clip(_placed(cutout, centre, face_px), 0, SIDE_PX)
        if not any(_meets(both[1], other[1]) for other in boxes):
            pasted(canvas, cutout, centre, face_px, 0.0)
            boxes.append(both)
    return canvas, np.array(boxes).reshape(-1, 2, 4)


def _placed(cutout: Cutout, centre: np.ndarray, face_px: float) -> np.ndarray:
    """Return the boxes of a cutout's face and of the whole cutout in the scene, (2, 4)."""
    rows, columns = np.nonzero(cutout.alpha > 0.5)
    whole = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)
    box = cutout.box_xyxy
    scale = face_px / (box[2:] - box[:2]).min()
    middle = np.tile((box[:2] + box[2:]) / 2, 2)
    return np.stack([np.tile(centre, 2) + scale * (part - middle) for part in (box, whole)])


def _meets(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((np.maximum(one[:2], other[:2]) < np.minimum(one[2:], other[2:])).all())


def treatments() -> Callable[[np.ndarray, np.ndarray], Iterator[np.ndarray]]:
    """Return a function that yields all versions of a scene, given the scene and the boxes of its faces (n, 4)."""
    options = AnonymizeOptions(seed=0, detector=DetectorOptions(detector="standard"))
    new = Anonymizer.from_bundle(options=options)
    hiding = [Anonymizer(None, AnonymizeOptions(method="none", obscure=how)) for how in ("blur", "solid")]

    def treat(image: np.ndarray, faces: np.ndarray) -> Iterator[np.ndarray]:
        found = new.find(image, faces)
        yield image
        for anonymizer in (new, *hiding):
            yield anonymizer.anonymize(image, found=found).image_rgb

    return treat


def write_scenes(args: argparse.Namespace, name: str, half: int, count: int, kinds: tuple[str, ...]) -> None:
    """Make scenes, and store them at the network's resolution."""
    faces = Faces(args.data, half, ("utkface", "parsing"))
    backgrounds, treat = Backgrounds(args.backgrounds, half), treatments()
    images: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
    boxes, scene_of = [], []
    for number in range(count):
        image, both = made_scene(faces, backgrounds, np.random.default_rng([half, number]))
        shown = treat(image, both[:, 0]) if len(kinds) > 1 else iter([image])
        for kind, one in zip(kinds, shown, strict=True):
            images[kind].append(cv2.resize(one, (INPUT_PX, INPUT_PX), interpolation=cv2.INTER_AREA))
        boxes.append(both.reshape(-1, 4) * INPUT_PX / SIDE_PX)
        scene_of += [number] * len(boxes[-1])
    stacked = {f"images {kind}": np.stack(shown) for kind, shown in images.items()}
    np.savez_compressed(args.work / f"{name}.npz", boxes=np.concatenate(boxes), scene_of=np.array(scene_of), **stacked)


def read_scenes(path: Path, kind: str) -> Scenes:
    """Read one version of the scenes that `write_scenes` stored."""
    with np.load(path) as kept:
        images, boxes, scene_of = kept[f"images {kind}"], kept["boxes"], kept["scene_of"]
    each = [boxes[scene_of == number] for number in range(len(images))]
    return Scenes(images, each, [np.tile(np.arange(2), len(one) // 2) for one in each])


# -------------------------------------------------------------------------------------------------------- network


class Detector(nn.Module):
    """A small convolutional network with one output cell per 8 x 8 pixels.

    (n, 3, 160, 160) -> (n, 2, 5, 20, 20): for each class, the log-odds that the cell belongs to a box, and the
    logarithms of the distances to the box's left, top, right and bottom side, in strides.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 48)
        steps = [
            layer
            for before, after in pairwise(widths)
            for layer in (nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
        ]
        self.stem = nn.Sequential(*steps)  # (n, 48, 20, 20)
        self.near, self.far = (_around(widths[-1], dilation) for dilation in (1, 3))
        self.head = nn.Conv2d(widths[-1], 5 * len(CLASSES), 1)
        nn.init.constant_(self.head.bias, 0.0)
        with torch.no_grad():
            self.head.bias[::5] = -4.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        seen = self.stem(images)
        seen = seen + self.near(seen)
        seen = seen + self.far(seen)
        return self.head(seen).unflatten(1, (len(CLASSES), 5))


def _around(width: int, dilation: int) -> nn.Sequential:
    convolution = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 1))


_CENTRES = (np.stack(np.meshgrid(np.arange(20), np.arange(20)), -1).reshape(-1, 2) + 0.5) * STRIDE_PX


def aims(boxes: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the training targets of a scene.

    Cells near the middle of a box are positive. Where boxes overlap, the smaller one counts.

    Args:
        boxes: (k, 4), in pixels.
        classes: (k,), 0 or 1.

    Returns:
        1 for positive cells, else 0, (2, 400), and the box of each positive cell, (2, 400, 4).
    """
    there, which = np.zeros((len(CLASSES), 400), np.float32), np.zeros((len(CLASSES), 400, 4), np.float32)
    for box, kind in sorted(zip(boxes, classes, strict=True), key=lambda pair: -np.prod(pair[0][2:] - pair[0][:2])):
        middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
        off = np.abs(_CENTRES - middle)
        about = (off < 0.4 * half).all(1)
        about[off.max(1).argmin()] = True
        there[kind, about], which[kind, about] = 1, box
    return there, which


def boxes_of(out: torch.Tensor) -> torch.Tensor:
    """Convert the network's output (n, 2, 5, 20, 20) to boxes (n, 2, 400, 4), in pixels."""
    distances = STRIDE_PX * out[:, :, 1:].flatten(3).clamp(-4, 4).exp().transpose(2, 3)
    centres = torch.from_numpy(_CENTRES.astype(np.float32))
    return torch.cat([centres - distances[..., :2], centres + distances[..., 2:]], -1)


def loss_of(out: torch.Tensor, there: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Return the focal loss of the cells plus 1 - IoU of the boxes (Tian et al. 2019, FCOS)."""
    odds, positive = out[:, :, 0].flatten(2), there > 0
    count = positive.sum().clamp(min=1)
    raw = functional.binary_cross_entropy_with_logits(odds, there, reduction="none")
    wrong = (odds.sigmoid() - there).abs()
    weight = torch.where(positive, 0.5, 0.25)
    boxes, aimed = boxes_of(out)[positive], which[positive]
    shared = (torch.minimum(boxes, aimed)[:, 2:] - torch.maximum(boxes, aimed)[:, :2]).clamp(min=0).prod(1)
    areas = [(one[:, 2:] - one[:, :2]).prod(1) for one in (boxes, aimed)]
    union = (areas[0] + areas[1] - shared).clamp(min=1e-6)
    return ((weight * wrong**2 * raw).sum() + (1 - shared / union).sum()) / count


def trained(scenes: Scenes, seed: int, epochs: int) -> Detector:
    """Train a detector on three quarters of the scenes."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(scenes.images))[: round(_SHARE * len(scenes.images))]
    images = torch.from_numpy(scenes.images).permute(0, 3, 1, 2)  # the strides stay channels-last
    aimed = [aims(scenes.boxes[i], scenes.classes[i]) for i in range(len(scenes.images))]
    there, which = (torch.from_numpy(np.stack(part)) for part in zip(*aimed, strict=True))
    network = Detector().train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=1e-3)
    steps = epochs * math.ceil(len(chosen) / _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2 * _RATE, steps)
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(chosen), math.ceil(len(chosen) / _BATCH)):
            batch = varied(images[rows], there[rows], which[rows], rng)
            loss = loss_of(network(batch[0]), batch[1], batch[2])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def varied(
    images: torch.Tensor, there: torch.Tensor, which: torch.Tensor, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scale images to [-1, 1], change their brightness at random, and mirror half of the batches."""
    shown = images.float() / 127.5 - 1
    light = torch.from_numpy(rng.uniform(0.7, 1.3, (len(images), 1, 1, 1)).astype(np.float32))
    shown = shown * light
    if rng.random() < 0.5:
        return shown, there, which
    there = there.unflatten(2, (20, 20)).flip(3).flatten(2)
    turned = which.unflatten(2, (20, 20)).flip(3).flatten(2, 3)
    turned = torch.stack([INPUT_PX - turned[..., 2], turned[..., 1], INPUT_PX - turned[..., 0], turned[..., 3]], -1)
    return shown.flip(3), there, turned


# -------------------------------------------------------------------------------------------------------- testing


def tested(network: Detector, scenes: Scenes) -> dict[str, dict[str, float]]:
    """Return, for each class, the average precision and the recall at 0.1 false alarms per scene."""
    with torch.no_grad():
        batch = torch.from_numpy(scenes.images).permute(0, 3, 1, 2).float() / 127.5 - 1
        outs = [network(part) for part in batch.split(_BATCH)]
        odds = torch.cat([out[:, :, 0].flatten(2).sigmoid() for out in outs]).numpy()
        boxes = torch.cat([boxes_of(out) for out in outs]).numpy()
    found = {}
    for kind, name in enumerate(CLASSES):
        rows = [judged(odds[i, kind], boxes[i, kind], scenes.boxes[i][scenes.classes[i] == kind])
                for i in range(len(odds))]  # fmt: skip
        scores, right = (np.concatenate(part) for part in zip(*rows, strict=True))
        marked = sum(int((classes == kind).sum()) for classes in scenes.classes)
        found[name] = figures(scores, right, marked, len(odds))
    return found


def judged(scores: np.ndarray, boxes: np.ndarray, marked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of one scene's detections, best first, and whether each is the first to match a marked box."""
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > _LEAST_SCORE]
    kept: list[int] = []
    for i in order:
        if not kept or (overlaps(boxes[kept], boxes[i]) < _SAME).all():
            kept.append(int(i))
    free, right = np.ones(len(marked), bool), np.zeros(len(kept), bool)
    for place, i in enumerate(kept):
        shares = np.where(free, overlaps(marked, boxes[i]), 0.0) if len(marked) else np.zeros(0)
        if len(shares) and shares.max() >= _SAME:
            right[place], free[shares.argmax()] = True, False
    return scores[kept], right


def figures(scores: np.ndarray, right: np.ndarray, marked: int, scenes: int) -> dict[str, float]:
    """Return the area under the precision-recall curve, and the recall at 0.1 false alarms per scene."""
    order = np.argsort(-scores, kind="stable")
    hits, alarms = np.cumsum(right[order]), np.cumsum(~right[order])
    precision = np.maximum.accumulate((hits / np.maximum(hits + alarms, 1))[::-1])[::-1]
    steps = np.diff(hits, prepend=0) / marked
    allowed = hits[alarms <= 0.1 * scenes]
    return {"average precision": float((steps * precision).sum()), "found": float(allowed.max(initial=0) / marked)}


# --------------------------------------------------------------------------------------------------------- report


def interval(values: list[float], digits: int = 3) -> str:
    """Return the mean and its 95 % interval over seeds as text."""
    mean, reach = float(np.mean(values)), math.nan
    if len(values) in _T_95:
        reach = _T_95[len(values)] * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    low, high = np.clip([mean - reach, mean + reach], 0, 1)
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def told(rows: list[dict]) -> str:
    """Return the results as a Markdown table."""
    head = ["trained on", *(f"{name}: {what}" for name in CLASSES for what in ("average precision", "found"))]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for kind in TREATMENTS:
        cells = [kind]
        for name in CLASSES:
            for what in ("average precision", "found"):
                cells.append(interval([row["figures"][name][what] for row in rows if row["kind"] == kind]))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--backgrounds", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--scenes", type=int, default=_TRAIN, help="to train on")
    parser.add_argument("--most", type=int, default=0, help="stop after so many trainings, to go on later")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the table goes, without suffix")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # for layers this small, the threads cost more than they gain
    if not (args.work / "train.npz").exists():
        write_scenes(args, "train", 0, args.scenes, TREATMENTS)
    if not (args.work / "test.npz").exists():
        write_scenes(args, "test", 1, _TEST, (CLEAR,))
    rows, complete = run(args)
    if complete:
        args.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
        args.out.with_suffix(".md").write_text(told(rows) + "\n")
        print(told(rows))


def run(args: argparse.Namespace) -> tuple[list[dict], bool]:
    """Train and test the missing combinations; return all results, and whether they are complete."""
    kept = args.work / "results.jsonl"
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(row["seed"], row["kind"]) for row in rows}
    wanted = [(s, kind) for s in range(args.seeds) for kind in TREATMENTS if (s, kind) not in done]
    test = read_scenes(args.work / "test.npz", CLEAR)
    for seed, kind in wanted[: args.most or None]:
        begun = time.process_time()
        network = trained(read_scenes(args.work / "train.npz", kind), seed, args.epochs)
        row = {"seed": seed, "kind": kind, "figures": tested(network, test)}
        rows.append(row | {"cpu_seconds": round(time.process_time() - begun, 1)})
        with kept.open("a") as file:
            file.write(json.dumps(rows[-1]) + "\n")
        print(rows[-1], flush=True)
    return rows, not args.most or len(wanted) <= args.most


if __name__ == "__main__":
    main()
