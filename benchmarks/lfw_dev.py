"""Anonymise an LFW-like folder (person/photo) and measure privacy and utility against attackers who were not asked.

    python benchmarks/lfw_dev.py FOLDER --out DIR --teacher identity.onnx [--bundle B] [--privacy P]

Prints one JSON object. A face that was withheld or obscured stays in the count of faces; figures "of anonymised faces"
say so. The attackers are dlib's ResNet (extra `eval`), which no training and no gate has seen, and the teacher, whose
embedding a ridge regression tries to restore (A2).
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from styleid.bundles.bundle import Bundle
from styleid.bundles.registry import DEFAULT, find_bundle, load_bundle
from styleid.engine.journal import Journal
from styleid.engine.local import RunOptions, anonymize_files
from styleid.evaluate.attacks import ridge_rank_one, search_other_photos
from styleid.evaluate.recognisers import IMAGENET_MEAN, IMAGENET_STD, DlibRecogniser, OnnxRecogniser, Recogniser
from styleid.evaluate.verification import impostor_similarities, threshold_at_fmr
from styleid.faces import geometry
from styleid.faces.align import CropTemplate, invert, transform_points
from styleid.faces.detect import FaceDetector
from styleid.media.image import read_photo
from styleid.options import AnonymizeOptions
from styleid.pipeline import Anonymizer
from styleid.types import Action, Faces, ImageRGB

_SEEDS = range(5)
_MEASURED_AT_ONCE = 32


@dataclass
class Photo:
    """One photo of the set: whose it is, its main face, and what became of it."""

    name: str
    person: str
    face: Faces
    outcome: dict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True, help="MobileFaceNet, ONNX, 112 px, ImageNet statistics")
    parser.add_argument("--bundle", default=DEFAULT)
    parser.add_argument("--privacy", default="standard")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="file that keeps the clear photos' embeddings between runs")
    parser.add_argument("--attackers", default="dlib,teacher")
    parser.add_argument("--record", action="store_true", help="write the figures into the bundle's bundle.json")
    args = parser.parse_args()

    anonymizer = Anonymizer.from_bundle(args.bundle, AnonymizeOptions(privacy=args.privacy, seed=args.seed))
    begun = time.perf_counter()
    summary = anonymize_files([args.folder], anonymizer, RunOptions(args.out, resume=True))
    records = {record["input"]: record for record in Journal(args.out).records()}
    figures: dict = {"run": summary.to_json() | {"wall_s": round(time.perf_counter() - begun, 1)}}
    figures["run"].pop("failures")
    seconds = [record["seconds"] / len(record["faces"]) for record in records.values() if record.get("faces")]
    figures["ms_per_face_median"] = round(1000 * float(np.median(seconds)), 1)
    actions = Counter(face["action"] for record in records.values() for face in record["faces"])
    figures["share_anonymised"] = round(actions[Action.ANONYMIZED] / sum(actions.values()), 4)
    reasons = Counter(face.get("reason") for record in records.values() for face in record["faces"] if "reason" in face)
    figures["obscured_because"] = dict(reasons.most_common(6))

    photos, missed = find_photos(args.folder, records)
    figures["photos"], figures["photos_without_a_face"] = len(photos), missed
    recognisers: list[Recogniser] = [
        OnnxRecogniser("teacher", args.teacher, CropTemplate.arcface112(), IMAGENET_MEAN, IMAGENET_STD)
    ]
    if "dlib" in args.attackers:
        recognisers.append(DlibRecogniser())
    for recogniser in recognisers:
        figures[recogniser.name] = attack(recogniser, photos, args)
    figures["utility"] = utility(photos, args)
    print(json.dumps(figures, indent=1))
    if args.record:
        record(find_bundle(args.bundle) / "bundle.json", args.privacy, figures)


def record(path: Path, privacy: str, figures: dict) -> None:
    """Keep the figures beside the bundle's others, under the level of the dial that they were measured at."""
    described = json.loads(path.read_text(encoding="utf-8"))
    described["quality"].setdefault("lfw", {})[privacy] = figures
    path.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def find_photos(folder: Path, records: dict[str, dict]) -> tuple[list[Photo], int]:
    """Return each photo's main face, the one nearest to the centre, with its journal entry."""
    detector, photos, missed = FaceDetector(), [], 0
    for name, record in sorted(records.items()):
        image = read_photo(folder / name).image_rgb
        faces = detector.detect(image)
        if not len(faces):
            missed += 1
            continue
        centres = faces.boxes_xyxy.reshape(-1, 2, 2).mean(1)
        main_face = faces[int(np.argmin(np.hypot(*(centres - np.array(image.shape[1::-1]) / 2).T)))]
        box = main_face.boxes_xyxy[0]
        outcome = min(record["faces"], key=lambda face: float(np.abs(np.array(face["box"]) - box).max()))
        photos.append(Photo(name, name.split("/")[0], main_face, outcome))
    return photos, missed


