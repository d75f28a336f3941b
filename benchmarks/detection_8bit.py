"""Make CenterFace with 8-bit arithmetic, and measure how it differs from float32.

    python benchmarks/detection_8bit.py make --data DIR --backgrounds DIR
    python benchmarks/detection_8bit.py measure --data DIR --backgrounds DIR [--photos-of-each 12] [--seed 0]
    python benchmarks/detection_8bit.py screen --data DIR --backgrounds DIR [--photos-of-each 12] [--seed 0] [--large]

`--data` and `--backgrounds` are those of benchmarks/detection.py. `make` writes src/styleid/faces/centerface_8bit.onnx;
ranges are measured on scenes with the half of the faces that detection.py does not measure. `measure` shows both
networks what the detector shows CenterFace, in scenes with the other half. Prints how far scores and boxes move, and
how many detections of float32 have a low score in 8 bits. `screen` compares the finds of the setting `fast`, which
looks with 8 bits first (styleid.faces.screen), with those of float32 in all tiles; with `--large` in scenes of 8 to 24
megapixels with small faces. A detection of float32 is lost if no detection of the other covers half of its box: where a
tile's border cuts a face, float32 in all tiles may find a part of it, too.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import detection_scenes
import numpy as np
from detection_faces import Faces
from detection_scenes import Backgrounds, Scene, Studio, masked

from styleid.faces.centerface import FILE_8_BIT, EightBitCenterFace, find_centerface
from styleid.faces.detect import FaceDetector, views_of
from styleid.faces.parts import look_at_part, suppress_overlaps
from styleid.faces.screen import suspected
from styleid.types import Faces as Found

_VIEW_PX = 416
_VIEWS_OF_EACH = 2
_SCORE, _MIN_FACE_PX = 0.35, 16.0
_LOW = (0.02, 0.05, 0.1, 0.2)
"""Scores in 8 bits below which a detection of float32 is counted."""


def calibration_views(data: Path, backgrounds: Path) -> np.ndarray:
    """Return parts of scenes on which ranges are measured, uint8 (n, side, side, 3)."""
    studio, rng = Studio(Faces(data, 1), Backgrounds(backgrounds, 1), 7), np.random.default_rng(0)
    views = []
    for scene in studio.scenes(6):
        height, width = scene.image_rgb.shape[:2]
        for _ in range(_VIEWS_OF_EACH):
            y, x = rng.integers(0, height - _VIEW_PX + 1), rng.integers(0, width - _VIEW_PX + 1)
            views.append(scene.image_rgb[y : y + _VIEW_PX, x : x + _VIEW_PX])
    return np.stack(views)


def make(args: argparse.Namespace) -> None:
    """Write the file of the 8-bit network."""
    from styleid.lab.export.centerface import eight_bit_centerface, without_weights

    views = calibration_views(args.data, args.backgrounds)
    FILE_8_BIT.write_bytes(without_weights(eight_bit_centerface(find_centerface(), views)))
    print(f"{FILE_8_BIT.name}: {FILE_8_BIT.stat().st_size / 1e6:.2f} MB")


def shown_views(image_rgb: np.ndarray) -> Iterator[np.ndarray]:
    """Yield what the detector shows CenterFace of an image."""
    for (x0, y0, x1, y1), scale in views_of(*image_rgb.shape[:2], _MIN_FACE_PX):
        size = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
        shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        yield np.ascontiguousarray(cv2.resize(image_rgb[y0:y1, x0:x1], size, interpolation=shrinks))


def overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the intersection over union of a box with each of n boxes, (n,)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    both = np.clip(high - low, 0, None).prod(1)
    return both / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - both)


def covered(box: np.ndarray, boxes: np.ndarray) -> float:
    """Return the largest share of a box that one of n boxes covers."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    return float((np.clip(high - low, 0, None).prod(1) / (box[2:] - box[:2]).prod()).max(initial=0.0))