def solid(image_rgb: ImageRGB, face: Faces, bundle: Bundle) -> ImageRGB:
    """Return the photo with its main face, from jaw to forehead, filled: what the surroundings alone tell."""
    template, hidden = bundle.spec.crop, image_rgb.copy()
    matrix = template.matrix(face.landmarks_px[0])
    landmarks = bundle.parse(template.crop(image_rgb, matrix)[None])[1][0]
    outline = transform_points(geometry.with_forehead(landmarks), invert(matrix))
    inside = np.zeros(hidden.shape[:2], np.uint8)
    cv2.fillConvexPoly(inside, cv2.convexHull(outline.round().astype(np.int32)), 1)
    hidden[inside > 0] = hidden[inside > 0].mean(0).round() if inside.any() else 0
    return hidden


def embed_all(
    recogniser: Recogniser,
    photos: list[Photo],
    folder: Path,
    change: Callable[[ImageRGB, Faces], ImageRGB] | None = None,
) -> np.ndarray:
    """Embed each photo's main face as found in `folder`, aligned by the original's landmarks."""
    rows = []
    for photo in photos:
        image = read_photo(folder / photo.name).image_rgb
        shown = change(image, photo.face) if change else image
        rows.append(recogniser.embed(shown, photo.face.landmarks_px[0]))
    return np.stack(rows)


def attack(recogniser: Recogniser, photos: list[Photo], args: argparse.Namespace) -> dict:
    people = np.array([photo.person for photo in photos])
    clear, hidden = cached(recogniser, photos, args)
    anonymized = embed_all(recogniser, photos, args.out)
    impostors = impostor_similarities(clear, people)
    same_person = people[:, None] == people[None, :]
    other_photo = same_person & ~np.eye(len(people), dtype=bool)
    replaced = np.array([photo.outcome["action"] == Action.ANONYMIZED for photo in photos])
    across, itself = anonymized @ clear.T, (anonymized * clear).sum(1)
    figures: dict = {"impostor_pairs": len(impostors), "anonymised_faces": int(replaced.sum())}
    for fmr in (1e-2, 1e-3, 1e-4):
        threshold = threshold_at_fmr(impostors, fmr)
        figures[f"fmr_{fmr:g}"] = {
            "clear_pairs_accepted": share((clear @ clear.T)[other_photo] > threshold),
            "other_photos_accepted": share(across[replaced][other_photo[replaced]] > threshold),
            "same_photo_accepted": share(itself[replaced] > threshold),
        }
    chance = 1 / len(np.unique(people))
    figures["rank1_naive"] = mean_of(lambda seed: search_other_photos(anonymized, clear, people, seed))
    figures["rank1_naive_floor"] = mean_of(lambda seed: search_other_photos(hidden, clear, people, seed))
    figures["rank1_clear"] = mean_of(lambda seed: search_other_photos(clear, clear, people, seed))
    figures["rank1_chance"] = round(chance, 4)
    if len(np.unique(people)) >= 400:
        figures["rank1_ridge"] = mean_of(lambda seed: ridge_rank_one(clear, anonymized, people, seed))
        figures["rank1_ridge_floor"] = mean_of(lambda seed: ridge_rank_one(clear, hidden, people, seed))
    return figures


def cached(recogniser: Recogniser, photos: list[Photo], args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings of the clear and of the filled photos, from the cache where it has them."""
    bundle = load_bundle(args.bundle)
    changes = {"clear": None, "hidden": lambda image, face: solid(image, face, bundle)}
    out, names = [], np.array([photo.name for photo in photos])
    for kind, change in changes.items():
        path = args.cache.with_name(f"{args.cache.stem}-{recogniser.name}-{kind}.npz") if args.cache else None
        if path is not None and path.is_file():
            with np.load(path) as file:
                if np.array_equal(file["names"], names):
                    out.append(file["rows"])
                    continue
        out.append(embed_all(recogniser, photos, args.folder, change))
        if path is not None:
            np.savez(path, names=names, rows=out[-1])
    return out[0], out[1]


def utility(photos: list[Photo], args: argparse.Namespace) -> dict:
    """Measure what was kept, over the anonymised faces, by the bundle's own parser and attribute network."""
    bundle, detector = load_bundle(args.bundle), FaceDetector()
    template = bundle.spec.crop
    shown = [photo for photo in photos if photo.outcome["action"] == Action.ANONYMIZED]
    rows: dict[str, list] = {name: [] for name in ("found", "sex", "mouth", "age", "landmarks", "yaw", "smile", "eyes")}
    for start in range(0, len(shown), _MEASURED_AT_ONCE):
        part = shown[start : start + _MEASURED_AT_ONCE]
        crops = []
        for folder in (args.folder, args.out):
            images = [read_photo(folder / photo.name).image_rgb for photo in part]
            matrices = [template.matrix(photo.face.landmarks_px[0]) for photo in part]
            crops.append(np.stack([template.crop(i, m) for i, m in zip(images, matrices, strict=True)]))
        rows["found"] += [is_found(detector, i, p.face) for i, p in zip(images, part, strict=True)]
        (_, before), (_, after) = (bundle.parse(c) for c in crops)
        was, now = (bundle.describe(c) for c in crops)
        face_was, face_now = geometry.expression(before), geometry.expression(after)
        rows["sex"] += list((was[:, 1] > 0.5) == (now[:, 1] > 0.5))
        rows["age"] += list(np.abs(was[:, 0] - now[:, 0]))
        rows["mouth"] += list(face_was.mouth_is_open == face_now.mouth_is_open)
        rows["landmarks"] += list(geometry.landmark_error(after, before))
        rows["yaw"] += list(np.abs(face_was.yaw - face_now.yaw))
        rows["smile"] += list(np.abs(face_was.smile - face_now.smile))
        rows["eyes"] += list(np.abs(face_was.eye_opening - face_now.eye_opening))
    names = {"found": "face_found", "sex": "sex_agrees", "mouth": "mouth_agrees", "age": "age_error_years"}
    return {names.get(name, f"{name}_error"): round(float(np.mean(values)), 4) for name, values in rows.items()}


def is_found(detector: FaceDetector, image_rgb: ImageRGB, face: Faces) -> bool:
    """Say whether a face is found where the original had one (intersection over union above 0.3)."""
    found, (x0, y0, x1, y1) = detector.detect(image_rgb).boxes_xyxy, face.boxes_xyxy[0]
    wide = np.clip(np.minimum(found[:, 2], x1) - np.maximum(found[:, 0], x0), 0, None)
    high = np.clip(np.minimum(found[:, 3], y1) - np.maximum(found[:, 1], y0), 0, None)
    areas = (found[:, 2] - found[:, 0]) * (found[:, 3] - found[:, 1]) + (x1 - x0) * (y1 - y0)
    return bool((wide * high / (areas - wide * high) > 0.3).any())


def share(values: np.ndarray) -> float:
    return round(float(values.mean()), 4) if len(values) else float("nan")


def mean_of(figure) -> dict[str, float]:
    values = [figure(seed) for seed in _SEEDS]
    return {"mean": round(float(np.mean(values)), 4), "low": round(min(values), 4), "high": round(max(values), 4)}


if __name__ == "__main__":
    main()