def measure(args: argparse.Namespace) -> None:
    """Print how the networks differ."""
    studio = Studio(Faces(args.data, 0), Backgrounds(args.backgrounds, 0), args.seed)
    whole, rounded, rows = FaceDetector(), EightBitCenterFace(), []
    for scene in studio.scenes(args.photos_of_each):
        for view in shown_views(scene.image_rgb):
            faces, others = whole.look(view, _SCORE), rounded.look(view, 0.01)
            for box, score in zip(faces.boxes_xyxy, faces.scores, strict=True):
                overlap = overlaps(box, others.boxes_xyxy)
                rows.append((score, others.scores[overlap > 0.4].max(initial=0.0), overlap.max(initial=0.0)))
    score, other, overlap = np.array(rows).T
    moved = np.log(other.clip(1e-3) / (1 - other)) - np.log(score / (1 - score))
    print(f"{len(rows)} detections of float32 with scores of {_SCORE} or more")
    print(f"log-odds in 8 bits minus in float32: mean {moved.mean():.2f}, standard deviation {moved.std():.2f}")
    print(f"overlap of the boxes: median {np.median(overlap):.3f}, 1 % below {np.quantile(overlap, 0.01):.2f}")
    print("; ".join(f"{(other < low).sum()} below {low}" for low in _LOW), f"; least {other.min():.3f}")


def large_scenes(studio: Studio, photos_of_each: int) -> Iterator[Scene]:
    """Yield scenes of 8 to 24 megapixels with faces from 16 px on: plain, masked, turned, at night, and empty."""
    detection_scenes.SIZES = ((3264, 2448), (4000, 3000), (6000, 4000))
    for number in range(photos_of_each):
        rng = np.random.default_rng([studio.seed, 99, number])
        changes = (lambda cutout: cutout, lambda cutout, rng=rng: masked(cutout, rng))
        angles = (None, lambda rng=rng: float(rng.uniform(-60, 60)))
        scene = studio.sparse(rng, changes[number % 2], angles[number // 2 % 2], (16.0, 0.06))
        if number % 3 == 0:
            scene.image_rgb = (255 * (scene.image_rgb / 255) ** 2.2 * rng.uniform(0.2, 0.5)).astype(np.uint8)
        yield scene


def of_all_tiles(detector: FaceDetector, image_rgb: np.ndarray) -> list[Found]:
    """Return the detections in each view of an image, all in float32; the first is the overview."""
    views = views_of(*image_rgb.shape[:2], _MIN_FACE_PX)
    return [look_at_part(image_rgb, detector.look, *view, _SCORE) for view in views]


def screen(args: argparse.Namespace) -> None:
    """Print what the search in two steps finds beside float32 in all tiles, and how long both take."""
    studio = Studio(Faces(args.data, 0), Backgrounds(args.backgrounds, 0), args.seed)
    detector, tally, seconds, boxes = FaceDetector(), Counter[str](), Counter[str](), []
    for scene in (large_scenes if args.large else Studio.scenes)(studio, args.photos_of_each):
        image = scene.image_rgb
        begun = time.process_time()
        _, *tiles = parts = of_all_tiles(detector, image)
        wanted = suppress_overlaps(Found.concatenate(parts))
        between = time.process_time()
        given = detector.detect(image)
        seconds["float32"] += between - begun
        seconds["in two steps"] += time.process_time() - between
        tally["photos"] += 1
        tally["faces"] += len(wanted)
        if tiles:
            tally["photos with tiles"] += 1
            scale = list(views_of(*image.shape[:2], _MIN_FACE_PX))[1][1]
            places = suspected(image, detector.eight_bit.look, scale, 0.05)
            seen = suppress_overlaps(Found.concatenate(tiles))
            tally["faces in tiles"] += len(seen)
            tally["faces in tiles without a place"] += sum(
                overlaps(b, places).max(initial=0) < 0.3 for b in seen.boxes_xyxy
            )
        boxes += [overlaps(box, given.boxes_xyxy).max(initial=0.0) for box in wanted.boxes_xyxy]
        tally["lost"] += sum(covered(box, given.boxes_xyxy) < 0.5 for box in wanted.boxes_xyxy)
        tally["detections less, all in all"] += len(wanted) - len(given)
        tally["more"] += sum(covered(box, wanted.boxes_xyxy) < 0.5 for box in given.boxes_xyxy)
    print(
        {name: int(number) for name, number in tally.items()},
        {name: round(spent, 1) for name, spent in seconds.items()},
    )
    print("overlap of the boxes: 1 % and 10 % below", np.quantile(boxes, [0.01, 0.1]).round(3))


def main() -> None:
    """Make or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("make", "measure", "screen"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--backgrounds", type=Path, required=True)
    parser.add_argument("--photos-of-each", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--large", action="store_true")
    args = parser.parse_args()
    {"make": make, "measure": measure, "screen": screen}[args.action](args)


if __name__ == "__main__":
    main()
